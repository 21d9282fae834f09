#include "recurrent_parameters.h"

#include <fmt/core.h>
#include <cmath>

#include "../../core/check-inl.h"
#include "../init.h"

namespace tapegrad {

RecurrentParameters::RecurrentParameters(const char* type, const Sizes& sizes, Rng& rng) {
  const auto [gates, input, hidden, biases, dtype] = sizes;
  const Shape ih{gates * hidden, input};
  if (ih.numel() == 0) {
    const std::string name =
        fmt::format("weight_ih ({}H, I)", gates == 1 ? "" : std::to_string(gates));
    check::wrong_shape(type, name, ih, "without a size of 0");
  }
  const double bound = 1 / std::sqrt(static_cast<double>(hidden));
  weight_ih = Parameter(init::uniform(ih, bound, rng, dtype));
  weight_hh = Parameter(init::uniform({gates * hidden, hidden}, bound, rng, dtype));
  if (biases > 0) bias_ih = Parameter(init::uniform({gates * hidden}, bound, rng, dtype));
  if (biases > 1) bias_hh = Parameter(init::uniform({gates * hidden}, bound, rng, dtype));
}

RecurrentWeights RecurrentParameters::on(Tape& tape) const {
  const auto bias = [&](const Parameter& p) { return p.defined() ? tape.leaf(p) : Var(); };
  return {tape.leaf(weight_ih), tape.leaf(weight_hh), bias(bias_ih), bias(bias_hh)};
}

Tensor RecurrentParameters::zero_state(const char* type, std::size_t batch) const {
  const Tensor& hh = weight_hh.value();
  const Shape shape{batch, hh.size(1)};
  if (batch == 0) check::wrong_shape(type, "the state (B, H)", shape, "of at least one row");
  return Tensor::zeros(shape, hh.dtype());
}

}  // namespace tapegrad
