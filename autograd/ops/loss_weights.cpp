#include "loss_weights-inl.h"

#include <algorithm>
#include <cmath>

#include "../../core/check-inl.h"
#include "../../core/fail-inl.h"
#include "../../core/kernels/loss.h"
#include "../../core/kernels/reduce.h"
#include "../node.h"
#include "elementwise.h"
#include "reduce.h"

namespace tapegrad {

void check_finite_weights(std::string_view op, std::string_view name, const Tensor& weights) {
  for (std::size_t i = 0; weights.defined() && i < weights.numel(); ++i) {
    const double w = weights.at(i);
    if (w >= 0 && std::isfinite(w)) continue;
    fail<UsageError>(
        op, "{} has {} at position {} of shape {}: all of it must be finite and at least 0", name,
        w, i, weights.shape());
  }
}

void check_weights(std::string_view op, const Tensor& weights, std::string_view weighed,
                   const Shape& shape, std::string_view name) {
  if (weights.defined() && weights.shape() != shape) {
    check::mismatch(op, {name, "", weights.shape()}, {weighed, "", shape},
                    weights.shape().is_suffix_of(shape)
                        ? "the shapes must be equal; repeat() gives weights a leading axis"
                        : "the shapes must be equal");
  }
  check_finite_weights(op, name, weights);
}

Var select_counted(const Var& x, const Var& weights, double other) {  // dx = dy [weights != 0]
  Node n("select_weighted", {x});
  Var y = n.out(kernels::select_weighted(x.value(), weights.value(), other));
  n.rule([weights](Grads& g) { g.add(0, select_counted(g.d(), weights)); });
  return y;
}

LossWeights::LossWeights(std::string_view op, const Tensor& weights, std::string_view weighed,
                         const Var& x, std::string_view name) {
  const Shape& shape = x.shape();
  if (shape.numel() == 0) check::wrong_shape(op, weighed, shape, "of at least one element");
  check_weights(op, weights, weighed, shape, name);
  if (!weights.defined()) return;
  Tensor scaled = weights.to(DType::float64).clone();
  const std::span<double> w = scaled.mutable_values<double>();
  if (const double largest = *std::ranges::max_element(w); largest > 0) {
    for (double& v : w) v /= largest;
  }
  total_ = kernels::sum(scaled).item();
  weights_ = scaled.to(x.dtype());
}

Var LossWeights::select(const Var& x, double other) const {
  return weights_.defined() ? select_counted(x, weights_, other) : x;
}

Var LossWeights::mean(const Var& x) const {
  if (!weights_.defined()) return tapegrad::mean(x);
  return sum(x * weights_) / (total_ > 0 ? total_ : 1.0);
}

Var LossWeights::mean(const Var& x, Axis axis) const {
  if (!weights_.defined()) return tapegrad::mean(x, axis);
  const Tensor totals = kernels::sum(weights_.value(), axis);
  return sum(x * weights_, axis) / Var(kernels::select_weighted(totals, totals, 1));  // 0 / 1
}

}  // namespace tapegrad
