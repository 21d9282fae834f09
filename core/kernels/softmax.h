#pragma once

#include "../tensor.h"

/// Softmax over the last axis and its relatives. Shapes and dtypes have been checked by the caller.
///
/// Exponentials are of x minus the row's largest element, so no finite x overflows. An element of
/// -inf has probability 0. A row of nothing else has no possible class: its softmax is 0, its
/// log_softmax and logsumexp are -inf. An element of inf makes softmax and log_softmax of its row
/// NaN (inf / inf), its logsumexp is inf. A NaN makes its row NaN. No row touches another.
namespace tapegrad::kernels {

/// Computes y = exp(x - log sum exp x), per row.
Tensor softmax(const Tensor& x);
/// Computes y = x - log sum exp x, per row.
Tensor log_softmax(const Tensor& x);
/// Computes y = log sum exp x, per row: x (..., V) -> (...).
Tensor logsumexp(const Tensor& x);

/// Computes dx = y (dy - sum(dy y)), per row, from the result y. Right where a y is near 1, as the
/// functions below: no difference of numbers that are almost equal is formed.
Tensor softmax_backward(const Tensor& y, const Tensor& dy);

/// Computes x minus its mean under probabilities p, per row; p >= 0 sums to 1 (or is 0 everywhere:
/// then a constant of the row is subtracted).
///   y_j = x_j - sum_i p_i x_i
Tensor minus_mean(const Tensor& x, const Tensor& p);
/// Computes x minus the share p of its sum, per row: the transpose of minus_mean(), and the
/// gradient of log_softmax where p is the softmax.
///   y_j = x_j - p_j sum_i x_i
Tensor minus_share(const Tensor& x, const Tensor& p);

}  // namespace tapegrad::kernels
