#include <cmath>

#include "../check-inl.h"
#include "../fail-inl.h"
#include "weights-inl.h"

namespace tapegrad::metrics {

Weights::Weights(std::string_view metric, const Tensor& weights, std::string_view weighed,
                 const Shape& shape)
    : weights_(weights) {
  if (!weights.defined()) return;
  check::equal_shapes(metric, "weights", weights.shape(), weighed, shape);
  for (std::size_t i = 0; i < weights.numel(); ++i) {
    const double w = weights.at(i);
    if (!(w >= 0 && std::isfinite(w)))
      fail<UsageError>(metric, "a weight is {}: weights must be finite and at least 0", w);
  }
}

double mean(std::string_view metric, double sum, double count) {
  if (count == 0) fail<UsageError>(metric, "nothing was counted: add() something first");
  return sum / count;
}

}  // namespace tapegrad::metrics
