#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "../../autograd/ops/cross_entropy.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/gather.h"
#include "../../autograd/ops/layer_norm.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/ops/softmax.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../support/kernel_cases.h"

// Where float32 (or float64) would lose the result if it were computed the short way: tails, long
// sums, squares beyond the range, and the two ways to a gradient, with and without create_graph.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using LayerNormOf = Var (*)(const Var&, const Var&, const Var&, double);

constexpr double NaN = std::numeric_limits<double>::quiet_NaN();

/// A function of x, given as the row (x, 0), and its derivatives for x by their formulas. For 0 the
/// derivatives have the opposite sign if there are two classes, else they are 0.
struct Curve {
  const char* name;
  std::function<Var(const Var&)> f;
  long double (*y)(long double);
  long double (*slope)(long double);
  long double (*curvature)(long double);
  bool two_classes;
};

long double sigma(long double x) { return 1 / (1 + std::exp(-x)); }
long double slope_of_sigma(long double x) { return sigma(x) * sigma(-x); }
long double curvature_of_sigma(long double x) { return -slope_of_sigma(x) * std::tanh(x / 2); }
long double slope_of_tanh(long double x) { return 4 * slope_of_sigma(2 * x); }
long double curvature_of_tanh(long double x) { return -2 * slope_of_tanh(x) * std::tanh(x); }
long double cost(long double x) { return std::log1p(std::exp(-x)); }
long double slope_of_cost(long double x) { return -sigma(-x); }
long double minus_cost(long double x) { return -cost(x); }
long double slope_of_minus_cost(long double x) { return sigma(-x); }
long double curvature_of_minus_cost(long double x) { return -slope_of_sigma(x); }
long double sum_of_two(long double x) { return cost(-x); }

Var first(const Var& row) { return reshape(slice(row, 0, 0, 1), {}); }
Tensor id(std::size_t k) { return Tensor::scalar(static_cast<double>(k), DType::int32); }

std::vector<Curve> curves() {
  const auto ones = [](const Var& x) { return Tensor::full(x.shape(), 1, x.dtype()); };
  return {
      {"sigmoid", [](const Var& r) { return sigmoid(first(r)); }, sigma, slope_of_sigma,
       curvature_of_sigma, false},
      {"tanh", [](const Var& r) { return tanh(first(r)); },
       [](long double x) { return std::tanh(x); }, slope_of_tanh, curvature_of_tanh, false},
      {"softplus", [](const Var& r) { return softplus(first(r)); }, sum_of_two, sigma,
       slope_of_sigma, false},
      {"bce_with_logits", [=](const Var& r) { return bce_with_logits(first(r), ones(first(r))); },
       cost, slope_of_cost, slope_of_sigma, false},
      {"softmax", [](const Var& r) { return first(softmax(r)); }, sigma, slope_of_sigma,
       curvature_of_sigma, true},
      {"log_softmax", [](const Var& r) { return first(log_softmax(r)); }, minus_cost,
       slope_of_minus_cost, curvature_of_minus_cost, true},
      {"nll", [](const Var& r) { return nll(log_softmax(r), id(0)); }, cost, slope_of_cost,
       slope_of_sigma, true},
      {"cross_entropy", [](const Var& r) { return cross_entropy(r, id(0)); }, cost, slope_of_cost,
       slope_of_sigma, true},
      {"cross_entropy_composed", [](const Var& r) { return cross_entropy_composed(r, id(0)); },
       cost, slope_of_cost, slope_of_sigma, true},
  };
}

void check_near(const std::string& what, double got, long double exact, DType dtype,
                double roundings) {
  INFO(what, " is ", got, ", not ", static_cast<double>(exact));
  // What is subnormal loses digits; 4 e^-2x of tanh is formed from e^-2x.
  const double least = dtype == DType::float32 ? double{std::numeric_limits<float>::denorm_min()}
                                               : std::numeric_limits<double>::denorm_min();
  const double bound =
      roundings * (epsilon_of(dtype) * static_cast<double>(std::abs(exact)) + least);
  CHECK(std::abs(got - static_cast<double>(exact)) <= bound);
}

