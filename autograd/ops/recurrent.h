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

/// Lengths of a batch of sequences, and the direction in which a recurrent op goes through them.
struct Steps {
  /// (B) int32, each in [0, T], in any order: what is behind a sequence's end is neither read nor
  /// computed; y and the gradient of x are 0 there, and the last state is that at the end (for length
  /// 0 the first one). Undefined: all have T steps.
  Tensor lengths = {};
  /// From each sequence's end to its beginning: y[t] is the state after the steps from the end to t.
  bool reverse = false;
};

/// Variants of a recurrent cell; what is undefined or 0 is off. The equations with them are those of
/// core/recurrent/lstm.h and core/recurrent/cells.h.
struct RecurrentVariant {
  /// m (B, H), which multiplies h_{t-1} in front of W_hh at every step: dropout with one mask for all
  /// steps (Gal and Ghahramani 2016).
  Tensor recurrent_mask = {};
  /// (T, B, H), in [0, 1]: how much of the old h stays (zoneout, Krueger et al. 2017).
  Tensor zoneout_h = {};
  /// Gradients of pre-activations are cut to [-gradient_clip, gradient_clip] at every step (Graves
  /// 2013).
  double gradient_clip = 0;

  // For the LSTM alone:
  Tensor zoneout_c = {};  // like zoneout_h, of c
  Var peephole = {};      // (3, H): p_i, p_f, p_o (Gers et al. 2002)
  double cell_clip = 0;   // c is cut to [-cell_clip, cell_clip], its gradient 0 where it is cut
};

/// State that an LSTM carries from step to step. One layer: h and c (B, H); a stack of layers: (L,
/// B, H).
struct LSTMState {
  Var h;
  Var c;
  /// Returns the state as constants: where backpropagation through time is cut.
  LSTMState detach() const { return {h.detach(), c.detach()}; }
  /// Names the parts, as in a state of one's own (layers/recurrent/state.h).
  void parts(auto&& v) {
    v("h", h);
    v("c", c);
  }
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
