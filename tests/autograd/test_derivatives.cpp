#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "../../autograd/derivatives.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../../core/rng.h"
#include "../support/is_worse.h"

// Directional derivatives and Hessians, and with them an oracle for gradients that uses no
// differences: <u, J v> by jvp equals <J^T u, v> by one reverse sweep, and Hessians are symmetric.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

double dot(const Tensor& a, const Tensor& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.numel(); ++i) total += a.at(i) * b.at(i);
  return total;
}

Tensor draw(Rng& rng, const Shape& shape) { return rng.normal(shape, 0, 0.7, DType::float64); }

/// The fused LSTM, its state and weights: everything that can be differentiated.
Vars lstm_inputs(Tape& tape, Rng& rng) {
  Vars x;
  for (const Shape& s : std::vector<Shape>{{4, 2, 3}, {2, 2}, {2, 2}, {8, 3}, {8, 2}, {8}, {8}}) {
    x.push_back(tape.leaf(draw(rng, s)));
  }
  return x;
}

Var lstm_of(const Vars& x) { return lstm(x[0], {x[1], x[2]}, {x[3], x[4], x[5], x[6]}).y; }

}  // namespace

TEST_CASE("jvp: known Jacobians") {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({3}, {1, 2, 3}, DType::float64));
  const Tensor v = Tensor::of({3}, {1, -1, 0.5}, DType::float64);
  const Tensor d = jvp(tape, square(x) * x, {x}, {v}).value();  // 3 x^2 v
  CHECK(d.at(0) == 3);
  CHECK(d.at(1) == -12);
  CHECK(d.at(2) == 13.5);
  // Linear functions, and y that does not depend on x.
  CHECK(jvp(tape, sum(x), {x}, {v}).item() == 0.5);
  const Var other = tape.leaf(Tensor::scalar(1, DType::float64));
  CHECK(jvp(tape, other * 2.0, {x}, {v}).item() == 0);
}

TEST_CASE("jvp: agrees with the reverse sweep and with differences, for a fused LSTM") {
  Rng rng(4);
  Tape tape;
  const Vars x = lstm_inputs(tape, rng);
  Vars v;
  for (const Var& each : x) v.push_back(draw(rng, each.shape()));
  const Var y = lstm_of(x);
  const Tensor u = draw(rng, y.shape());
  const Tensor forward = jvp(tape, y, x, v).value();
  const Vars backward = tape.gradient(y, x, {.retain = true}, u);
  double reverse = 0;
  for (std::size_t i = 0; i < x.size(); ++i) reverse += dot(backward[i].value(), v[i].value());
  CHECK(dot(u, forward) == doctest::Approx(reverse).epsilon(1e-13));

  // y along x + h v, by a fourth-order difference.
  const auto at = [&](double h) {
    Vars moved;
    for (std::size_t i = 0; i < x.size(); ++i) moved.push_back(x[i].detach() + h * v[i]);
    return lstm_of(moved).value();
  };
  const double h = 1e-3;
  const Tensor a = at(-2 * h), b = at(-h), c = at(h), d = at(2 * h);
  for (std::size_t i = 0; i < forward.numel(); ++i) {
    const double slope = (a.at(i) - 8 * b.at(i) + 8 * c.at(i) - d.at(i)) / (12 * h);
    CHECK(forward.at(i) == doctest::Approx(slope).epsilon(1e-9));
  }
}

TEST_CASE("hvp and hessian: x^T A x, whose Hessian is A + A^T") {
  Rng rng(2);
  const Tensor a = draw(rng, {4, 4});
  Tape tape;
  const Var x = tape.leaf(draw(rng, {4, 1}));
  const Var y = sum(x * matmul(a, x));
  const Tensor h = hessian(tape, y, x);
  CHECK(h.shape() == Shape{4, 4});
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t k = 0; k < 4; ++k) {
      CHECK(h.at(4 * i + k) == doctest::Approx(a.at(4 * i + k) + a.at(4 * k + i)).epsilon(1e-14));
    }
  }
  const Tensor v = draw(rng, {4, 1});
  const Tensor hv = hvp(tape, y, {x}, {v})[0].value();
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(hv.at(i) == doctest::Approx(dot(h.slice(i, i + 1), v)).epsilon(1e-14));
  }
  // Without curvature.
  CHECK(hvp(tape, sum(x), {x}, {v})[0].value().at(0) == 0);
  CHECK(hessian(tape, sum(x), x).at(5) == 0);
}

TEST_CASE("hessian: of a loss behind a fused LSTM it is symmetric, and agrees with hvp") {
  Rng rng(6);
  const Tensor ids = Tensor::of({4, 2}, {0, 1, 1, 0, 1, 1, 0, 0}, DType::int32);
  Tape tape;
  const Vars x = lstm_inputs(tape, rng);
  const Var loss = cross_entropy(lstm_of(x), ids);
  const Var& weights = x[4];  // recurrent: the paths through time
  const Tensor h = hessian(tape, loss, weights);
  const std::size_t n = weights.shape().numel();
  double largest = 0, asymmetry = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < n; ++k) {
      largest = std::max(largest, std::abs(h.at(n * i + k)));
      const double difference = std::abs(h.at(n * i + k) - h.at(n * k + i));
      if (is_worse(difference, asymmetry)) asymmetry = difference;
    }
  }
  CHECK(largest > 1e-3);
  CHECK(asymmetry <= 1e-13 * largest);
  const Tensor v = draw(rng, weights.shape());
  const Tensor hv = hvp(tape, loss, {weights}, {v})[0].value();
  for (std::size_t i = 0; i < n; ++i) {
    CHECK(hv.at(i) == doctest::Approx(dot(h.slice(i, i + 1), v)).epsilon(1e-12));
  }
}

TEST_CASE("jvp, hvp, hessian: what does not fit is refused, the tape stays usable") {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({2}, {1, 2}, DType::float64));
  const Var y = square(x);
  const Tensor v = Tensor::zeros({3}, DType::float64);
  CHECK_THROWS_WITH_AS((void)jvp(tape, y, {x}, {}),
                       "[jvp] there are 1 x but 0 v: each x needs a direction of its shape",
                       UsageError);
  CHECK_THROWS_WITH_AS((void)hvp(tape, sum(y), {x}, {v}),
                       "[hvp] a direction v has shape (3) and is float64 but its x has shape (2) "
                       "and is float64: they must be equal",
                       ShapeError);
  CHECK_THROWS_AS((void)hessian(tape, y, x), ShapeError);  // y is no scalar
  CHECK(tape.gradient(sum(y), {x})[0].value().at(1) == 4);
}
