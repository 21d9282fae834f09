#pragma once

#include <string_view>

#include "../var.h"

#pragma GCC visibility push(hidden)

/// Weighted means of losses. Private to autograd/ops.
namespace tapegrad {

/// Selects x where weights (a constant of x's shape and dtype) is not 0, else `other`. What is left
/// out gets the gradient 0 itself, not 0 times something, so that a NaN there reaches nothing.
Var select_counted(const Var& x, const Var& weights, double other = 0);

/// The element weights of a loss; all 1 if none were given.
///
/// A loss takes its inputs through select() and returns mean() of its elements: then an element of
/// weight 0 contributes nothing to value or gradients of any order, whatever it is.
class LossWeights {
 public:
  /// `weights`: undefined, or of any dtype. Throws ShapeError unless it has x's shape, and if x,
  /// whose name is `weighed`, has no elements; UsageError unless all of it is finite and at least
  /// 0.
  LossWeights(std::string_view op, const Tensor& weights, std::string_view weighed, const Var& x,
              std::string_view name = "weights");

  /// x, with `other` in the place of elements of weight 0.
  Var select(const Var& x, double other = 0) const;
  /// sum(w x) / sum(w), with x finite where w is 0; 0 if all weights are 0.
  Var mean(const Var& x) const;
  /// Weighted means along one axis, which disappears.
  Var mean(const Var& x, Axis axis) const;
  bool all_zero() const { return weights_.defined() && total_ == 0; }

 private:
  Var weights_;  // divided by the largest of them, so that neither sum overflows
  double total_ = 0;
};

/// Throws UsageError unless all weights, if there are any, are finite and at least 0.
void check_finite_weights(std::string_view op, std::string_view name, const Tensor& weights);
/// Checks weights, with ShapeError unless they have the shape of what they weigh.
void check_weights(std::string_view op, const Tensor& weights, std::string_view weighed,
                   const Shape& shape, std::string_view name = "weights");

}  // namespace tapegrad

#pragma GCC visibility pop
