#include <doctest/doctest.h>

#include <cmath>

#include "../../core/error.h"
#include "../../layers/init.h"

using namespace tapegrad;

TEST_CASE("init: orthogonal rows, or columns where there are more rows") {
  for (const Shape& shape : {Shape{3, 5}, Shape{5, 3}, Shape{40, 40}, Shape{1, 1}}) {
    Rng rng(1);
    const Tensor w = init::orthogonal(shape, rng, DType::float64);
    const bool rows = shape[0] <= shape[1];
    const std::size_t count = rows ? shape[0] : shape[1];
    const std::size_t length = rows ? shape[1] : shape[0];
    const auto at = [&](std::size_t v, std::size_t k) {
      return w.at(rows ? v * shape[1] + k : k * shape[1] + v);
    };
    for (std::size_t a = 0; a < count; ++a) {
      for (std::size_t b = 0; b < count; ++b) {
        double dot = 0;
        for (std::size_t k = 0; k < length; ++k) dot += at(a, k) * at(b, k);
        CHECK(std::abs(dot - (a == b ? 1.0 : 0.0)) < 1e-14);
      }
    }
  }
}

TEST_CASE("init: bounds and spreads") {
  Rng rng(2);
  const Tensor xavier = init::xavier_uniform({100, 50}, rng, DType::float64);
  const Tensor normal = init::normal({5000}, 0.3, rng, DType::float64);
  double highest = 0, square = 0;
  for (std::size_t i = 0; i < 5000; ++i) {
    highest = std::max(highest, std::abs(xavier.at(i)));
    square += normal.at(i) * normal.at(i) / 5000;
  }
  CHECK(highest < std::sqrt(6.0 / 150));
  CHECK(highest > 0.99 * std::sqrt(6.0 / 150));
  CHECK(std::sqrt(square) == doctest::Approx(0.3).epsilon(0.03));
}

TEST_CASE("init: the same seed gives the same weights, in either precision") {
  Rng a(7), b(7);
  const Tensor x = init::uniform({10}, 0.5, a, DType::float64);
  const Tensor y = init::uniform({10}, 0.5, b, DType::float32);
  for (std::size_t i = 0; i < 10; ++i) CHECK(y.at(i) == static_cast<float>(x.at(i)));
}

TEST_CASE("init: a matrix is demanded where one is needed") {
  Rng rng(1);
  CHECK_THROWS_WITH_AS(init::orthogonal({3}, rng),
                       "[orthogonal] the weight has shape (3): it must be a matrix (out, in)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      init::xavier_uniform({2, 3, 4}, rng),
      "[xavier_uniform] the weight has shape (2, 3, 4): it must be a matrix (out, in)", ShapeError);
}
