#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "../../autograd/inspect/observer.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../support/kernel_cases.h"
#include "../support/op_check.h"

// Gradients, values, bad input. Special values are in test_edge_values.cpp.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

const std::vector<Shape> shapes{{}, {1}, {0}, {2, 0}, {5}, {2, 3}, {2, 1, 3}};
const std::vector<std::vector<Shape>> pairs{{{}, {}},      {{3}, {3}},          {{2, 3}, {3}},
                                            {{3}, {2, 3}}, {{2, 3, 2}, {}},     {{}, {2, 2}},
                                            {{2, 1}, {1}}, {{2, 3, 2}, {3, 2}}, {{0}, {0}},
                                            {{3, 0}, {0}}, {{}, {0}},           {{3}, {0, 3}}};

/// True and false in turns of one and two.
Tensor pattern(const Shape& shape) {
  Tensor condition = Tensor::empty(shape, DType::int32);
  std::int32_t* c = condition.mutable_data<std::int32_t>();
  for (std::size_t i = 0; i < shape.numel(); ++i) c[i] = i % 3 == 0 ? -5 : 0;
  return condition;
}

/// 0, 1.5, 0, 0, 1.5, ...
Tensor mask_like(const Var& x) {
  const Tensor condition = pattern(x.shape());
  Tensor mask = Tensor::empty(x.shape(), x.dtype());
  for (std::size_t i = 0; i < mask.numel(); ++i) {
    const double factor = condition.at(i) == 0 ? 1.5 : 0;
    x.dtype() == DType::float32 ? mask.mutable_data<float>()[i] = static_cast<float>(factor)
                                : mask.mutable_data<double>()[i] = factor;
  }
  return mask;
}

}  // namespace

TEST_CASE("gradcheck: elementwise ops of one input" * doctest::test_suite("gradients")) {
  for (const Shape& s : shapes) {
    check_op("neg", [](In x) { return Out{-x[0]}; }, {s});
    check_op("scale", [](In x) { return Out{scale(x[0], -1.7)}; }, {s});
    check_op("add_scalar", [](In x) { return Out{1.5 - x[0]}; }, {s});
    check_op("div", [](In x) { return Out{x[0] / 3, 2.0 / x[0]}; }, {s}, {.away_from = 0.7});
    check_op("exp", [](In x) { return Out{exp(x[0])}; }, {s});
    check_op("expm1", [](In x) { return Out{expm1(x[0])}; }, {s});
    check_op("log", [](In x) { return Out{log(x[0])}; }, {s}, {.low = 0.5, .high = 3});
    check_op("log1p", [](In x) { return Out{log1p(x[0])}; }, {s}, {.low = -0.5, .high = 3});
    check_op("sqrt", [](In x) { return Out{sqrt(x[0])}; }, {s}, {.low = 0.5, .high = 3});
    check_op("square", [](In x) { return Out{square(x[0])}; }, {s});
    check_op("pow", [](In x) { return Out{pow(x[0], 1.7)}; }, {s}, {.low = 0.5, .high = 3});
    check_op("pow", [](In x) { return Out{pow(x[0], 3), pow(x[0], 0), pow(x[0], 1)}; }, {s});
    check_op("pow", [](In x) { return Out{pow(x[0], -2)}; }, {s}, {.away_from = 0.7});
    check_op("abs", [](In x) { return Out{abs(x[0])}; }, {s}, {.away_from = 0.1});
    check_op("clamp", [](In x) { return Out{clamp(x[0], -0.1, 5)}; }, {s}, {.away_from = 0.3});
    check_op("clamp", [](In x) { return Out{clamp(x[0], -inf, 0.1)}; }, {s}, {.away_from = 0.3});
    check_op("clip_gradient", [](In x) { return Out{clip_gradient(tanh(x[0]), 100)}; }, {s});
    check_op("masked", [&](In x) { return Out{masked(square(x[0]), mask_like(x[0]))}; }, {s});
    check_op("sigmoid", [](In x) { return Out{sigmoid(x[0])}; }, {s});
    check_op("softplus", [](In x) { return Out{softplus(x[0])}; }, {s});
    check_op("tanh", [](In x) { return Out{tanh(x[0])}; }, {s});
    check_op("relu", [](In x) { return Out{relu(x[0])}; }, {s}, {.away_from = 0.1});
    // Slopes are ops of their own: their own slopes are seen in a curved function.
    check_op("sigmoid_slope", [](In x) { return Out{square(sigmoid(x[0])) * x[0]}; }, {s});
    check_op("tanh_slope", [](In x) { return Out{square(tanh(x[0])) * x[0]}; }, {s});
    // In float64 nothing is to be done, in float32 both casts are.
    check_op("cast",
             [](In x) { return Out{cast(square(cast(x[0], DType::float64)), x[0].dtype())}; }, {s});
    // "masked": the gradient of what chooses; its own gradient is seen in a curved function.
    check_op("masked", [](In x) { return Out{square(relu(x[0])) * abs(x[0])}; }, {s},
             {.away_from = 0.1});
  }
}

