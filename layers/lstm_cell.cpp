#include "lstm_cell.h"

#include <algorithm>
#include <cmath>

#include "../autograd/ops/check-inl.h"
#include "init.h"

namespace tapegrad {

LSTMParameters::LSTMParameters(const LSTMCellOptions& o, Rng& rng) {
  const Shape ih{4 * o.hidden, o.input};
  if (ih.numel() == 0) check::wrong_shape("LSTM", "weight_ih (4H, I)", ih, "without a size of 0");
  const double bound = 1 / std::sqrt(static_cast<double>(o.hidden));
  weight_ih = Parameter(init::uniform(ih, bound, rng, o.dtype));
  weight_hh = Parameter(init::uniform({4 * o.hidden, o.hidden}, bound, rng, o.dtype));
  if (o.bias == LSTMBias::none) return;
  Tensor bias = init::uniform({4 * o.hidden}, bound, rng, o.dtype);
  if (o.init == LSTMInit::forget_one) bias.slice(o.hidden, 2 * o.hidden).fill(1);
  bias_ih = Parameter(std::move(bias));
  if (o.bias == LSTMBias::two) {
    bias_hh = Parameter(init::uniform({4 * o.hidden}, bound, rng, o.dtype));
  }
}

LSTMWeights LSTMParameters::on(Tape& tape) const {
  const auto bias = [&](const Parameter& p) { return p.defined() ? tape.leaf(p) : Var(); };
  return {tape.leaf(weight_ih), tape.leaf(weight_hh), bias(bias_ih), bias(bias_hh)};
}

LSTMState LSTMCell::zero_state(std::size_t batch) const {
  const Tensor& hh = weights.weight_hh.value();
  const Shape shape{batch, hh.size(1)};
  if (batch == 0) check::wrong_shape("LSTMCell", "the state (B, H)", shape, "of at least one row");
  return {Tensor::zeros(shape, hh.dtype()), Tensor::zeros(shape, hh.dtype())};
}

}  // namespace tapegrad
