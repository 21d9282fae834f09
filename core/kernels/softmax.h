#pragma once

#include "../tensor.h"

/// Softmax over the last axis and its relatives. Shapes and dtypes have been checked by the caller.
///
/// Exponentials are of x minus the row's largest element, so no finite x overflows. An element of
/// -inf has probability 0. A row of nothing else has no possible class: its softmax is 0, its
/// log_softmax and logsumexp are -inf. An element of inf makes softmax and log_softmax of its row
/// NaN (inf / inf), its logsumexp is inf. A NaN makes its row NaN. No row touches another.
namespace tapegrad::kernels {

/// y = exp(x - log sum exp x), per row.
Tensor softmax(const Tensor& x);
/// y = x - log sum exp x, per row.
Tensor log_softmax(const Tensor& x);
/// y = log sum exp x, per row: x (..., V) -> (...).
Tensor logsumexp(const Tensor& x);

/// dx = y (dy - sum(dy y)), per row, from the result y.
Tensor softmax_backward(const Tensor& y, const Tensor& dy);
/// dx = dy - exp(y) sum(dy), per row, from the result y.
Tensor log_softmax_backward(const Tensor& y, const Tensor& dy);

}  // namespace tapegrad::kernels