void check_curve(const Curve& c, double x, DType dtype) {
  CAPTURE(c.name);
  CAPTURE(x);
  CAPTURE(std::string(to_string(dtype)));
  // exp, quotients, products and sums of positive terms: 8 ULP for a slope and twice that for its
  // own slope are ample; the tails lose all digits if a difference is formed.
  Tape tape;
  const Var row = tape.leaf(Tensor::of({2}, {x, 0}, dtype));
  const auto at = static_cast<long double>(row.value().at(0));
  const Var y = c.f(row);
  check_near("value", y.value().at(0), c.y(at), dtype, 8);
  for (const bool graph : {false, true}) {
    CAPTURE(graph);
    const Var d = tape.gradient(y, {row}, {.retain = true, .create_graph = graph})[0];
    check_near("slope", d.value().at(0), c.slope(at), dtype, 16);
    if (c.two_classes) check_near("other slope", d.value().at(1), -c.slope(at), dtype, 16);
    if (!graph) continue;
    const Tensor dd = tape.gradient(first(d), {row})[0].value();
    check_near("curvature", dd.at(0), c.curvature(at), dtype, 32);
    if (c.two_classes) check_near("other curvature", dd.at(1), -c.curvature(at), dtype, 32);
  }
}

}  // namespace

TEST_CASE("precision: values, slopes and curvatures in both tails") {
  for (const DType dtype : float_types) {
    for (const Curve& c : curves()) {
      for (const double x : {3.0, 9.0, 17.0, 20.0, 37.5, 40.0, 80.0}) {
        check_curve(c, x, dtype);
        check_curve(c, -x, dtype);
      }
    }
    for (const double x : {1e-4, 0.01, 0.5}) {
      for (std::size_t i = 0; i < 2; ++i) {  // curvatures of these two are 0 at 0
        check_curve(curves()[i], x, dtype);
        check_curve(curves()[i], -x, dtype);
      }
    }
  }
}

TEST_CASE("precision: a certain class among many") {
  // 1 - p_k is the sum of the others, 99 e^-20 / (1 + 99 e^-20).
  const std::size_t k = 37, n = 100;
  const double others = 99 * std::exp(-20.0), rest = others / (1 + others);
  std::vector<double> row(n, 0.0), expected(n, rest / 99);
  row[k] = 20;
  expected[k] = -rest;
  for (const DType dtype : float_types) {
    Tape tape;
    const Var x = tape.leaf(Tensor::from<double>({n}, row).to(dtype));
    const Var loss = cross_entropy(x, id(k));
    check_near("loss", loss.item(), std::log1p(others), dtype, 16);
    for (const bool graph : {false, true}) {
      const Tensor d = tape.gradient(loss, {x}, {.retain = true, .create_graph = graph})[0].value();
      for (std::size_t j = 0; j < n; ++j) check_near("slope", d.at(j), expected[j], dtype, 32);
    }
    // Another class is the target, and has weight 0 but for a row of weight 1 beside it: the
    // smoothing has class k alone, with F p_k - f_k = F (p_k - 1).
    std::vector<double> class_weights(n, 0.0);
    class_weights[k] = 1;
    const Var two =
        tape.leaf(concat({reshape(x.detach(), {1, n}), reshape(x.detach(), {1, n})}, 0).value());
    const Var smoothed = cross_entropy(two, Tensor::of({2}, {1.0 * k, 5}, DType::int32),
                                       {.label_smoothing = 0.5,
                                        .class_weights = Tensor::from<double>({n}, class_weights),
                                        .weights = {}});
    const Tensor d = tape.gradient(smoothed, {two})[0].value();
    for (std::size_t j = 0; j < n; ++j) {
      check_near("smoothed slope", d.at(n + j), 0.5 / 100 * expected[j], dtype, 32);
    }
  }
}

