// Covers core/report/prediction_interval: bounds from quantiles and from normal distributions.

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "../../core/error.h"
#include "../../core/report/prediction_interval.h"

using namespace tapegrad;

namespace {

std::vector<double> list(const Tensor& t) {
  const auto values = t.values<double>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("prediction interval: two columns of quantiles, exchanged where they cross") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const Tensor quantiles = Tensor::of({2, 1, 3}, {1, 2, 3, 6, 5, 4}, dtype);
    const PredictionInterval interval = quantile_interval(quantiles, 0, 2);
    CHECK(interval.lower.shape() == Shape{2, 1});
    CHECK(list(interval.lower) == std::vector<double>{1, 4});
    CHECK(list(interval.upper) == std::vector<double>{3, 6});
    CHECK(list(quantile_interval(quantiles, 1, 2).lower) == std::vector<double>{2, 4});
  }
}

TEST_CASE("prediction interval: of normal distributions") {
  const PredictionInterval interval =
      gaussian_interval(Tensor::of({2}, {10, -1}), Tensor::of({2}, {2, 0}), 0.95);
  CHECK(interval.lower.at(0) == doctest::Approx(10 - 2 * 1.959963984540054).epsilon(1e-12));
  CHECK(interval.upper.at(0) == doctest::Approx(10 + 2 * 1.959963984540054).epsilon(1e-12));
  CHECK(interval.lower.at(1) == -1);
  CHECK(interval.upper.at(1) == -1);
}

TEST_CASE("prediction interval: a quantile that is NaN stays so") {
  const Tensor q = Tensor::of({2, 2}, {1, NAN, NAN, 2});
  const PredictionInterval interval = quantile_interval(q, 0, 1);
  CHECK(interval.lower.at(0) == 1);
  CHECK(std::isnan(interval.upper.at(0)));
  CHECK(std::isnan(interval.lower.at(1)));
  CHECK(interval.upper.at(1) == 2);
}

TEST_CASE("prediction interval: what cannot be is refused") {
  const Tensor q = Tensor::zeros({4, 3});
  CHECK_THROWS_WITH_AS(
      quantile_interval(q, 0, 3),
      "[quantile_interval] quantiles has shape (..., Q) = (4, 3): it must have columns 0 and 3",
      ShapeError);
  CHECK_THROWS_WITH_AS(quantile_interval(q, 1, 1),
                       "[quantile_interval] lower and upper are both column 1: they must be two",
                       UsageError);
  CHECK_THROWS_AS(quantile_interval(Tensor::scalar(1), 0, 1), ShapeError);
  CHECK_THROWS_WITH_AS(quantile_interval({}, 0, 1),
                       "[quantile_interval] quantiles is undefined: give it a value first",
                       UsageError);
  const Tensor two = Tensor::zeros({2});
  CHECK_THROWS_AS(gaussian_interval(two, q, 0.9), ShapeError);
  CHECK_THROWS_WITH_AS(gaussian_interval(two, two, 1),
                       "[gaussian_interval] level is 1: it must be between 0 and 1, as 0.9",
                       UsageError);
  CHECK_THROWS_WITH_AS(
      gaussian_interval(two, Tensor::of({2}, {0, -1}), 0.5),
      "[gaussian_interval] element 1 of sigma is -1: standard deviations must be at "
      "least 0",
      UsageError);
}
