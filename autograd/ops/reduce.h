#pragma once

#include <cstddef>

#include "../var.h"

/// Sums, means, extremes along axes, and what undoes a sum. An axis is counted from the first, 0,
/// or from the last, -1. ShapeError for an axis that does not exist, DtypeError for int32, which
/// only broadcast_to() and repeat() take.
namespace tapegrad {

/// Returns the sum of all elements: a scalar.
Var sum(const Var& x);
/// Returns the sum over one axis, which disappears.
Var sum(const Var& x, Axis axis);
/// Returns the mean; ShapeError if there is nothing to average.
Var mean(const Var& x);
Var mean(const Var& x, Axis axis);

/// Returns the largest (smallest) of all elements, or along one axis, which disappears; NaN if
/// there is one. The gradient goes to the first such element (the first NaN). ShapeError if there
/// is nothing to choose from.
Var max(const Var& x);
Var max(const Var& x, Axis axis);
Var min(const Var& x);
Var min(const Var& x, Axis axis);
/// Returns the place along `axis` of that element: int32, of x's shape without the axis. Not
/// recorded.
Tensor argmax(const Var& x, Axis axis);
Tensor argmin(const Var& x, Axis axis);

/// The k largest elements along an axis, and where they were.
struct TopK {
  Var values;      // x's shape with k along the axis
  Tensor indices;  // int32, of the same shape; not recorded
};
/// Returns the k largest elements in falling order; with `largest` false the k smallest in rising
/// order. As with max() and min() a NaN comes first; equal elements come in the order of their
/// places. The gradient goes to the elements that were picked. Throws UsageError unless k is in [1,
/// size of the axis].
TopK topk(const Var& x, std::size_t k, Axis axis = -1, bool largest = true);

/// Returns the Euclidean norm, the square root of the sum of squares, of all elements: a scalar. No
/// square overflows or vanishes: the norm is right wherever it is representable, and 0 without
/// elements. Gradient x / norm, and 0 where the norm is 0 (the subgradient of least norm;
/// derivatives of all orders are 0 there).
Var norm(const Var& x);
/// Returns the norm along one axis, which disappears; -1 is the last axis.
Var norm(const Var& x, Axis axis);

/// Computes y[i] = x[0] + ... + x[i] along `axis`; with `reverse` x[i] + ... + x[n - 1].
Var cumsum(const Var& x, Axis axis, bool reverse = false);

/// Returns the sum over leading axes until `shape`, a suffix of x's shape, is left.
Var sum_to(const Var& x, const Shape& shape);
/// Repeats x along leading axes up to `shape`, of which x's shape is a suffix.
Var broadcast_to(const Var& x, const Shape& shape);
/// Repeats x `size` times along a new axis, which is axis `axis` of the result.
Var repeat(const Var& x, Axis axis, std::size_t size);

}  // namespace tapegrad
