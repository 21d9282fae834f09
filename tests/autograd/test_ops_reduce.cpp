#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../support/kernel_cases.h"
#include "../support/op_check.h"

// Gradients, values, bad input. Special values are in test_edge_values.cpp.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

const std::vector<Shape> shapes{{}, {1}, {0}, {2, 0}, {5}, {2, 3}, {2, 1, 3}, {2, 3, 2}};

/// A shape as (outer, n, inner) around an axis, and the place of element (o, i, j).
struct Around {
  std::size_t outer = 1, n, inner = 1;

  Around(const Shape& shape, std::size_t axis) : n(shape[axis]) {
    for (std::size_t k = 0; k < axis; ++k) outer *= shape[k];
    for (std::size_t k = axis + 1; k < shape.rank(); ++k) inner *= shape[k];
  }
  std::size_t place(std::size_t o, std::size_t i, std::size_t j) const {
    return (o * n + i) * inner + j;
  }
};

/// What the reductions along one axis should give, by their definitions.
struct Expected {
  std::vector<double> max, min, argmax, argmin, running, from_end;

  Expected(const Tensor& x, const Around& a) : running(x.numel()), from_end(x.numel()) {
    for (std::size_t o = 0; o < a.outer; ++o) {
      for (std::size_t j = 0; j < a.inner; ++j) {
        const auto at = [&](std::size_t i) { return x.at(a.place(o, i, j)); };
        std::size_t high = 0, low = 0;
        double up = 0, down = 0;
        for (std::size_t i = 0, last = a.n - 1; i < a.n; ++i) {
          if (at(i) > at(high)) high = i;
          if (at(i) < at(low)) low = i;
          running[a.place(o, i, j)] = up += at(i);
          from_end[a.place(o, last - i, j)] = down += at(last - i);
        }
        max.push_back(at(high));
        min.push_back(at(low));
        argmax.push_back(static_cast<double>(high));
        argmin.push_back(static_cast<double>(low));
      }
    }
  }
};

}  // namespace

TEST_CASE("gradcheck: sums, means and what undoes them" * doctest::test_suite("gradients")) {
  for (const Shape& s : shapes) {
    check_op("sum", [](In x) { return Out{square(sum(x[0]))}; }, {s});
    if (s.numel() > 0) check_op("mean", [](In x) { return Out{square(mean(x[0]))}; }, {s});
    check_op("sum_to", [](In x) { return Out{square(sum_to(x[0], {}))}; }, {s});
    for (std::size_t axis = 0; axis < s.rank(); ++axis) {
      check_op("sum", [axis](In x) { return Out{square(sum(x[0], axis))}; }, {s});
      check_op("repeat", [axis](In x) { return Out{repeat(square(x[0]), axis, 3)}; }, {s});
      if (s[axis] == 0) continue;
      check_op("mean", [axis](In x) { return Out{square(mean(x[0], axis))}; }, {s});
    }
  }
  for (const Shape& s : shapes) {
    // At 0 the norm has a kink, and without elements it is 0.
    if (s.numel() > 0) {
      check_op("norm", [](In x) { return Out{square(norm(x[0])) * norm(x[0])}; }, {s},
               {.away_from = 0.1});
    }
    for (std::size_t axis = 0; axis < s.rank(); ++axis) {
      const auto signed_axis = static_cast<std::ptrdiff_t>(axis);
      const std::ptrdiff_t from_end = signed_axis - static_cast<std::ptrdiff_t>(s.rank());
      check_op("norm",
               [=](In x) { return Out{square(norm(x[0], signed_axis)) * norm(x[0], from_end)}; },
               {s}, {.away_from = 0.3});
    }
  }
  check_op("broadcast_to",
           [](In x) {
             return Out{broadcast_to(square(x[0]), {2, 3, 2})};
           },
           {{3, 2}});
}

TEST_CASE("gradcheck: extremes and running sums" * doctest::test_suite("gradients")) {
  for (const Shape& s : shapes) {
    if (s.numel() > 0) {
      check_op("max", [](In x) { return Out{square(max(x[0]))}; }, {s}, {.distinct = true});
      check_op("min", [](In x) { return Out{square(min(x[0]))}; }, {s}, {.distinct = true});
    }
    for (std::size_t axis = 0; axis < s.rank(); ++axis) {
      check_op("cumsum", [axis](In x) { return Out{square(cumsum(x[0], axis))}; }, {s});
      check_op("cumsum", [axis](In x) { return Out{square(cumsum(x[0], axis, true))}; }, {s});
      if (s[axis] == 0) continue;
      check_op("max", [axis](In x) { return Out{square(max(x[0], axis))}; }, {s},
               {.distinct = true});
      check_op("min", [axis](In x) { return Out{square(min(x[0], axis))}; }, {s},
               {.distinct = true});
    }
  }
}

