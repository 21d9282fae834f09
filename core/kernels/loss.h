#pragma once

#include "../tensor.h"

/// Losses of single elements, and their slopes. Shapes are equal, parameters of the loss (a
/// quantile, a class's weight) are given for the last axis or once; float32 and float64. NaN stays
/// NaN. Shapes, dtypes and ranges have been checked by the caller.
namespace tapegrad::kernels {

/// Computes x where weights is not 0, else `other`.
Tensor select_weighted(const Tensor& x, const Tensor& weights, double other);

/// Computes e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2). Its slope is clamp(e, -delta,
/// delta).
Tensor huber(const Tensor& e, double delta);

/// Computes max(q e, (q - 1) e), and its slope: 0 at 0. q () or (Q) in (0, 1).
Tensor pinball(const Tensor& e, const Tensor& q);
Tensor pinball_slope(const Tensor& e, const Tensor& q);

/// Computes -p t log sigmoid(x) - (1 - t) log sigmoid(-x); a term whose factor is 0 is 0. p () or
/// (C).
Tensor binary_cross_entropy(const Tensor& x, const Tensor& t, const Tensor& p);
/// Its slope in x, (1 - t) sigmoid(x) - p t sigmoid(-x).
Tensor binary_cross_entropy_slope(const Tensor& x, const Tensor& t, const Tensor& p);
/// Its slope in t, -p log sigmoid(x) + log sigmoid(-x): -x where p is 1.
Tensor binary_cross_entropy_target_slope(const Tensor& x, const Tensor& p);

}  // namespace tapegrad::kernels
