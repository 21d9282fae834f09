#pragma once

#include "../var.h"

/// States and results of recurrent ops and layers: values of one pass. The Parameters of a layer
/// are in layers/recurrent/.
namespace tapegrad {

/// A recurrent layer, or a stack of them, run over a sequence.
template <class State>
struct Unrolled {
  Var y;       // the hidden state after each step, (T, B, H)
  State last;  // the state after the last step
};

/// State that an LSTM carries from step to step. One layer: h and c (B, H); a stack of layers: (L,
/// B, H).
struct LSTMState {
  Var h;
  Var c;
  /// Returns the state as constants: where backpropagation through time is cut.
  LSTMState detach() const { return {h.detach(), c.detach()}; }
};
using LSTMResult = Unrolled<LSTMState>;

/// One layer's weights in torch's layout; G is 4H (LSTM: i, f, g, o), 3H (GRU: r, z, n) or H (RNN).
/// An undefined bias is none.
struct RecurrentWeights {
  Var ih;       // (G, I)
  Var hh;       // (G, H)
  Var bias_ih;  // (G)
  Var bias_hh;  // (G)
};
using LSTMWeights = RecurrentWeights;

}  // namespace tapegrad