TEST_CASE("precision: dropout and its gradients select, they do not multiply") {
  for (const DType dtype : float_types) {
    for (const double bad : {inf, -inf, NaN}) {
      const RandomKey key{7};
      const std::size_t n = 64;
      const Tensor mask = dropout(Tensor::full({n}, 1, dtype), 0.5, key).value();
      Tape tape;
      const Var x = tape.leaf(Tensor::full({n}, bad, dtype));
      const Var d = tape.leaf(Tensor::full({n}, bad, dtype));
      const Var y = dropout(x, 0.5, key);
      const Var dx = tape.gradient(y, {x}, {.create_graph = true}, d)[0];
      const Tensor raw = tape.gradient(y, {x}, {.retain = true}, d.detach())[0].value();
      const Tensor ddx = tape.gradient(dx, {d}, {}, d.detach())[0].value();
      std::size_t dropped = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const bool gone = mask.at(i) == 0;
        dropped += gone;
        for (const Tensor& t : {y.value(), dx.value(), raw, ddx}) {
          CHECK_UNARY(gone ? t.at(i) == 0 : !std::isfinite(t.at(i)));
        }
      }
      CHECK(dropped > 10);
    }
  }
}

TEST_CASE("precision: a million uses of one element have the right sum") {
  const std::size_t n = 1000000;
  const Tensor ids = Tensor::zeros({n}, DType::int32);
  const Var tenth = Tensor::full({n}, 0.1), row_of_tenths = Tensor::full({n, 1}, 0.1);
  Tape tape;
  const Var table = tape.leaf(Tensor::zeros({3, 1})), x = tape.leaf(Tensor::zeros({3}));
  const Var rows = embedding(table, ids), picked = gather(x, 0, ids);
  for (const bool graph : {false, true}) {
    const Tape::Options options{.retain = true, .create_graph = graph};
    CHECK(tape.gradient(rows, {table}, options, row_of_tenths)[0].value().at(0) == 100000);
    CHECK(tape.gradient(picked, {x}, options, tenth)[0].value().at(0) == 100000);
  }
  CHECK(scatter_rows(row_of_tenths, ids, 3).value().at(0) == 100000);
  CHECK(scatter_add(tenth, 0, ids, 3).value().at(0) == 100000);
  CHECK(sum(tenth).item() == 100000);
  CHECK(sum(row_of_tenths, 0).value().at(0) == 100000);
  CHECK(sum_to(row_of_tenths, {1}).value().at(0) == 100000);
  CHECK(cumsum(tenth, 0).value().at(n - 1) == 100000);
  CHECK(mean(tenth).item() == doctest::Approx(0.1).epsilon(1e-7));
  // A row's softmax of a million classes: the exponentials are added in double.
  CHECK(logsumexp(tenth).item() == doctest::Approx(0.1 + std::log(1e6)).epsilon(1e-7));
}

TEST_CASE("precision: layer_norm is as exact under create_graph as without") {
  const auto gradients = [](const Tensor& values, const Tensor& dy, LayerNormOf op, bool graph) {
    Tape tape;
    const Var x = tape.leaf(values);
    return tape.gradient(op(x, {}, {}, 1e-5), {x}, {.create_graph = graph}, dy)[0].value();
  };
  struct Case {
    DType dtype;
    std::initializer_list<double> x;
  };
  const Tensor dy = Tensor::of({4}, {1, -0.5, 2, 0.25}, DType::float64);
  for (const Case& c : {Case{DType::float32, {1e7, 1e7 + 1, 1e7 + 2, 1e7 + 3}},
                        Case{DType::float32, {1e30, -3e30, 2e30, 5e29}},
                        Case{DType::float32, {1e-30, -3e-30, 2e-30, 5e-31}},
                        Case{DType::float64, {1e15, 1e15 + 1, 1e15 + 2, 1e15 + 3}},
                        Case{DType::float64, {1e200, -3e200, 2e200, 5e199}}}) {
    const Tensor x = Tensor::of({4}, c.x, c.dtype);
    // The definition in long double.
    long double mean = 0, variance = 0, along = 0, total = 0;
    for (std::size_t i = 0; i < 4; ++i) mean += static_cast<long double>(x.at(i)) / 4;
    const auto distance = [&](std::size_t i) { return static_cast<long double>(x.at(i)) - mean; };
    for (std::size_t i = 0; i < 4; ++i) variance += distance(i) * distance(i) / 4;
    const long double inverse = 1 / std::sqrt(variance + 1e-5L);
    for (std::size_t i = 0; i < 4; ++i) {
      total += static_cast<long double>(dy.at(i)) / 4;
      along += static_cast<long double>(dy.at(i)) * distance(i) * inverse / 4;
    }
    long double largest = 0;
    std::vector<long double> dx, y;
    for (std::size_t i = 0; i < 4; ++i) {
      y.push_back(distance(i) * inverse);
      dx.push_back(inverse * (static_cast<long double>(dy.at(i)) - total - y[i] * along));
      largest = std::max(largest, std::abs(dx[i]));
    }
    for (const LayerNormOf op : {LayerNormOf(layer_norm), LayerNormOf(layer_norm_composed)}) {
      const Tensor value = op(x, {}, {}, 1e-5).value();
      for (std::size_t i = 0; i < 4; ++i) check_near("y", value.at(i), y[i], c.dtype, 16);
      for (const bool graph : {false, true}) {
        const Tensor d = gradients(x, dy.to(c.dtype), op, graph);
        for (std::size_t i = 0; i < 4; ++i) {
          CAPTURE(graph);
          const auto error = static_cast<double>(std::abs(d.at(i) - dx[i]) / largest);
          CHECK(error <= 16 * epsilon_of(c.dtype));
        }
      }
    }
  }
}

