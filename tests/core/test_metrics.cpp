// Covers core/metrics: exact over uneven batches and padding; what is refused counts nothing.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "../../core/data/sequences.h"
#include "../../core/error.h"
#include "../../core/metrics/classification.h"
#include "../../core/metrics/language.h"
#include "../../core/metrics/regression.h"
#include "../fixtures/metrics.h"
#include "../support/message.h"

using namespace tapegrad;
using tapegrad::testing::message_of;
namespace fixture = tapegrad::testing::metrics_fixture;

namespace {

constexpr double NaN = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();

/// Uneven parts of a list.
template <class F>
void for_parts(std::size_t count, F f) {
  for (std::size_t begin = 0, size = 1; begin < count; begin += size, size = 2 * size + 1)
    f(begin, std::min(count, begin + size));
}

/// A metric of two lists in uneven batches, counted by two objects that are merged; with weights or
/// without.
template <class Metric, class Add, class X, class Y>
Metric counted(Metric metric, Add add, const std::vector<X>& x, const std::vector<Y>& y,
               bool weighted) {
  const Tensor all_x = Tensor::from({x.size()}, x), all_y = Tensor::from({y.size()}, y);
  const Tensor all_w = Tensor::from({y.size()}, fixture::weights);
  Metric other = metric;
  for_parts(x.size(), [&](std::size_t begin, std::size_t end) {
    const Tensor weights = weighted ? all_w.slice(begin, end) : Tensor();
    add(begin % 3 == 0 ? metric : other, all_x.slice(begin, end), all_y.slice(begin, end), weights);
  });
  return metric += other;
}

void check_near(double value, double expected) {
  CHECK(std::abs(value - expected) <= 1e-13 * std::abs(expected));
}

void check_scores(const ClassScores& s, const std::vector<double>& expected) {
  check_near(s.precision, expected[0]);
  check_near(s.recall, expected[1]);
  check_near(s.f1, expected[2]);
}

}  // namespace

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
    accuracy.add(Tensor::from({2, 2}, {1.0, 1.0, -inf, inf}).to(dtype), Tensor::from({2}, {1, 1}));
    CHECK(accuracy.value() == 3.0 / 5);
  }
}

