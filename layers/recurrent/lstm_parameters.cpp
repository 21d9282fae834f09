#include "lstm_parameters.h"

#include <algorithm>
#include <cmath>

#include "../../core/check-inl.h"
#include "../init.h"

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

}  // namespace tapegrad