TEST_CASE("gradcheck: elementwise ops of two inputs, equal shapes and trailing axes repeated" *
          doctest::test_suite("gradients")) {
  for (const std::vector<Shape>& s : pairs) {
    check_op(
        "add", [](In x) { return Out{x[0] + x[1]}; }, s);
    check_op(
        "sub", [](In x) { return Out{x[0] - x[1]}; }, s);
    check_op(
        "mul", [](In x) { return Out{x[0] * x[1]}; }, s);
    check_op("div", [](In x) { return Out{x[0] / x[1]}; }, s, {.away_from = 0.7});
    // Near a = 1 the gradient of the exponent, y log a, loses digits in float32.
    check_op("pow", [](In x) { return Out{pow(x[0], x[1])}; }, s,
             {.low = 0.5, .high = 3, .float32_tolerance = 1e-4});
    check_op("maximum", [](In x) { return Out{square(maximum(x[0], x[1]))}; }, s,
             {.distinct = true});
    check_op("minimum", [](In x) { return Out{square(minimum(x[0], x[1]))}; }, s,
             {.distinct = true});
    const Shape& larger = s[0].rank() > s[1].rank() ? s[0] : s[1];
    const Tensor condition = pattern(larger);
    check_op(
        "where", [&](In x) { return Out{square(where(condition, x[0], x[1]))}; }, s);
  }
  check_op("mul", [](In x) { return Out{x[0] * x[0]}; }, {{3}});  // the same Var twice
  check_op("pow", [](In x) { return Out{pow(x[0], x[0])}; }, {{3}}, {.low = 0.5, .high = 3});
  // The condition repeated, and larger than both operands.
  const Tensor row = pattern({3}), whole = pattern({2, 2, 3});
  check_op("where", [&](In x) { return Out{square(where(row, x[0], x[1]))}; }, {{2, 3}, {}});
  check_op("where", [&](In x) { return Out{square(where(whole, x[0], x[1]))}; }, {{2, 3}, {3}});
}

TEST_CASE("gradcheck: pow with a negative base and constant integer exponents" *
          doctest::test_suite("gradients")) {
  const Var exponents = Tensor::of({4}, {3, 2, -1, 0}, DType::float64);
  check_op("pow", [&](In x) { return Out{pow(x[0], Var(exponents.value().to(x[0].dtype())))}; },
           {{2, 4}}, {.away_from = 0.7});
}

TEST_CASE("elementwise ops: pow keeps its mixed derivative where the exponent is 0") {
  // d2(a^b)/da db = a^(b-1) (1 + b log a): 1/a at b = 0.
  Tape tape;
  const Var a = tape.leaf(Tensor::of({2}, {2, 0.5}, DType::float64));
  const Var b = tape.leaf(Tensor::zeros({2}, DType::float64));
  const Var ones = Tensor::full({2}, 1, DType::float64);
  const Var da = tape.gradient(pow(a, b), {a}, {.create_graph = true}, ones)[0];
  check_values(da.value(), {2}, DType::float64, {0, 0});
  check_values(tape.gradient(da, {b}, {}, ones)[0].value(), {2}, DType::float64, {0.5, 2});
}

