#pragma once

#include "../var.h"

namespace tapegrad {

/// What an LSTM carries from step to step. One layer: h and c (B, H); a stack of layers: (L, B, H).
struct LSTMState {
  Var h;
  Var c;
  /// The same numbers as constants: where backpropagation through time is cut.
  LSTMState detach() const { return {h.detach(), c.detach()}; }
};

/// One layer's weights; gates in blocks of H: i, f, g, o. An undefined bias is none.
struct LSTMWeights {
  Var ih;       // (4H, I)
  Var hh;       // (4H, H)
  Var bias_ih;  // (4H)
  Var bias_hh;  // (4H)
};

/// One step of an LSTM, composed of primitive ops: the text to read, and the definition that the
/// fused op is tested against and differentiated twice by. x (B, I), state (B, H). Hochreiter and
/// Schmidhuber 1997, with the forget gate of Gers et al. 2000. Throws ShapeError.
LSTMState lstm_cell(const Var& x, const LSTMState& state, const LSTMWeights& weights);

}  // namespace tapegrad
