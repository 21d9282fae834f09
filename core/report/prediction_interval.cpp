#include "prediction_interval.h"

#include <algorithm>
#include <utility>

#include "../check-inl.h"
#include "../fail-inl.h"
#include "../write-inl.h"
#include "statistics-inl.h"

namespace tapegrad {

PredictionInterval quantile_interval(const Tensor& quantiles, std::size_t lower,
                                     std::size_t upper) {
  constexpr const char* name = "quantile_interval";
  check::defined(name, {{"quantiles", quantiles}});
  const Shape& shape = quantiles.shape();
  if (shape.rank() == 0 || std::max(lower, upper) >= shape[-1]) {
    fail<ShapeError>(name, "quantiles has shape (..., Q) = {}: it must have columns {} and {}",
                     shape, lower, upper);
  }
  if (lower == upper)
    fail<UsageError>(name, "lower and upper are both column {}: they must be two", lower);
  PredictionInterval interval{Tensor::empty(shape.without(-1), DType::float64),
                              Tensor::empty(shape.without(-1), DType::float64)};
  double* low = detail::write<double>(interval.lower);
  double* high = detail::write<double>(interval.upper);
  for (std::size_t k = 0; k < interval.lower.numel(); ++k) {
    low[k] = quantiles.at(k * shape[-1] + lower);
    high[k] = quantiles.at(k * shape[-1] + upper);
    if (high[k] < low[k]) std::swap(low[k], high[k]);  // a NaN stays one
  }
  return interval;
}

PredictionInterval gaussian_interval(const Tensor& mean, const Tensor& sigma, double level) {
  constexpr const char* name = "gaussian_interval";
  check::defined(name, {{"mean", mean}, {"sigma", sigma}});
  check::equal_shapes(name, "mean", mean.shape(), "sigma", sigma.shape());
  if (!(level > 0 && level < 1))
    fail<UsageError>(name, "level is {}: it must be between 0 and 1, as 0.9", level);
  for (std::size_t k = 0; k < sigma.numel(); ++k) {
    if (!(sigma.at(k) >= 0)) {
      fail<UsageError>(name, "element {} of sigma is {}: standard deviations must be at least 0", k,
                       sigma.at(k));
    }
  }
  const double z = statistics::normal_quantile((1 + level) / 2);
  PredictionInterval interval{Tensor::empty(mean.shape(), DType::float64),
                              Tensor::empty(mean.shape(), DType::float64)};
  double* low = detail::write<double>(interval.lower);
  double* high = detail::write<double>(interval.upper);
  for (std::size_t k = 0; k < mean.numel(); ++k) {
    low[k] = mean.at(k) - z * sigma.at(k);
    high[k] = mean.at(k) + z * sigma.at(k);
  }
  return interval;
}

}  // namespace tapegrad
