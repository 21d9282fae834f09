#include "lstm_variant_cell.h"

#include <cmath>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/layer_norm.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/recurrent-inl.h"
#include "../../autograd/ops/shape.h"
#include "../../core/fail-inl.h"
#include "../init.h"

namespace tapegrad {
namespace {

constexpr const char* type = "LSTMVariantCell";

/// The leaf of a Parameter that may be undefined.
Var leaf(Tape& tape, const Parameter& p) { return p.defined() ? tape.leaf(p) : Var(); }

/// N(W v; gamma) + b.
Var term(const Var& v, const Var& weight, const Var& bias, const Var& gamma) {
  return gamma.defined() ? layer_norm(linear(v, weight), gamma, bias) : linear(v, weight, bias);
}

}  // namespace

LSTMVariantCell::LSTMVariantCell(const LSTMVariantOptions& o, Rng& rng) : coupled_(o.coupled) {
  const std::size_t G = gates() * o.hidden;
  if (G * o.input == 0) {
    check::wrong_shape(type, coupled_ ? "weight_ih (3H, I)" : "weight_ih (4H, I)", {G, o.input},
                       "without a size of 0");
  }
  if (o.projection >= o.hidden) {
    fail<UsageError>(type, "projection is {} but hidden is {}: it must be less, or 0 for none",
                     o.projection, o.hidden);
  }
  const double bound = 1 / std::sqrt(static_cast<double>(o.hidden));
  const auto draw = [&](const Shape& shape) {
    return Parameter(init::uniform(shape, bound, rng, o.dtype));
  };
  weight_ih = draw({G, o.input});
  weight_hh = draw({G, o.projection > 0 ? o.projection : o.hidden});
  if (o.projection > 0) weight_hr = draw({o.projection, o.hidden});
  if (o.bias != LSTMBias::none) bias_ih = draw({G});
  if (o.bias == LSTMBias::two) bias_hh = draw({G});
  if (bias_ih.defined() && o.init == LSTMInit::forget_one) {
    Tensor bias = bias_ih.value();
    coupled_ ? bias.slice(0, o.hidden).fill(-1) : bias.slice(o.hidden, 2 * o.hidden).fill(1);
  }
  if (!o.layer_norm) return;
  gamma_ih = Parameter(Tensor::full({G}, 1, o.dtype));
  gamma_hh = Parameter(Tensor::full({G}, 1, o.dtype));
  gamma_c = Parameter(Tensor::full({o.hidden}, 1, o.dtype));
  beta_c = Parameter(Tensor::zeros({o.hidden}, o.dtype));
}

LSTMState LSTMVariantCell::operator()(Tape& tape, const Var& x, const LSTMState& state) const {
  check::defined(type, {{"x", x}, {"state.h", state.h}, {"state.c", state.c}});
  tape.require_same_tape(x, type);
  tape.require_same_tape(state.h, type, "state.h");
  tape.require_same_tape(state.c, type, "state.c");
  const RecurrentWeights w{tape.leaf(weight_ih), tape.leaf(weight_hh), leaf(tape, bias_ih),
                           leaf(tape, bias_hh)};
  check::step({type, "Recurrent", gates()}, x.shape(), w);
  check::state(type, x, "h", state.h, {x.size(0), w.hh.size(1)});
  check::state(type, x, "c", state.c, {x.size(0), hidden()});

  const Var a = term(x, w.ih, w.bias_ih, leaf(tape, gamma_ih)) +
                term(state.h, w.hh, w.bias_hh, leaf(tape, gamma_hh));
  const std::vector<std::size_t> blocks(gates(), hidden());
  const Vars parts = split(a, blocks, 1);
  const Var i = sigmoid(parts[0]);
  const Var f = sigmoid(coupled_ ? -parts[0] : parts[1]);  // 1 - i = sigmoid(-a_i)
  const Var g = tanh(parts[gates() - 2]), o = sigmoid(parts[gates() - 1]);
  const Var c = f * state.c + i * g;
  const Var shown = gamma_c.defined() ? layer_norm(c, tape.leaf(gamma_c), tape.leaf(beta_c)) : c;
  const Var h = o * tanh(shown);
  return {weight_hr.defined() ? linear(h, tape.leaf(weight_hr)) : h, c};
}

LSTMState LSTMVariantCell::zero_state(std::size_t batch) const {
  const Tensor& hh = weight_hh.value();
  const Shape h{batch, hh.size(1)};
  if (batch == 0) check::wrong_shape(type, "the state (B, H)", h, "of at least one row");
  return {Tensor::zeros(h, hh.dtype()), Tensor::zeros({batch, hidden()}, hh.dtype())};
}

}  // namespace tapegrad