TEST_CASE("reductions: extremes, their places and running sums along every axis") {
  for (const DType dtype : float_types) {
    for (const Shape& s :
         std::vector<Shape>{{1}, {300}, {4, 3}, {3, 0}, {2, 7, 130}, {2, 3, 4, 5}}) {
      const Tensor x = random_tensor(s, dtype);
      for (std::size_t axis = 0; axis < s.rank(); ++axis) {
        CAPTURE(to_string(s));
        CAPTURE(axis);
        if (s[axis] == 0) continue;
        const Expected expected(x, {s, axis});
        const Shape without = s.without(axis);
        check_values(max(x, axis).value(), without, dtype, expected.max);
        check_values(min(x, axis).value(), without, dtype, expected.min);
        check_values(argmax(x, axis), without, DType::int32, expected.argmax);
        check_values(argmin(x, axis), without, DType::int32, expected.argmin);
        check_values(cumsum(x, axis).value(), s, dtype, expected.running, 1);
        check_values(cumsum(x, axis, true).value(), s, dtype, expected.from_end, 1);
      }
    }
  }
}

TEST_CASE("gradcheck: topk" * doctest::test_suite("gradients")) {
  for (const Shape& s : std::vector<Shape>{{1}, {5}, {2, 3}, {2, 1, 3}, {2, 3, 2}}) {
    for (std::size_t axis = 0; axis < s.rank(); ++axis) {
      for (std::size_t k = 1; k <= s[axis]; ++k) {
        for (const bool largest : {true, false}) {
          check_op("topk", [=](In x) { return Out{square(topk(x[0], k, axis, largest).values)}; },
                   {s}, {.distinct = true});
        }
      }
    }
  }
}

TEST_CASE("reductions: topk by its definition, a sort, along every axis") {
  for (const DType dtype : float_types) {
    for (const Shape& s : std::vector<Shape>{{1}, {300}, {4, 3}, {2, 0}, {2, 7, 9}, {2, 3, 4, 5}}) {
      const Tensor x = random_tensor(s, dtype);
      for (std::size_t axis = 0; axis < s.rank(); ++axis) {
        for (const bool largest : {true, false}) {
          if (s[axis] == 0) continue;
          const std::size_t k = (s[axis] + 1) / 2;
          const Around from(s, axis), to(s.with(axis, k), axis);
          std::vector<double> values(s.with(axis, k).numel()), indices = values;
          for (std::size_t o = 0; o < from.outer; ++o) {
            for (std::size_t j = 0; j < from.inner; ++j) {
              std::vector<std::pair<double, std::size_t>> line;
              for (std::size_t i = 0; i < from.n; ++i) {
                const double v = x.at(from.place(o, i, j));
                line.emplace_back(largest ? -v : v, i);
              }
              std::sort(line.begin(), line.end());
              for (std::size_t i = 0; i < k; ++i) {
                indices[to.place(o, i, j)] = static_cast<double>(line[i].second);
                values[to.place(o, i, j)] = largest ? -line[i].first : line[i].first;
              }
            }
          }
          const TopK found = topk(x, k, axis, largest);
          check_values(found.values.value(), s.with(axis, k), dtype, values);
          check_values(found.indices, s.with(axis, k), DType::int32, indices);
        }
      }
    }
  }
}

