#include <doctest/doctest.h>

#include <memory>

#include "../../autograd/node.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../../core/kernels/elementwise.h"
#include "../../core/rng.h"
#include "../support/small_values.h"

// What authors of ops rely on.

using namespace tapegrad;
using namespace tapegrad::testing;

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

namespace {

/// x^3, whose rule computes 3 x^2 dy as numbers, or as it should.
Var cube(const Var& x, bool by_numbers) {
  Node n("cube", {x});
  Var y = n.out(kernels::pow(x.value(), 3));
  n.rule([x, by_numbers](Grads& g) {
    const double slope = 3 * x.item() * x.item();
    if (by_numbers) return g.add(0, kernels::scale(g.d().value(), slope));
    g.add(0, 3.0 * g.d() * square(x));
  });
  return y;
}

}  // namespace

TEST_CASE("node: a rule made of numbers is refused where its gradient is to be differentiated") {
  Tape tape;
  const Var x = tape.leaf(number(2));
  const auto second = [&](bool by_numbers, const Var& seed) {
    const Var y = cube(x, by_numbers) + square(x);
    const Var d = tape.gradient(y, {x}, {.create_graph = true}, seed)[0];
    CHECK(d.item() == 16);
    return tape.gradient(d, {x})[0].item();
  };
  for (const Var& seed : {Var(), Var(number(1)), tape.leaf(number(1))}) {
    CHECK(second(false, seed) == 14);
    CHECK_THROWS_WITH_AS(
        (void)second(true, seed),
        "[cube] its rule gave input 0 a gradient that was not recorded, so its derivative would be "
        "lost: with create_graph, compute it from d() with ops on Vars, not from value()",
        UsageError);
  }
  CHECK(tape.gradient(cube(x, true), {x})[0].item() == 12);  // no graph, nothing is lost
}

TEST_CASE("node: linear ops, cut gradients and unused inputs are no rules of numbers") {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({3}, {1, -2, 3}, DType::float64));
  const Var y = sum(scale(neg(relu(x)), 3)) + sum(clamp(x, -1, 1)) + sum(pow(x, 0.0)) +
                sum(where(Tensor::of({3}, {1, 0, 1}, DType::int32), x, 2.0 * x));
  const Var d = tape.gradient(y, {x}, {.create_graph = true})[0];
  CHECK(d.value().at(0) == -3 + 1 + 1);
  CHECK(d.value().at(1) == 2);
  CHECK(d.value().at(2) == -3 + 0 + 1);
  const Var second = tape.gradient(sum(d), {x})[0];
  for (std::size_t i = 0; i < 3; ++i) CHECK(second.value().at(i) == 0);
}

TEST_CASE("gradient: results share memory with nothing, the graph's neither") {
  for (const bool graph : {false, true}) {
    CAPTURE(graph);
    Tape tape;
    const Var a = tape.leaf(Tensor::of({2}, {1, 2}, DType::float64));
    const Var b = tape.leaf(Tensor::of({2}, {3, 4}, DType::float64));
    const Tensor dy = Tensor::of({2}, {5, 6}, DType::float64);
    const Vars d = tape.gradient(a + b, {a, b, a}, {.create_graph = graph}, dy);
    for (std::size_t i = 0; i < d.size(); ++i) {
      CHECK(d[i].value().at(1) == 6);  // what was written into the others is not here
      Tensor(d[i].value()).fill(100);
    }
    CHECK(dy.at(0) == 5);
    const Vars of_y = [&] {
      const Var y = a * 2.0;
      return tape.gradient(y, {y}, {.create_graph = graph}, dy);
    }();
    Tensor(of_y[0].value()).fill(100);
    CHECK(dy.at(0) == 5);
  }
}

TEST_CASE("tape: pauses may end in any order") {
  Tape tape;
  std::unique_ptr<Tape::Guard> first(new Tape::Guard(tape.pause()));
  std::unique_ptr<Tape::Guard> second(new Tape::Guard(tape.pause()));
  first.reset();
  CHECK_FALSE(tape.recording());
  second.reset();
  CHECK(tape.recording());
}

TEST_CASE("tape: one tape for all passes is told to be one for each") {
  Parameter w(Tensor::of({2}, {1, 2}));
  Tape tape;
  const auto pass = [&] { tape.backward(sum(square(tape.leaf(w)))); };
  pass();
  pass();  // nothing has changed yet
  w.set_value(Tensor::of({2}, {3, 4}));
  CHECK_THROWS_WITH_AS(pass(),
                       "[leaf] a Parameter of shape (2) was changed after this tape used it, as by "
                       "a step of an optimizer: make a Tape for each pass, inside the loop",
                       UsageError);
  Tape next;
  next.backward(sum(square(next.leaf(w))));
  CHECK(w.grad().at(0) == 2 + 2 + 6);
}

TEST_CASE("elementwise: compound assignment makes a new value") {
  Tape tape;
  const Var x = tape.leaf(number(3));
  Var y = x;
  y += x;  // 2 x
  const Var old = y;
  y *= y;  // 4 x^2
  y -= 2.0;
  y /= x;  // 4 x - 2 / x
  y *= 3.0, y += 1.0, y /= 2.0, y -= x;
  CHECK(old.item() == 6);
  CHECK(y.item() == doctest::Approx((3 * (12 - 2.0 / 3) + 1) / 2 - 3));
  CHECK(tape.gradient(y, {x}, {.retain = true})[0].item() ==
        doctest::Approx(1.5 * (4 + 2.0 / 9) - 1));
  CHECK(tape.gradient(old, {x})[0].item() == 2);
  Var number_only = number(1);
  number_only += number(2);
  CHECK(number_only.item() == 3);
  CHECK_FALSE(number_only.recorded());
}
