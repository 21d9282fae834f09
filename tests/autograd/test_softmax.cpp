#include <doctest/doctest.h>

#include <cmath>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/softmax.h"
#include "../../core/error.h"
#include "../support/kernel_cases.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Function = Var (*)(const Var&);

/// Values of f, and the gradient of their sum with weights 1, 2, 3, ... (0 where y is infinite, as
/// a loss that is finite has it).
void check_row(Function f, const std::vector<double>& row, const std::vector<double>& expected,
               const std::vector<double>& gradient) {
  for (const DType dtype : float_types) {
    const Shape shape{row.size()};
    const Tensor x = Tensor::from<double>(shape, row).to(dtype);
    Tape tape;
    const Var leaf = tape.leaf(x);
    const Var y = f(leaf);
    check_values(y.value(), y.shape(), dtype, expected, 4);
    Tensor dy = Tensor::zeros(y.shape(), DType::float64);
    for (std::size_t i = 0; i < dy.numel(); ++i) {
      dy.mutable_data<double>()[i] =
          y.shape().rank() > 0 && expected[i] == -inf ? 0 : static_cast<double>(i + 1);
    }
    for (const bool create_graph : {false, true}) {  // the raw path, and the rule
      CAPTURE(create_graph);
      const Vars dx =
          tape.gradient(y, {leaf}, {.retain = true, .create_graph = create_graph}, dy.to(dtype));
      check_values(dx[0].value(), shape, dtype, gradient, 8);
    }
  }
}

}  // namespace

TEST_CASE("gradcheck: softmax, log_softmax, logsumexp" * doctest::test_suite("gradients")) {
  for (const Shape& s : std::vector<Shape>{{1}, {4}, {2, 3}, {2, 2, 3}, {0, 3}}) {
    check_op("softmax", [](In x) { return Out{softmax(x[0])}; }, {s});
    check_op("log_softmax", [](In x) { return Out{log_softmax(x[0])}; }, {s});
    check_op("logsumexp", [](In x) { return Out{logsumexp(x[0])}; }, {s});
    // The halves of the slopes are ops of their own: their own slopes are seen in curved functions.
    check_op("minus_mean", [](In x) { return Out{square(softmax(x[0])) * x[0]}; }, {s});
    check_op("minus_share", [](In x) { return Out{square(log_softmax(x[0])) * x[0]}; }, {s});
  }
}

TEST_CASE("gradcheck: softmax with masked logits, in the middle, all but one, and all" *
          doctest::test_suite("gradients")) {
  const Var mask =
      Tensor::of({3, 3}, {0, -inf, 0, -inf, -inf, 0, -inf, -inf, -inf}, DType::float64);
  const auto masked = [&](const Var& x) { return x + Var(mask.value().to(x.dtype())); };
  check_op("softmax", [&](In x) { return Out{softmax(masked(x[0]))}; }, {{3, 3}});
  // All logits of a row may be masked in a sum of paths; the sum is then the log of nothing.
  check_op("logsumexp", [&](In x) { return Out{exp(logsumexp(masked(x[0])))}; }, {{3, 3}});
}

TEST_CASE("softmax: what it, its logarithm and the sum give for huge, masked and NaN logits") {
  const double p = 1 / (1 + std::exp(1.0)), q = 1 - p;  // softmax of (0, 1)
  const double l = std::log(p), m = std::log(q);

  check_row(softmax, {1e4, -1e4, 0}, {1, 0, 0}, {0, 0, 0});
  check_row(softmax, {-1e4, -1e4, -1e4}, {1. / 3, 1. / 3, 1. / 3}, {-1. / 3, 0, 1. / 3});
  check_row(softmax, {-inf, 0, 1}, {0, p, q}, {0, -p * q, p * q});
  check_row(softmax, {-inf, -inf, 5}, {0, 0, 1}, {0, 0, 0});
  check_row(softmax, {-inf, -inf}, {0, 0}, {0, 0});
  check_row(softmax, {inf, 0}, {NAN, NAN}, {NAN, NAN});
  check_row(softmax, {NAN, 0}, {NAN, NAN}, {NAN, NAN});

  check_row(log_softmax, {1e4, -1e4}, {0, -2e4}, {-2, 2});
  check_row(log_softmax, {-inf, 0, 1}, {-inf, l, m}, {0, 2 - 5 * p, 3 - 5 * q});
  check_row(log_softmax, {-inf, -inf}, {-inf, -inf}, {0, 0});
  check_row(log_softmax, {inf, 0}, {NAN, NAN}, {NAN, NAN});
  check_row(log_softmax, {NAN, 0}, {NAN, NAN}, {NAN, NAN});

  // Where p is 0, dx = dy - p sum(dy) is dy, if there is one.
  for (const DType dtype : float_types) {
    for (const bool create_graph : {false, true}) {
      Tape tape;
      const Var x = tape.leaf(Tensor::of({3}, {-inf, 0, 1}, dtype));
      const Var dy = Tensor::full({3}, 1, dtype);
      const Vars dx = tape.gradient(log_softmax(x), {x}, {.create_graph = create_graph}, dy);
      check_values(dx[0].value(), {3}, dtype, {1, 1 - 3 * p, 1 - 3 * q}, 8);
    }
  }

  check_row(logsumexp, {1e4, -1e4, 0}, {1e4}, {1, 0, 0});
  check_row(logsumexp, {-inf, 0, 1}, {1 - m}, {0, p, q});
  check_row(logsumexp, {-inf, -inf}, {-inf}, {0, 0});
  check_row(logsumexp, {inf, 0}, {inf}, {NAN, NAN});
  check_row(logsumexp, {NAN, 0}, {NAN}, {NAN, NAN});
}

TEST_CASE("softmax: 1e300 in float64") {
  const Var x = Tensor::of({3}, {1e300, -1e300, 1e300}, DType::float64);
  check_values(softmax(x).value(), {3}, DType::float64, {0.5, 0, 0.5});
  check_values(log_softmax(x).value(), {3}, DType::float64, {-std::log(2), -2e300, -std::log(2)},
               2);
  CHECK(logsumexp(x).item() == 1e300);
}

TEST_CASE("softmax: bad input") {
  const Var scalar = Tensor::scalar(1);
  const Var ids = Tensor::zeros({2}, DType::int32);
  CHECK_THROWS_WITH_AS(softmax(scalar), "[softmax] x has shape (): it must be of rank 1 or more",
                       ShapeError);
  CHECK_THROWS_WITH_AS(log_softmax(scalar),
                       "[log_softmax] x has shape (): it must be of rank 1 or more", ShapeError);
  CHECK_THROWS_WITH_AS(logsumexp(scalar),
                       "[logsumexp] x has shape (): it must be of rank 1 or more", ShapeError);
  CHECK_THROWS_WITH_AS(
      logsumexp(ids), "[logsumexp] x is int32: it must be float32 or float64; convert it with to()",
      DtypeError);
}
