#pragma once

#include "recurrent.h"

namespace tapegrad {

/// Makes one step of an LSTM, composed of primitive ops: the text to read, and the definition that
/// the fused op is tested against and differentiated twice by. x (B, I), state (B, H). Hochreiter
/// and Schmidhuber 1997, with the forget gate of Gers et al. 2000. Throws ShapeError.
LSTMState lstm_cell(const Var& x, const LSTMState& state, const LSTMWeights& weights);

}  // namespace tapegrad
