#pragma once

#include <cstddef>

#include "../tensor.h"

/// Sums and extremes along axes. float32 is summed in blocks of fixed size, float64 pairwise or in
/// blocks too: the order depends on the shape alone. Shapes and dtypes have been checked by the
/// caller.
namespace tapegrad::kernels {

/// Returns the sum of all elements: a scalar.
Tensor sum(const Tensor& x);
/// Returns the sum over one axis, which disappears.
Tensor sum(const Tensor& x, Axis axis);
/// Returns the sum over the leading axes until `shape` (a suffix of x's) is left: the gradient of
/// broadcasting.
Tensor sum_to(const Tensor& x, const Shape& shape);
/// Repeats x along a new axis of size `size` that is axis `axis` of the result: the
/// gradient of sum over an axis.
Tensor repeat(const Tensor& x, Axis axis, std::size_t size);
/// Repeats x along leading axes up to `shape`, of which x's shape is a suffix.
Tensor broadcast(const Tensor& x, const Shape& shape);
/// Returns the place along `axis` of the first of the largest (smallest) elements, or of the
/// first NaN: int32 of x's shape without the axis, whose size is in [1, 2^31).
Tensor argmax(const Tensor& x, Axis axis);
Tensor argmin(const Tensor& x, Axis axis);
/// Returns the places along `axis` of its k first elements in falling order (rising if not
/// `largest`): int32 of x's shape with k along the axis. NaNs come first, equal elements in the
/// order of their places.
Tensor topk(const Tensor& x, std::size_t k, Axis axis, bool largest);
/// Computes y[i] = x[0] + ... + x[i] along `axis`, added in double; reverse: x[i] + ... + x[n - 1].
Tensor cumsum(const Tensor& x, Axis axis, bool reverse);
/// Returns the Euclidean norm, the square root of the sum of squares, of all elements. Squares are
/// summed in double, and scaled where they would overflow or vanish, so that the norm is right for
/// any finite elements; NaN or inf if an element is. inf if the norm of float64 is beyond the
/// largest double.
double norm(const Tensor& x);
/// Returns the norm along one axis, which disappears; in x's dtype.
Tensor norm(const Tensor& x, Axis axis);

}  // namespace tapegrad::kernels
