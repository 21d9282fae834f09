#pragma once

#include <cstddef>
#include <string_view>

#include "../tensor.h"

#pragma GCC visibility push(hidden)

/// Weights and means of metrics. Private to core/metrics.
namespace tapegrad::metrics {

/// Weights of the elements of a batch, as doubles; all 1 if none were given.
class Weights {
 public:
  /// Throws ShapeError unless weights, if defined, have the shape of `weighed`; UsageError unless
  /// all are finite and at least 0.
  Weights(std::string_view metric, const Tensor& weights, std::string_view weighed,
          const Shape& shape);
  double operator[](std::size_t i) const { return weights_.defined() ? weights_.at(i) : 1; }

 private:
  Tensor weights_;
};

/// sum / count; throws UsageError if nothing was counted.
double mean(std::string_view metric, double sum, double count);

}  // namespace tapegrad::metrics

#pragma GCC visibility pop