TEST_CASE("elementwise ops: values of the functions of one element") {
  using F = std::function<Var(const Var&)>;
  using Exact = std::function<long double(long double)>;
  const std::vector<std::pair<F, Exact>> functions{
      {[](const Var& x) { return expm1(x); }, [](long double x) { return std::expm1(x); }},
      {[](const Var& x) { return log1p(x * x); }, [](long double x) { return std::log1p(x * x); }},
      {[](const Var& x) { return abs(x); }, [](long double x) { return x < 0 ? -x : x; }},
      {[](const Var& x) { return pow(x, 3); }, [](long double x) { return x * x * x; }},
      {[](const Var& x) { return pow(x, -0.5); }, [](long double x) { return 1 / std::sqrt(x); }},
      {[](const Var& x) { return clamp(x, -0.5, 2); },
       [](long double x) { return x < -0.5L ? -0.5L
                                  : x > 2   ? 2
                                            : x; }},
      {[](const Var& x) { return softplus(x); },
       [](long double x) { return std::log1p(std::exp(x)); }},
  };
  for (const DType dtype : float_types) {
    // Exact in float32.
    const Tensor x = Tensor::of({9}, {-20, -3, -0.5, -0x1p-20, 0x1p-20, 0.25, 2, 3.5, 30}, dtype);
    for (std::size_t k = 0; k < functions.size(); ++k) {
      CAPTURE(k);
      std::vector<double> expected = values_of(x);
      for (double& v : expected) {
        v = static_cast<double>(functions[k].second(static_cast<long double>(v)));
      }
      check_values(functions[k].first(x).value(), {9}, dtype, expected, 4);
    }
  }
}

TEST_CASE("elementwise ops: values of the functions of two elements, broadcast from either side") {
  for (const DType dtype : float_types) {
    for (const std::vector<Shape>& s : pairs) {
      CAPTURE(to_string(s[0]));
      CAPTURE(to_string(s[1]));
      const Shape& shape = s[0].rank() > s[1].rank() ? s[0] : s[1];
      const Tensor a = random_tensor(s[0], dtype, 1), b = random_tensor(s[1], dtype, 2);
      const Tensor positive = exp(Var(a)).value();
      // Condition of the result's shape, or of its last axis, or a scalar.
      const Tensor condition = pattern(shape.rank() > 1     ? shape.without(0)
                                       : shape.numel() == 3 ? Shape{}
                                                            : shape);
      std::vector<double> larger, smaller, power, chosen;
      for (std::size_t i = 0; i < shape.numel(); ++i) {
        const double x = a.at(i % a.numel()), y = b.at(i % b.numel());
        larger.push_back(x > y ? x : y);
        smaller.push_back(x > y ? y : x);
        power.push_back(std::pow(positive.at(i % a.numel()), y));
        chosen.push_back(condition.at(i % condition.numel()) != 0 ? x : y);
      }
      check_values(maximum(a, b).value(), shape, dtype, larger);
      check_values(minimum(a, b).value(), shape, dtype, smaller);
      check_values(pow(positive, b).value(), shape, dtype, power, 4);
      check_values(where(condition, a, b).value(), shape, dtype, chosen);
    }
  }
}

TEST_CASE("elementwise ops: a condition overwritten after its use is noticed") {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({2}, {1, 2}));
  Tensor condition = pattern({2});
  const Var y = sum(where(condition, x, -x));
  condition.fill(1);
  CHECK_THROWS_AS(tape.gradient(y, {x}), UsageError);
}

TEST_CASE("elementwise ops: large tensors do not depend on the number of threads" *
          doctest::test_suite("threads")) {
  const Tensor x = random_tensor({3, 1000, 101}, DType::float32, 1);
  const Tensor y = random_tensor({1000, 101}, DType::float32, 2);
  check_threads_do_not_matter([&] { return softplus(x).value(); });
  check_threads_do_not_matter([&] { return maximum(y, x).value(); });
  check_threads_do_not_matter([&] { return where(pattern({101}), x, y).value(); });
}