TEST_CASE("accuracy: rows of weight 0 or of the id to be ignored are not read") {
  const Tensor scores = Tensor::from({2, 2, 2}, {1.0, 0.0, NaN, NaN, NaN, 0.0, 0.0, 1.0});
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

TEST_CASE("confusion matrix: scikit-learn's numbers, in uneven batches and merged") {
  const auto add = [](ConfusionMatrix& m, const Tensor& x, const Tensor& y, const Tensor& w) {
    m.add_ids(x, y, {.weights = w});
  };
  for (const bool weighted : {false, true}) {
    const fixture::Classes& expected = weighted ? fixture::with_weights : fixture::plain;
    const ConfusionMatrix matrix =
        counted(ConfusionMatrix(5), add, fixture::predicted, fixture::ids, weighted);
    for (std::size_t k = 0; k < 25; ++k) CHECK(matrix.count(k / 5, k % 5) == expected.counts[k]);
    for (std::size_t k = 0; k < 5; ++k) {
      const auto& [precision, recall, f1, support] = matrix.of_class(k);
      const std::vector<double> scores{precision, recall, f1, support};
      for (std::size_t j = 0; j < 4; ++j) check_near(scores[j], expected.scores[j][k]);
    }
    check_scores(matrix.macro(), expected.macro);
    check_scores(matrix.weighted(), expected.weighted);
    check_scores(matrix.micro(), std::vector<double>(3, expected.accuracy));
    check_near(matrix.accuracy(), expected.accuracy);
    for (const ClassScores& s : {matrix.macro(), matrix.weighted(), matrix.micro()})
      CHECK(s.support == matrix.count());
    CHECK(matrix.never_predicted() == 1);
    CHECK(matrix.never_occurred() == 1);
  }
}

TEST_CASE("confusion matrix: of scores, with ids to be ignored; the text says what never was") {
  ConfusionMatrix matrix(3);
  matrix.add(Tensor::from({2, 2, 3}, {0.0, 2.0, 1.0, NaN, NaN, NaN, 3.0, 1.0, 3.0, NaN, 0.0, 0.0}),
             Tensor::from({2, 2}, {1, -100, 1, 1}),
             {.weights = valid_steps(Tensor::from({2}, {2, 1}), {2, 2})});
  CHECK(matrix.count() == 2);
  CHECK(matrix.count(1, 0) == 1);
  CHECK(matrix.text() ==
        "class     precision   recall       F1     support\n"
        "0             0.000    0.000    0.000           0\n"
        "1             1.000    0.500    0.667           2\n"
        "2             0.000    0.000    0.000           0\n"
        "macro         0.333    0.167    0.222           2\n"
        "weighted      1.000    0.500    0.667           2\n"
        "accuracy 0.500\n"
        "1 of 3 classes never predicted: their precision counts as 0\n"
        "2 of 3 classes never occurred: their recall counts as 0\n");
  ConfusionMatrix two(2);
  two.add_ids(Tensor::from({2}, {0, 1}), Tensor::from({2}, {0, 1}));
  CHECK(two.text(std::vector<std::string>{"a rather long name", "b"}) ==
        "class               precision   recall       F1     support\n"
        "a rather long name      1.000    1.000    1.000           1\n"
        "b                       1.000    1.000    1.000           1\n"
        "macro                   1.000    1.000    1.000           2\n"
        "weighted                1.000    1.000    1.000           2\n"
        "accuracy 1.000\n");
}

TEST_CASE("confusion matrix: what is refused counts nothing") {
  ConfusionMatrix m(2);
  const Tensor ids = Tensor::from({2}, {0, 1});
  const auto of = [&](auto act) { return message_of(act); };
  CHECK(of([&] { m.accuracy(); }) ==
        "[ConfusionMatrix] nothing was counted: add() something first");
  CHECK_THROWS_AS(m.of_class(0), UsageError);
  CHECK_THROWS_AS(m.macro(), UsageError);
  CHECK_THROWS_AS(m.weighted(), UsageError);
  CHECK_THROWS_AS(m.micro(), UsageError);
  CHECK_THROWS_AS(m.text(), UsageError);
  CHECK_THROWS_AS(m.never_predicted(), UsageError);
  CHECK_THROWS_AS(m.never_occurred(), UsageError);
  CHECK(of([] { ConfusionMatrix one(1); }) ==
        "[ConfusionMatrix] 1 classes: there must be from 2 to 10000");
  CHECK_THROWS_AS(ConfusionMatrix(SIZE_MAX), UsageError);
  CHECK(of([&] {
          m.add(Tensor::zeros({2, 3}), ids);
        }) == "[ConfusionMatrix] scores has shape (2, 3): its last axis must be C = 2");
  CHECK(of([&] {
          m.add(Tensor::zeros({3, 2}), ids);
        }) ==
        "[ConfusionMatrix] scores has shape (..., C) = (3, 2) but ids has shape (...) = (2): the "
        "leading axes must match");
  CHECK(of([&] {
          m.add(Tensor::from({2, 2}, {0.0, 1.0, NaN, 0.0}), ids);
        }) == "[ConfusionMatrix] row 1 of the scores has a NaN");
  CHECK(of([&] {
          m.add_ids(Tensor::from({2}, {0, -1}), ids);
        }) == "[ConfusionMatrix] predicted is -1 at position 1 of shape (2): it must be in [0, 2)");
  CHECK(of([&] { m.add_ids(Tensor::zeros({2}), ids); }) ==
        "[ConfusionMatrix] predicted is float32: it must be int32; add() takes scores");
  CHECK_THROWS_AS(m.add_ids(Tensor::from({3}, {0, 0, 0}), ids), ShapeError);
  CHECK_THROWS_AS(m.add_ids(ids, ids, {.weights = Tensor::from({2}, {1.0, inf})}), UsageError);
  CHECK_THROWS_AS(m.add_ids(ids, Tensor::from({2}, {0, 2})), UsageError);
  CHECK_THROWS_AS(m.add_ids(Tensor(), ids), UsageError);
  CHECK(m.count() == 0);
  CHECK(of([&] { m += ConfusionMatrix(3); }) ==
        "[ConfusionMatrix] one has 2 classes, the other 3: they must have as many");
  CHECK(of([&] { (void)m.count(0, 2); }) ==
        "[ConfusionMatrix] class 2 does not exist: classes are in [0, 2)");
  m.add_ids(ids, ids);
  CHECK_THROWS_AS(m.of_class(2), UsageError);
  CHECK(of([&] { (void)m.text(std::vector<std::string>{"a"}); }) ==
        "[ConfusionMatrix] 1 names for 2 classes: give each one");
}

TEST_CASE("ROC AUC: scikit-learn's numbers, with ties, in uneven batches and merged") {
  const auto add = [](RocAuc& m, const Tensor& x, const Tensor& y, const Tensor& w) {
    m.add(x, y, {.weights = w});
  };
  for (const bool weighted : {false, true}) {
    const RocAuc auc = counted(RocAuc(), add, fixture::scores, fixture::positive, weighted);
    check_near(auc.value(), fixture::areas[weighted ? 1 : 0]);
    RocAuc twice = auc;
    twice += twice;
    check_near(twice.value(), auc.value());
    CHECK(twice.count() == 2 * auc.count());
  }
  RocAuc infinite;
  infinite.add(Tensor::from({4}, {-inf, inf, NaN, NaN}), Tensor::from({4}, {0, 1, -100, 1}),
               {.weights = Tensor::from({4}, {1, 1, 1, 0})});
  CHECK(infinite.value() == 1);
  CHECK(infinite.count() == 2);
}

TEST_CASE("ROC AUC: what is refused counts nothing") {
  RocAuc auc;
  const Tensor ids = Tensor::from({2}, {1, 1}), scores = Tensor::from({2}, {0.5, 0.25});
  CHECK(message_of([&] {
          auc.add(Tensor::from({2}, {0.0, NaN}), ids);
        }) == "[RocAuc] score 1 of shape (2) is NaN");
  CHECK_THROWS_AS(auc.add(Tensor::zeros({2, 1}), ids), ShapeError);
  CHECK_THROWS_AS(auc.add(ids, ids), DtypeError);
  CHECK_THROWS_AS(auc.add(scores, Tensor::from({2}, {0, 2})), UsageError);
  CHECK(auc.count() == 0);
  CHECK(message_of([&] { auc.value(); }) ==
        "[RocAuc] of 0 scores counted none is positive: both classes must occur");
  auc.add(scores, ids);
  CHECK(message_of([&] { auc.value(); }) ==
        "[RocAuc] of 2 scores counted none is negative: both classes must occur");
}

TEST_CASE("ROC AUC: the same whatever the weights' unit") {
  for (const double unit : {1e-300, 1.0, 1e300}) {
    RocAuc area;
    area.add(Tensor::from({4}, {1.0, 2.0, 3.0, 4.0}), Tensor::from({4}, {0, 1, 0, 1}),
             {.weights = Tensor::full({4}, unit, DType::float64)});
    CHECK(area.value() == 0.75);
  }
}

TEST_CASE("shares of weights that round are not above 1") {
  for (int k = 0; k < 100; ++k) {
    std::vector<double> weights, scores;
    std::vector<std::int32_t> classes;
    for (int i = 0; i < 7; ++i) {
      weights.push_back(0.1 + 0.01 * ((7 * k + 13 * i) % 97));
      classes.push_back(i % 2);
      scores.push_back(i % 2);
    }
    const Tensor ids = Tensor::from<std::int32_t>({7}, classes);
    const MetricOptions options{.weights = Tensor::from<double>({7}, weights)};
    ConfusionMatrix matrix(2);
    matrix.add_ids(ids, ids, options);
    CHECK(matrix.accuracy() == 1);
    CHECK(matrix.micro().f1 == 1);
    CHECK((matrix += ConfusionMatrix(matrix)).accuracy() == 1);
    RocAuc area;
    area.add(Tensor::from<double>({7}, scores), ids, options);
    CHECK(area.value() <= 1);
    CHECK(area.value() > 1 - 1e-15);
  }
}

TEST_CASE("regression: scikit-learn's numbers, in uneven batches and merged") {
  const auto add = [](RegressionMetrics& m, const Tensor& x, const Tensor& y, const Tensor& w) {
    m.add(x, y, w);
  };
  for (const bool weighted : {false, true}) {
    const RegressionMetrics m =
        counted(RegressionMetrics(), add, fixture::predictions, fixture::targets, weighted);
    const std::vector<double>& expected = weighted ? fixture::weighted_errors : fixture::errors;
    check_near(m.mse(), expected[0]);
    check_near(m.rmse(), expected[1]);
    check_near(m.mae(), expected[2]);
    check_near(m.mape(), expected[3]);
    check_near(m.r2(), expected[4]);
  }
}

TEST_CASE("regression: R2 keeps its digits far from 0, and padding is not read") {
  RegressionMetrics m;
  for (const double far : {0.0, 1.0, 2.0, 3.0}) {
    m.add(Tensor::from({1, 2}, {1e9 + far + 0.5, NaN}), Tensor::from({1, 2}, {1e9 + far, NaN}),
          Tensor::from({1, 2}, {1, 0}));
  }
  CHECK(m.count() == 4);
  CHECK(m.r2() == doctest::Approx(1 - 0.25 / 1.25).epsilon(1e-15));
  RegressionMetrics near;  // squares modulo 61 in steps of 2^-20 beyond 2^30, errors of one step
  double sum = 0, squares = 0;
  for (int k = 0; k < 64; ++k) {
    const double v = k * k % 61, y = 0x1p30 + v * 0x1p-20;
    near.add(Tensor::from({1}, {y + 0x1p-20}), Tensor::from({1}, {y}));
    sum += v;
    squares += v * v;
  }
  CHECK(near.r2() == doctest::Approx(1 - 64 / (squares - sum * sum / 64)).epsilon(1e-14));
  RegressionMetrics empty;
  empty += m;
  CHECK(empty.r2() == m.r2());
  empty += empty;
  CHECK(empty.r2() == doctest::Approx(m.r2()).epsilon(1e-15));
  CHECK(empty.count() == 8);
}

TEST_CASE("regression: what is refused counts nothing") {
  RegressionMetrics m;
  const Tensor x = Tensor::from({2}, {0.1, 0.1});
  CHECK(message_of([&] { m.mae(); }) ==
        "[RegressionMetrics] nothing was counted: add() something first");
  CHECK_THROWS_AS(m.r2(), UsageError);
  CHECK_THROWS_AS(m.mape(), UsageError);
  CHECK(message_of([&] {
          m.add(x, Tensor::from({2}, {1.0, NaN}));
        }) == "[RegressionMetrics] targets has nan at position 1 of shape (2): all must be finite");
  CHECK(message_of([&] {
          m.add(Tensor::from({2}, {-inf, 0.0}), x);
        }) ==
        "[RegressionMetrics] predictions has -inf at position 0 of shape (2): all must be finite");
  CHECK(message_of([&] { m.add(x, x.to(DType::float32)); }) ==
        "[RegressionMetrics] predictions are float64 but targets are float32: convert one with "
        "to()");
  CHECK(message_of([&] {
          m.add(x, Tensor::zeros({2, 1}, DType::float64));
        }) ==
        "[RegressionMetrics] predictions has shape (2) but targets has shape (2, 1): the shapes "
        "must be equal");
  CHECK_THROWS_AS(m.add(x.to(DType::int32), x.to(DType::int32)), DtypeError);
  CHECK_THROWS_AS(m.add(x, x, Tensor::from({2}, {1.0, -1.0})), UsageError);
  CHECK_THROWS_AS(m.add(x, Tensor()), UsageError);
  CHECK(m.count() == 0);
  m.add(x, x);
  m.add(x, x);
  CHECK(message_of([&] { m.r2(); }) ==
        "[RegressionMetrics] all targets are 0.1: r2() compares with the targets' variance, which "
        "must not be 0");
  CHECK(m.mape() == 0);
  m.add(x, Tensor::from({2}, {0.0, 1.0}));
  CHECK(message_of([&] { m.mape(); }) ==
        "[RegressionMetrics] 1 of the targets are 0, of which no error is a percentage: give them "
        "weight 0, or take mae()");
  CHECK(m.mae() == doctest::Approx(1.0 / 6));
}

TEST_CASE("ESR: by its definition, whatever the chunks") {
  const std::size_t T = 7, B = 3;
  const Tensor y = Tensor::from({20 * B}, fixture::predictions).slice(0, T * B).reshape({T, B});
  const Tensor t = Tensor::from({20 * B}, fixture::targets).slice(0, T * B).reshape({T, B});
  const Tensor w = valid_steps(Tensor::from({B}, {7, 4, 0}), {T, B});
  for (const double a : {0.0, 0.85}) {
    for (const bool padded : {false, true}) {
      double errors = 0, signal = 0;
      for (std::size_t k = 0; k < T * B; ++k) {
        if (padded && w.at(k) == 0) continue;
        const auto filtered = [&](auto f) { return f(k) - (k >= B ? a * f(k - B) : 0.0); };
        errors += std::pow(filtered([&](std::size_t i) { return y.at(i) - t.at(i); }), 2);
        signal += std::pow(filtered([&](std::size_t i) { return t.at(i); }), 2);
      }
      Tensor wild = y.clone();
      if (padded) wild.mutable_data<double>()[5 * B + 1] = NaN;
      for (const std::size_t chunk : {1U, 2U, 7U}) {
        ESR esr({a});
        for (std::size_t from = 0; from < T; from += chunk) {
          const std::size_t end = std::min(T, from + chunk);
          esr.add(wild.slice(from, end), t.slice(from, end),
                  padded ? w.slice(from, end) : Tensor());
        }
        check_near(esr.value(), errors / signal);
      }
    }
  }
  ESR esr({0.85}), again({0.85});
  esr.add(y, t);
  again.add(y, t);
  again.restart();
  again.add(y, t);
  check_near(again.value(), esr.value());
}

TEST_CASE("ESR: what is refused counts nothing") {
  CHECK(message_of([] { ESR esr({1}); }) == "[ESR] pre_emphasis is 1: it must be in [0, 1)");
  ESR esr;
  CHECK(message_of([&] { esr.value(); }) ==
        "[ESR] the targets counted are silent: a ratio to them does not exist");
  const Tensor x = Tensor::full({2, 1}, 3);
  CHECK_THROWS_AS(esr.add(Tensor::scalar(1), Tensor::scalar(1)), ShapeError);
  CHECK_THROWS_AS(esr.add(x, Tensor::full({2, 1}, NaN)), NonFiniteError);
  esr.add(x, x);
  CHECK(message_of([&] {
          esr.add(Tensor::zeros({2, 3}), Tensor::full({2, 3}, 1));
        }) ==
        "[ESR] a step has shape (3) but had (1) in the chunk before: they must be the same "
        "sequences; restart() begins new ones");
  CHECK(esr.value() == 0);
}

TEST_CASE("perplexity: merged, it is that of all tokens") {
  Perplexity a, b;
  a.add(1, 3);
  b.add(2, 1);
  CHECK((a += b).nats() == 1.25);
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