TEST_CASE("reductions: topk puts NaN first and equal elements in their order, and refuses") {
  const Tensor x = Tensor::of({6}, {1, NAN, 4, 4, -INFINITY, NAN});
  check_values(topk(x, 6).indices, {6}, DType::int32, {1, 5, 2, 3, 0, 4});
  check_values(topk(x, 6, 0, false).indices, {6}, DType::int32, {1, 5, 4, 0, 2, 3});
  CHECK(topk(x, 1).indices.item() == argmax(x, 0).item());
  CHECK(topk(x, 1, 0, false).indices.item() == argmin(x, 0).item());
  CHECK_THROWS_WITH_AS(topk(Tensor::zeros({2, 3}), 4),
                       "[topk] k is 4 but axis -1 of shape (2, 3) has size 3: it must be in [1, 3]",
                       UsageError);
  CHECK_THROWS_AS(topk(x, 0), UsageError);
  CHECK_THROWS_WITH_AS(topk(x, 1, 1), "[topk] axis 1 of shape (6) does not exist: it has 1 axes",
                       ShapeError);
  CHECK_THROWS_AS(topk(Tensor::scalar(1), 1), ShapeError);
  CHECK_THROWS_AS(topk(Tensor::zeros({2, 0}), 1), ShapeError);
  CHECK_THROWS_AS(topk(Tensor::zeros({3}, DType::int32), 1), DtypeError);
}

TEST_CASE("reductions: the norm at 0, at the ends of the range, and along axes") {
  for (const DType dtype : float_types) {
    const bool single = dtype == DType::float32;
    const double M =
        single ? double{std::numeric_limits<float>::max()} : std::numeric_limits<double>::max();
    const double t = single ? double{std::numeric_limits<float>::denorm_min()}
                            : std::numeric_limits<double>::denorm_min();
    // 3, 4, 5 in units that leave squares in the range, above it, and below it.
    for (const double unit : {1.0, M / 8, 1e6 * t}) {
      Tape tape;
      const Var x =
          tape.leaf(Tensor::of({3, 2}, {3 * unit, 4 * unit, 0, 0, -4 * unit, 3 * unit}, dtype));
      const Var rows = norm(x, -1), columns = norm(x, -2), whole = norm(x);
      check_values(rows.value(), {3}, dtype, {5 * unit, 0, 5 * unit}, 4);
      check_values(columns.value(), {2}, dtype, {5 * unit, 5 * unit}, 4);
      check_values(norm(x, 0).value(), {2}, dtype, values_of(columns.value()));
      if (unit < M / 8) check_values(whole.value(), {}, dtype, {std::sqrt(50.0) * unit}, 4);
      const Var ones = Tensor::full({3}, 1, dtype);
      for (const bool graph : {false, true}) {
        const Vars d = tape.gradient(rows, {x}, {.retain = true, .create_graph = graph}, ones);
        check_values(d[0].value(), {3, 2}, dtype, {0.6, 0.8, 0, 0, -0.8, 0.6}, 4);
        if (!graph || unit != 1) continue;
        // The slope of u = x / |x| is (I - u u^T) / |x|, and 0 at the kink.
        const Tensor dd = tape.gradient(d[0], {x}, {}, Tensor::full({3, 2}, 1, dtype))[0].value();
        check_values(dd, {3, 2}, dtype, {0.032, -0.024, 0, 0, 0.168, 0.224}, 32);
      }
    }
    CHECK(norm(Tensor::zeros({0}, dtype)).item() == 0);
    check_values(norm(Tensor::zeros({2, 0}, dtype), -1).value(), {2}, dtype, {0, 0});
    CHECK(norm(Tensor::zeros({0, 2}, dtype), -1).shape() == Shape{0});
    CHECK(std::isnan(norm(Tensor::of({2}, {1, NAN}, dtype)).item()));
    CHECK(norm(Tensor::of({2}, {1, -inf}, dtype)).item() == inf);
    check_threads_do_not_matter([&] {
      return norm(random_tensor({50, 7, 999}, dtype), 1).value();
    });
  }
  CHECK_THROWS_WITH_AS(norm(Tensor::zeros({2}, DType::int32)),
                       "[norm] x is int32: it must be float32 or float64; convert it with to()",
                       DtypeError);
  CHECK_THROWS_AS(norm(Tensor::zeros({2, 3}), 2), ShapeError);
  CHECK_THROWS_AS(norm(Tensor::zeros({2, 3}), -3), ShapeError);
}

TEST_CASE("reductions: the first of equal elements has all of the gradient") {
  const Tensor x = Tensor::of({2, 3}, {1, 4, 4, -2, -2, 4});
  check_values(argmax(x, 0), {3}, DType::int32, {0, 0, 0});
  check_values(argmax(x, 1), {2}, DType::int32, {1, 2});
  check_values(argmin(x, 1), {2}, DType::int32, {0, 0});
  check_values(argmax(Tensor::of({3}, {1, NAN, NAN}), 0), {}, DType::int32, {1});
  check_values(argmin(Tensor::of({3}, {1, NAN, NAN}), 0), {}, DType::int32, {1});
  Tape tape;
  const Var leaf = tape.leaf(x);
  check_values(tape.gradient(max(leaf), {leaf})[0].value(), {2, 3}, DType::float32,
               {0, 1, 0, 0, 0, 0});
  check_values(tape.gradient(sum(min(leaf, 1)), {leaf})[0].value(), {2, 3}, DType::float32,
               {1, 0, 0, 1, 0, 0});
}

