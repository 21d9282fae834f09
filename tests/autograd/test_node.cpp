#include <doctest/doctest.h>

#include "../../autograd/node.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../../core/kernels/elementwise.h"
#include "../../core/rng.h"

// What authors of ops rely on.

using namespace tapegrad;

namespace {

/// y = a x + b, where b may be absent: through a rule, or through a composed twin.
Var affine(const Var& a, const Var& x, const Var& b, bool by_twin) {
  Node n("affine", {a, x, b});
  Tensor y = kernels::mul(a.value(), x.value());
  if (b.defined()) y = kernels::add(y, b.value());
  Var out = n.out(y);
  n.rule([a, x, b, by_twin](Grads& g) {
    CHECK(g.needs(2) == b.recorded());
    if (by_twin) {
      return g.through(
          [](const Vars& v) {
            const Var product = v[0] * v[1];
            return Vars{v[2].defined() ? product + v[2] : product};
          },
          {a, x, b});
    }
    if (g.needs(0)) g.add(0, g.d() * x);
    if (g.needs(1)) g.add(1, g.d() * a);
    g.add(2, g.d());  // ignored if nobody needs it
  });
  return out;
}

Tensor number(double value) { return Tensor::scalar(value, DType::float64); }

}  // namespace

TEST_CASE("node: an undefined input is absent, in rule, twin and graph") {
  for (const bool by_twin : {false, true}) {
    for (const bool graph : {false, true}) {
      CAPTURE(by_twin);
      CAPTURE(graph);
      Tape tape;
      const Var a = tape.leaf(number(3)), x = tape.leaf(number(5)), b = tape.leaf(number(7));
      const Var with = affine(a, x, b, by_twin), without = affine(a, x, {}, by_twin);
      CHECK(with.item() == 22);
      CHECK(without.item() == 15);
      const Var y = with * without;  // (a x + b) a x
      const Vars d = tape.gradient(y, {a, x, b}, {.create_graph = graph});
      CHECK(d[0].item() == 5 * (22 + 15));
      CHECK(d[1].item() == 3 * (22 + 15));
      CHECK(d[2].item() == 15);
      if (graph) CHECK(tape.gradient(d[2], {a})[0].item() == 5);
    }
  }
}

TEST_CASE("node: an absent bias leaves nothing on the tape") {
  Rng rng(1);
  const auto draw = [&](const Shape& s) { return Var(rng.normal(s, 0, 1, DType::float64)); };
  Tape tape;
  const Var x = tape.leaf(draw({4, 2, 3}).value());
  const auto constants = [&](auto&& op) {
    const Var y = op();
    return tape.gradient(sum(square(y)), {x}, {.create_graph = true})[0];
  };
  const Var linear_x = constants([&] { return linear(x, draw({5, 3})); });
  const Var lstm_x = constants([&] {
    return lstm(x, {draw({2, 2}), draw({2, 2})}, {draw({8, 3}), draw({8, 2}), {}, draw({8})}).y;
  });
  CHECK(tape.gradient(sum(square(linear_x) + square(lstm_x)), {x})[0].shape() == x.shape());
}

TEST_CASE("node: an op that needs an input says so if that is undefined") {
  CHECK_THROWS_AS((void)tanh(Var()), UsageError);
  CHECK_THROWS_AS((void)(Var() * Var(number(1))), UsageError);
  Tape tape;
  CHECK_THROWS_AS((void)affine(tape.leaf(number(1)), {}, {}, false), UsageError);
}
