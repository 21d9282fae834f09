#pragma once

#include <cstddef>

#include "../tensor.h"

/// Prediction intervals from what models predict: quantiles, or a normal distribution.
namespace tapegrad {

/// Bounds of shape (...), in which each forecast's truth is promised to lie with some probability.
struct PredictionInterval {
  Tensor lower, upper;  // float64
};

/// Returns the interval between two columns of `quantiles` (..., Q); of columns for 0.05 and 0.95
/// the level is 0.9. Where the two cross, the smaller one is the lower bound (Chernozhukov,
/// Fernandez-Val and Galichon 2010); one that is NaN stays so. Throws ShapeError unless there are
/// both columns, UsageError if they are the same.
PredictionInterval quantile_interval(const Tensor& quantiles, std::size_t lower, std::size_t upper);

/// Returns the central interval of normal distributions, of shape (...) each:
///
///   mean -+ z sigma,   z = the (1 + level) / 2 quantile of the standard normal distribution
///
/// Throws ShapeError for unequal shapes, UsageError unless every sigma >= 0 and 0 < level < 1.
PredictionInterval gaussian_interval(const Tensor& mean, const Tensor& sigma, double level);

}  // namespace tapegrad