TEST_CASE("reductions: a long running sum in float32 keeps its digits") {
  const std::size_t n = std::size_t{1} << 22;  // adding in float would be off by percents
  const Tensor y = cumsum(Tensor::full({n}, 0.1), 0).value();
  const double tenth = Tensor::scalar(0.1).item();
  CHECK(y.at(n - 1) == static_cast<float>(static_cast<double>(n) * tenth));
  CHECK(y.at(n / 2) == static_cast<float>(static_cast<double>(n / 2 + 1) * tenth));
}

TEST_CASE("reductions: bad input") {
  const Var x = Tensor::zeros({2, 3}), ids = Tensor::zeros({2}, DType::int32);
  const Var none = Tensor::zeros({2, 0}), huge = Tensor::zeros({std::size_t{1} << 31, 0});
  using Along = std::function<void(const Var&)>;
  const std::vector<std::pair<std::string, Along>> chosen{
      {"[max] ", [](const Var& v) { max(v, 1); }},
      {"[min] ", [](const Var& v) { min(v, 1); }},
      {"[argmax] ", [](const Var& v) { argmax(v, 1); }},
      {"[argmin] ", [](const Var& v) { argmin(v, 1); }}};
  for (const auto& [op, f] : chosen) {
    const std::string size = "it must be of 1 to 2147483647 elements along the axis";
    CHECK_THROWS_WITH_AS(f(none), (op + "x has shape (2, 0): " + size).c_str(), ShapeError);
    CHECK_THROWS_WITH_AS(f(Tensor::zeros({0, std::size_t{1} << 31})),
                         (op + "x has shape (0, 2147483648): " + size).c_str(), ShapeError);
    CHECK_THROWS_WITH_AS(f(Tensor::zeros({4})),
                         (op + "axis 1 of shape (4) does not exist: it has 1 axes").c_str(),
                         ShapeError);
    CHECK_THROWS_WITH_AS(
        f(ids), (op + "x is int32: it must be float32 or float64; convert it with to()").c_str(),
        DtypeError);
  }
  const std::vector<std::pair<std::string, Along>> whole{{"[max] ", [](const Var& v) { max(v); }},
                                                         {"[min] ", [](const Var& v) { min(v); }}};
  for (const auto& [op, f] : whole) {
    CHECK_THROWS_WITH_AS(f(none),
                         (op + "x has shape (2, 0): it must be of at least one element").c_str(),
                         ShapeError);
    CHECK_THROWS_WITH_AS(
        f(ids), (op + "x is int32: it must be float32 or float64; convert it with to()").c_str(),
        DtypeError);
  }
  CHECK(max(none, 0).shape() == Shape{0});  // no element, so nothing to choose
  const char* of_ids = "[mean] x is int32: it must be float32 or float64; convert it with to()";
  CHECK_THROWS_WITH_AS(mean(ids), of_ids, DtypeError);
  CHECK_THROWS_WITH_AS(mean(ids, 0), of_ids, DtypeError);
  CHECK_THROWS_WITH_AS(sum_to(ids, {}),
                       "[sum_to] x is int32: it must be float32 or float64; convert it with to()",
                       DtypeError);
  CHECK_THROWS_WITH_AS(repeat(x, 7, 2),
                       "[repeat] axis 7 of shape (2, 3) does not exist: it has 2 axes", ShapeError);
  check_values(repeat(ids, 1, 2).value(), {2, 2}, DType::int32, {0, 0, 0, 0});
  check_values(broadcast_to(ids, {1, 2}).value(), {1, 2}, DType::int32, {0, 0});
  CHECK_THROWS_WITH_AS(cumsum(x, 2),
                       "[cumsum] axis 2 of shape (2, 3) does not exist: it has 2 axes", ShapeError);
  CHECK_THROWS_WITH_AS(cumsum(ids, 0),
                       "[cumsum] x is int32: it must be float32 or float64; convert it with to()",
                       DtypeError);
}
