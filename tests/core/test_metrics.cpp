// Covers core/data/metrics: exact over uneven batches and padding; what is refused counts nothing.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "../../core/data/metrics.h"
#include "../../core/data/sequences.h"
#include "../../core/error.h"

using namespace tapegrad;

TEST_CASE("accuracy: rows whose largest score is the right one, over uneven batches") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    Accuracy accuracy;
    accuracy.add(Tensor::from({2, 3}, {0.1, 0.7, 0.2, 3.0, 1.0, 2.0}).to(dtype),
                 Tensor::from({2}, {1, 2}));
    CHECK(accuracy.value() == 0.5);
    accuracy.add(Tensor::from({1, 3}, {-1.0, -2.0, -3.0}).to(dtype), Tensor::from({1}, {0}));
    CHECK(accuracy.value() == 2.0 / 3);
    CHECK(accuracy.count() == 3);
    // Of equal scores the first; infinities are numbers like others.
    const double inf = std::numeric_limits<double>::infinity();
    accuracy.add(Tensor::from({2, 2}, {1.0, 1.0, -inf, inf}).to(dtype), Tensor::from({2}, {1, 1}));
    CHECK(accuracy.value() == 3.0 / 5);
  }
}

TEST_CASE("accuracy: rows of weight 0 or of the id to be ignored are not read") {
  const double nan = std::nan("");
  const Tensor scores = Tensor::from({2, 2, 2}, {1.0, 0.0, nan, nan, nan, 0.0, 0.0, 1.0});
  const Tensor ids = Tensor::from({2, 2}, {0, 0, -100, 1});
  Accuracy accuracy;
  accuracy.add(scores, ids, {.weights = valid_steps(Tensor::from({2}, {2, 0}), {2, 2})});
  CHECK(accuracy.value() == 1);
  CHECK(accuracy.count() == 1);
  accuracy.add(scores, ids, {.weights = Tensor::from({2, 2}, {0.5, 0.0, 1.0, 2.0})});
  CHECK(accuracy.count() == 3.5);
  accuracy.add(Tensor::from({1, 2}, {0.0, 1.0}), Tensor::from({1}, {0}),
               {.ignore_index = 1, .weights = Tensor::from({1}, {7})});
  CHECK(accuracy.value() == 3.5 / 10.5);
}

TEST_CASE("accuracy: what is refused counts nothing") {
  Accuracy accuracy;
  CHECK_THROWS_WITH_AS(accuracy.value(), "[Accuracy] nothing was counted: add() something first",
                       UsageError);
  const Tensor ids = Tensor::from({2}, {0, 1});
  const auto add = [&](const Tensor& scores, const MetricOptions& options = {}) {
    accuracy.add(scores, ids, options);
  };
  CHECK_THROWS_WITH_AS(add(Tensor::zeros({3, 2})),
                       "[Accuracy] scores has shape (..., C) = (3, 2) but ids has shape (...) = "
                       "(2): the leading axes must match",
                       ShapeError);
  CHECK_THROWS_AS(add(Tensor::zeros({})), ShapeError);
  CHECK_THROWS_AS(add(Tensor::zeros({2, 2}, DType::int32)), DtypeError);
  CHECK_THROWS_AS(add(Tensor::zeros({2, 1})), UsageError);  // no class 1
  CHECK_THROWS_WITH_AS(add(Tensor::from({2, 2}, {0.0, 0.0, 1.0, std::nan("")})),
                       "[Accuracy] row 1 of the scores has a NaN", NonFiniteError);
  CHECK_THROWS_WITH_AS(add(Tensor::zeros({2, 2}), {.weights = Tensor::from({2}, {1.0, -1.0})}),
                       "[Accuracy] a weight is -1: weights must be finite and at least 0",
                       UsageError);
  CHECK_THROWS_AS(add(Tensor::zeros({2, 2}), {.weights = Tensor::zeros({3})}), ShapeError);
  CHECK(accuracy.count() == 0);
}

TEST_CASE("perplexity: e to the mean loss of a token, whatever the batches") {
  Perplexity p;
  CHECK_THROWS_WITH_AS(p.value(), "[Perplexity] nothing was counted: add() something first",
                       UsageError);
  p.add(std::numbers::ln2, 3);
  p.add(0, 1);
  p.add(5, 0);  // nothing
  CHECK(p.nats() == doctest::Approx(0.75 * std::numbers::ln2).epsilon(1e-15));
  CHECK(p.bits() == doctest::Approx(0.75).epsilon(1e-15));
  CHECK(p.value() == doctest::Approx(std::pow(2, 0.75)).epsilon(1e-15));
  CHECK_THROWS_WITH_AS(p.add(-1, 1), "[Perplexity] the loss is -1: it must be at least 0",
                       UsageError);
  CHECK_THROWS_WITH_AS(p.add(1, -1), "[Perplexity] count is -1: it must be finite and at least 0",
                       UsageError);
  CHECK(p.bits() == doctest::Approx(0.75).epsilon(1e-15));
  p.add(std::numeric_limits<double>::infinity(), 1);
  CHECK(p.value() == std::numeric_limits<double>::infinity());
  p.add(std::nan(""), 1);
  CHECK(std::isnan(p.nats()));
}