TEST_CASE("elementwise ops: bad input") {
  const Var wide = Tensor::zeros({2, 3}), odd = Tensor::zeros({2});
  const char* rule =
      "a has shape (2, 3) but b has shape (2): the shapes must be equal, or one the "
      "last axes of the other";
  using F = Var (*)(const Var&, const Var&);
  const std::vector<std::pair<std::string, F>> functions{
      {"[pow] ", pow},
      {"[maximum] ", maximum},
      {"[minimum] ", minimum},
      {"[where] ",
       [](const Var& a, const Var& b) { return where(Tensor::of({}, {1}, DType::int32), a, b); }}};
  for (const auto& [op, f] : functions) {
    CHECK_THROWS_WITH_AS(f(wide, odd), (op + rule).c_str(), ShapeError);
    CHECK_THROWS_WITH_AS(
        f(odd, Tensor::zeros({2}, DType::float64)),
        (op + "input 0 is float32 but input 1 is float64: convert one with to()").c_str(),
        DtypeError);
  }
  CHECK_THROWS_WITH_AS(where(pattern({2}), wide, wide),
                       "[where] condition has shape (2) but a or b has shape (2, 3): the shapes "
                       "must be equal, or one the last axes of the other",
                       ShapeError);
  CHECK_THROWS_WITH_AS(where(Tensor::zeros({3}), wide, wide),
                       "[where] condition is float32: it must be int32, 0 for false", DtypeError);
  CHECK_THROWS_WITH_AS(clamp(wide, 2, 1),
                       "[clamp] low is 2 but high is 1: low must not be above high", UsageError);
  CHECK_THROWS_WITH_AS(clamp(wide, NAN, 1),
                       "[clamp] low is nan but high is 1: low must not be above high", UsageError);
  CHECK_THROWS_WITH_AS(clamp(wide, 0, NAN),
                       "[clamp] low is 0 but high is nan: low must not be above high", UsageError);
  CHECK_NOTHROW(clamp(wide, 1, 1));
  const Var ids = Tensor::of({2}, {1, 2}, DType::int32);
  using U = Var (*)(const Var&);
  for (const U f : {U(abs), U(softplus), U(log1p), U(expm1), U(relu)}) {
    CHECK_THROWS_WITH_AS(
        f(ids), "[Tensor] the elements are int32 but float32 was asked for: convert with to()",
        DtypeError);
  }
}

TEST_CASE("clamp: below and above are two branches, and the infinities have theirs") {
  class Seen : public Observer {
   public:
    Seen() : Observer(Interest::branches) {}
    void on_branch(std::size_t, const char*, const Tensor& choice) override { branch = choice; }
    Tensor branch;
  };
  Seen seen;
  Tape tape;
  observe(tape, seen);
  const Var x = tape.leaf(Tensor::of({7}, {-inf, -2, -1, 0, 1, 2, inf}));
  clamp(x, -1, 1);
  check_values(seen.branch, {7}, DType::float32, {-1, -1, 0, 0, 0, 1, 1});
  clamp(x, -inf, inf);
  check_values(seen.branch, {7}, DType::float32, {0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("clip_gradient: the value passes, the gradient is cut; masked: NaN stays behind a 0") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  Tape tape;
  const Var x = tape.leaf(Tensor::of({3}, {1, 2, 3}));
  const Var y = clip_gradient(x, 0.5);
  CHECK(y.value().at(2) == 3);
  const Var g = tape.gradient(sum(y * Var(Tensor::of({3}, {-4, 0.25, 4}))), {x})[0];
  CHECK(g.value().at(0) == -0.5);
  CHECK(g.value().at(1) == 0.25);
  CHECK(g.value().at(2) == 0.5);
  CHECK_THROWS_WITH_AS(clip_gradient(x, 0),
                       "[clip_gradient] limit is 0: it must be greater than 0 and finite",
                       UsageError);

  const Var z = tape.leaf(Tensor::of({2}, {nan, 2}));
  const Var m = masked(z, Tensor::of({2}, {0, 3}));
  CHECK(m.value().at(0) == 0);
  CHECK(m.value().at(1) == 6);
  const Var dz = tape.gradient(sum(m * Var(Tensor::of({2}, {nan, 1}))), {z})[0];
  CHECK(dz.value().at(0) == 0);
  CHECK(dz.value().at(1) == 3);
  CHECK_THROWS_AS(masked(z, Tensor::of({3}, {1, 1, 1})), ShapeError);
}
