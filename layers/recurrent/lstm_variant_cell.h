#pragma once

#include "../../autograd/tape.h"
#include "lstm_parameters.h"

namespace tapegrad {

struct LSTMVariantOptions {
  std::size_t input;           // I
  std::size_t hidden;          // H
  std::size_t projection = 0;  // P, in [1, H): h has P elements; 0: it has H
  bool coupled = false;        // the forget gate is what the input gate leaves
  bool layer_norm = false;     // of pre-activations and of what is shown of c
  LSTMBias bias = LSTMBias::two;
  LSTMInit init = LSTMInit::forget_one;
  DType dtype = DType::float32;
};

/// One step of an LSTM whose variants change its products or its gates, composed of primitive ops
/// (Recurrent runs it over sequences, StackedCells puts it in layers):
///
///   a = N(W_ih x; gamma_ih) + b_ih + N(W_hh h; gamma_hh) + b_hh
///   i = sigmoid(a_i),  f = sigmoid(a_f),  g = tanh(a_g),  o = sigmoid(a_o)
///   c' = f * c + i * g
///   h' = W_hr (o * tanh(N(c'; gamma_c) + beta_c))
///
///   coupled      f = 1 - i, and there is no a_f: the CIFG of Greff et al. (2017), section III.C
///   projection   W_hr (P, H); without it W_hr is left out (Sak, Senior, Beaufays 2014, eq. 7). Names,
///                layout and values are those of torch.nn.LSTM(proj_size=P)
///   layer_norm   N(v; gamma) = gamma * (v - mean v) / sqrt(variance v + 1e-5), over all gates
///                together (Ba, Kiros, Hinton 2016, eq. 20 to 22, whose beta_1 and beta_2 are b_hh and
///                b_ih); without it N(v) = v, and there is no beta_c
///
/// All of them go together. Peepholes, clipping, zoneout and masks are variants of the fused LSTM.
class LSTMVariantCell {
 public:
  Parameter weight_ih;  // (G, I): blocks i, f, g, o, G = 4H; coupled: i, g, o, G = 3H
  Parameter weight_hh;  // (G, P or H)
  Parameter bias_ih;    // (G), or undefined
  Parameter bias_hh;    // (G), or undefined
  Parameter weight_hr;  // (P, H), or undefined
  Parameter gamma_ih;   // (G), 1 at first, or undefined, as all that follow
  Parameter gamma_hh;   // (G)
  Parameter gamma_c;    // (H)
  Parameter beta_c;     // (H)

  LSTMVariantCell() = default;
  /// Draws weights and biases uniformly in +-1/sqrt(H). LSTMInit::forget_one: the forget gate's
  /// bias_ih is 1; coupled: the input gate's is -1, which is the same. Throws ShapeError for a size
  /// of 0, UsageError for a projection that is not below H.
  LSTMVariantCell(const LSTMVariantOptions& options, Rng& rng);

  /// Maps x (B, I), h (B, P or H), c (B, H) to the next state. Throws ShapeError; UsageError for Vars
  /// of another tape.
  LSTMState operator()(Tape& tape, const Var& x, const LSTMState& state) const;
  /// Returns zeros. Throws ShapeError for B = 0.
  LSTMState zero_state(std::size_t batch) const;
  void visit(auto&& v) {
    v("weight_ih", weight_ih);
    v("weight_hh", weight_hh);
    v("bias_ih", bias_ih);
    v("bias_hh", bias_hh);
    v("weight_hr", weight_hr);
    v("gamma_ih", gamma_ih);
    v("gamma_hh", gamma_hh);
    v("gamma_c", gamma_c);
    v("beta_c", beta_c);
    v("coupled", coupled_);
  }

 private:
  std::size_t gates() const { return coupled_ ? 3 : 4; }
  std::size_t hidden() const { return weight_ih.value().size(0) / gates(); }

  bool coupled_ = false;
};

}  // namespace tapegrad