TEST_CASE("precision: losses and means of no elements are errors, of every kind") {
  const Var none = Tensor::zeros({0, 3});
  const Tensor ids = Tensor::zeros({0}, DType::int32);
  CHECK_THROWS_WITH_AS(
      cross_entropy(none, ids),
      "[cross_entropy] logits has shape (0, 3): it must be of at least one element", ShapeError);
  CHECK_THROWS_WITH_AS(
      cross_entropy_composed(none, ids),
      "[cross_entropy_composed] logits has shape (0, 3): it must be of at least one element",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      nll(none, ids),
      "[nll] log_probabilities has shape (0, 3): it must be of at least one element", ShapeError);
  CHECK_THROWS_AS(cross_entropy(Tensor::zeros({2, 0}), Tensor::full({2}, -100, DType::int32)),
                  ShapeError);
  CHECK_THROWS_AS(mse(none, none), ShapeError);
  CHECK_THROWS_AS(l1(none, none), ShapeError);
  CHECK_THROWS_AS(huber(none, none, 1), ShapeError);
  CHECK_THROWS_AS(bce_with_logits(none, none), ShapeError);
  CHECK_THROWS_AS(gaussian_nll(none, none, none), ShapeError);
  CHECK_THROWS_AS(quantile_loss(none, Tensor::zeros({0}), {0.1, 0.5, 0.9}), ShapeError);
  CHECK_THROWS_AS(masked_mean(none, none.value()), ShapeError);
  CHECK_THROWS_AS(mean(none), ShapeError);
  CHECK_THROWS_AS(mean(none, 0), ShapeError);
}

TEST_CASE("precision: squares that overflow or vanish in losses") {
  for (const DType dtype : float_types) {
    const double big = dtype == DType::float32 ? 1e25 : 1e180;
    const double variance = dtype == DType::float32 ? 1e30 : 1e200;
    const auto of = [&](double v) { return Tensor::of({1}, {v}, dtype); };
    const double expected = (std::log(variance) + big / variance * big) / 2;
    Tape tape;
    const Var mean = tape.leaf(of(big)), v = tape.leaf(of(variance));
    const Var loss = gaussian_nll(mean, v, of(0));
    check_near("gaussian_nll", loss.item(), expected, dtype, 16);
    const Vars d = tape.gradient(loss, {mean, v});
    check_near("slope", d[0].value().at(0), big / variance, dtype, 16);
    check_near("slope", d[1].value().at(0), (1 - big / variance * big) / variance / 2, dtype, 32);
    // e^2 is beyond the largest number, e^2 / 2 is not.
    const double edge = std::sqrt(1.5) * std::sqrt(dtype == DType::float32
                                                       ? double{std::numeric_limits<float>::max()}
                                                       : std::numeric_limits<double>::max());
    check_near("huber", huber(of(edge), of(0), 2 * edge).item(), edge * (edge / 2), dtype, 16);
  }
}
