#include <doctest/doctest.h>

#include <thread>

#include "../../autograd/inspect/hooks.h"
#include "../../autograd/node.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../support/small_values.h"

TEST_SUITE_BEGIN("tape");

using namespace tapegrad;
using namespace tapegrad::testing;

TEST_CASE("tape: a leaf is one node however often it is used, and its uses add up") {
  const Parameter w = parameter({2, 3});
  Tape tape;
  const Var a = tape.leaf(w);
  const Var b = tape.leaf(w);
  CHECK(tape.size() == 1);
  tape.backward(sum(a * b + a));  // w^2 + w
  CHECK(w.grad().at(0) == 5);
  CHECK(w.grad().at(1) == 7);
}

TEST_CASE("tape: backward adds to the gradient, gradient() touches nothing") {
  const Parameter w = parameter({2});
  for (int i = 1; i <= 3; ++i) {
    Tape tape;
    const Var x = tape.leaf(w);
    CHECK(tape.gradient(sum(square(x)), {x})[0].item() == 4);
    tape.backward(sum(square(x)));
    CHECK(w.grad().item() == 4 * i);
  }
}

TEST_CASE("tape: parameters that share a gradient do not share its memory") {
  const Parameter a = parameter({1});
  const Parameter b = parameter({1});
  Tape tape;
  tape.backward(sum(tape.leaf(a) + tape.leaf(b)));
  CHECK_FALSE(a.grad().shares_elements_with(b.grad()));
}

TEST_CASE("tape: a kernel does not add in place to a gradient that another value has, too") {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({3}, 1, DType::float64));
  const Var first = slice(x, 0, 0, 1);
  const Var y = x + 1.0;  // its rule hands dy on as dx, to which the slice's then adds
  const Vars d = tape.gradient(sum(square(y)) + sum(first), {x, y});
  CHECK(d[0].value().at(0) == 5);
  CHECK(d[1].value().at(0) == 4);
}

TEST_CASE("tape: a frozen parameter is a constant") {
  Parameter w = parameter({2});
  w.set_requires_grad(false);
  Tape tape;
  CHECK_FALSE(tape.leaf(w).recorded());
  const Parameter v = parameter({3});
  tape.backward(sum(tape.leaf(w) * tape.leaf(v)));
  CHECK(v.grad().item() == 2);
  CHECK_FALSE(w.grad().defined());
}

TEST_CASE("tape: inference, a pause and detach() give constants, good on any tape") {
  const Parameter w = parameter({2});
  Var from_inference, from_pause, detached;
  {
    Tape tape = Tape::inference();
    from_inference = square(tape.leaf(w));
    CHECK(tape.size() == 0);
  }
  {
    Tape tape;
    const auto pause = tape.pause();
    from_pause = square(tape.leaf(w));
  }
  {
    Tape tape;
    detached = square(tape.leaf(w)).detach();
  }
  Tape tape;
  const Var x = tape.leaf(w);
  tape.backward(sum(x * from_inference * from_pause * detached));
  CHECK(w.grad().item() == 64);
}

TEST_CASE("tape: gradient visits only what lies between, and is zero where nothing leads") {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({}, {3}, DType::float64));
  const Var unrelated = tape.leaf(Tensor::of({2}, {1, 1}, DType::float64));
  const Var middle = square(x);
  const Var y = square(middle);
  const Vars d = tape.gradient(y, {middle, x, unrelated}, {.retain = true});
  CHECK(d[0].item() == 18);
  CHECK(d[1].item() == 108);
  CHECK(d[2].shape() == Shape{2});
  CHECK(d[2].value().at(0) == 0);
  // y of an earlier place than x
  CHECK(tape.gradient(x, {y})[0].item() == 0);
  // a vector output needs dy
  const Var v = unrelated * 2.0;
  const Var dy = Tensor::of({2}, {10, 20}, DType::float64);
  CHECK(tape.gradient(v, {unrelated}, {}, dy)[0].value().at(1) == 40);
}

TEST_CASE("tape: derivatives of any order of x^4") {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({}, {2}, DType::float64));
  Var y = square(square(x));
  const double expected[] = {32, 48, 48, 24, 0};
  for (const double e : expected) {
    y = tape.gradient(y, {x}, {.create_graph = true})[0];
    CHECK(y.item() == e);
    if (e == 24) break;  // what comes after is a constant
  }
}

TEST_CASE("tape: a gradient penalty trains: second order reaches parameters") {
  const Parameter w = parameter({3});
  Tape tape;
  const Var x = tape.leaf(Tensor::of({1}, {2}, DType::float64));
  const Var y = sum(square(tape.leaf(w) * x));                      // w^2 x^2
  const Var dx = tape.gradient(y, {x}, {.create_graph = true})[0];  // 2 w^2 x
  tape.backward(sum(square(dx)));                                   // 4 w^4 x^2
  CHECK(w.grad().item() == 16 * 27 * 4);
}

TEST_CASE("tape: a second backward works when asked for, with the same result") {
  const Parameter w = parameter({2});
  Tape tape;
  const Var loss = sum(square(tape.leaf(w)));
  tape.backward(loss, {.retain = true});
  tape.backward(loss);
  CHECK(w.grad().item() == 8);
}

TEST_CASE("tape: many tapes at once, in one thread and in several" *
          doctest::test_suite("threads")) {
  const Parameter w = parameter({2});
  Tape a;
  Tape b;
  const Var x = square(a.leaf(w));
  const Var y = a.leaf(w) * 3.0;
  const Var z = square(b.leaf(w));
  CHECK(b.gradient(z, {b.leaf(w)})[0].value().at(0) == 4);
  CHECK(a.gradient(x * y, {a.leaf(w)}, {}, Tensor::of({1}, {1}, DType::float64))[0].value().at(0) ==
        36);
  std::vector<std::thread> threads;
  std::vector<double> results(4);
  for (std::size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 200; ++k) {
        Tape tape;
        const Var v = tape.leaf(w);
        results[i] = tape.gradient(sum(square(v)), {v})[0].item();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const double r : results) CHECK(r == 4);
}

TEST_CASE(
    "tape: a chain of 100,000 nodes is recorded, differentiated and destroyed without recursion") {
  const Parameter w = parameter({1});
  Tape tape;
  Var y = tape.leaf(w);
  for (int i = 0; i < 100000; ++i) y = y + 1.0;
  tape.backward(sum(y));
  CHECK(w.grad().item() == 1);
}

TEST_CASE("tape: a throwing rule leaves every gradient as it was") {
  struct Boom {};
  const Parameter w = parameter({2});
  {
    Tape tape;
    tape.backward(sum(tape.leaf(w)));
  }
  Tape tape;
  const Var x = tape.leaf(w);
  Node n("boom", {x});
  const Var y = n.out(x.value());
  n.rule([](Grads&) { throw Boom{}; });
  const Var loss = sum(y + square(x));
  CHECK_THROWS_AS(tape.backward(loss), Boom);
  CHECK(w.grad().item() == 1);
  {
    Tape next;  // and the engine goes on
    next.backward(sum(next.leaf(w)));
  }
  CHECK(w.grad().item() == 2);
}

TEST_CASE("tape: an op of the user's own, and one that is not differentiable") {
  const auto cube = [](const Var& x) {
    Node n("cube", {x});
    Var y = n.out((x * x * x).value());
    n.rule([x](Grads& g) { g.add(0, 3.0 * g.d() * x * x); });
    return y;
  };
  const auto half_done = [](const Var& x) {
    Node n("half_done", {x});
    return n.out(x.value());
  };
  const Parameter w = parameter({2});
  Tape tape;
  const Var x = tape.leaf(w);
  tape.backward(sum(cube(x)), {.retain = true});
  CHECK(w.grad().item() == 12);
  CHECK_THROWS_AS(tape.backward(sum(half_done(x))), UsageError);
  CHECK(w.grad().item() == 12);
}

TEST_CASE("tape: a rule may offer gradients that nobody wants") {
  const auto product = [](const Var& a, const Var& b) {
    Node n("product", {a, b});
    Var y = n.out((a * b).value());
    n.rule([a, b](Grads& g) {
      g.add(0, g.d() * b);
      g.add(1, g.d() * a);
    });
    return y;
  };
  const Tensor two = Tensor::scalar(2), three = Tensor::scalar(3);
  Tape tape;
  const Var before = tape.leaf(two), x = tape.leaf(three), after = tape.leaf(two);
  CHECK(tape.gradient(product(before, x), {x})[0].item() == 2);
  CHECK(tape.gradient(product(after, x), {x})[0].item() == 2);
  CHECK(tape.gradient(product(two, x), {x})[0].item() == 2);
}

TEST_CASE("tape: values of an earlier place are freed as backward passes them") {
  const Parameter w = parameter({2});
  Tape tape;
  Tensor kept;
  {
    const Var x = tape.leaf(w);
    const Var y = exp(x);
    kept = y.value();
    tape.backward(sum(y));
  }
  CHECK(kept.unique());
}

TEST_CASE("tape: gradients of values are freed as backward passes them") {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2}, 1));
  const Var y = exp(x);
  Tensor dy;
  bool freed = false;
  hook(y, [&](const Var& d) {
    dy = d.value();
    return Var();
  });
  hook(x, [&](const Var&) {
    freed = dy.unique();
    return Var();
  });
  tape.gradient(sum(y), {x});
  CHECK(freed);
}

TEST_CASE("tape: random keys depend on seed, pass and site, and unnamed sites on their order") {
  Tape a = Tape::training({.seed = 1, .pass = 2});
  Tape b = Tape::training({.seed = 1, .pass = 2});
  Tape c = Tape::training({.seed = 1, .pass = 3});
  CHECK(a.random_key("x").bits == b.random_key("x").bits);
  CHECK(a.random_key("x").bits != a.random_key("y").bits);
  CHECK(a.random_key("x").bits != c.random_key("x").bits);
  const auto first = a.random_key().bits;
  const auto second = a.random_key().bits;
  CHECK(first != second);
  CHECK(b.random_key().bits == first);
}

TEST_CASE("tape: release_memory gives idle memory back and tapes go on") {
  const Parameter w = parameter({2});
  Var old;
  {
    Tape tape;
    old = square(tape.leaf(w));
  }
  Tape::release_memory();
  Tape tape;
  CHECK_THROWS_AS(old + old, UsageError);  // still known to be over
  tape.backward(sum(square(tape.leaf(w))));
  CHECK(w.grad().item() == 4);
}

TEST_CASE("tape: another thread's use of it is refused" * doctest::test_suite("threads")) {
  const Parameter w = parameter({2});
  Tape tape;
  const Var x = tape.leaf(w);
  const auto elsewhere = [](auto&& use) {
    std::string said;
    std::thread([&] {
      try {
        use();
      } catch (const UsageError& e) {
        said = e.what();
      }
    }).join();
    return said;
  };
  const std::string cure =
      " the tape was made by another thread: make one in each thread, or detach() what goes from "
      "one to the other";
  CHECK(elsewhere([&] { (void)square(x); }) == "[square]" + cure);
  CHECK(elsewhere([&] { (void)tape.leaf(w); }) == "[leaf]" + cure);
  CHECK(elsewhere([&] { (void)tape.leaf(Tensor::scalar(1)); }) == "[leaf]" + cure);
  CHECK(elsewhere([&] { tape.backward(sum(x)); }) == "[sum]" + cure);
  CHECK(elsewhere([&] { tape.backward(x); }) == "[backward]" + cure);
  CHECK(elsewhere([&] { (void)square(x.detach()); }).empty());  // a constant is good anywhere
  tape.backward(sum(x));                                        // and nothing is spoilt
  CHECK(w.grad().item() == 1);
}

TEST_CASE("tape: a weight that is used 10^5 times gets the sum of 10^5 float32 gradients") {
  constexpr std::size_t uses = 100'000;
  Parameter scale(Tensor::of({1}, {1}, DType::float32));
  Parameter weight(Tensor::of({1, 1}, {1}, DType::float32));
  Tape tape;
  const Var s = tape.leaf(scale), w = tape.leaf(weight);
  double seen = 0;
  hook(s, [&](const Var& d) {
    seen = d.value().at(0);
    return Var();
  });
  Var total = Tensor::of({1, 1}, {0}, DType::float32);
  const Tensor x = Tensor::of({1, 1}, {0.1}, DType::float32);
  for (std::size_t k = 0; k < uses; ++k) total = total + matmul(x, w) + s * x;
  const Vars d = tape.gradient(sum(total), {s, w}, {.retain = true});
  tape.backward(sum(total));
  const double expected = uses * x.at(0);  // one by one: 9998.6
  CHECK(d[0].value().item() == doctest::Approx(expected).epsilon(1e-6));
  CHECK(d[1].value().item() == doctest::Approx(expected).epsilon(1e-6));
  CHECK(scale.grad().item() == doctest::Approx(expected).epsilon(1e-6));
  CHECK(weight.grad().item() == doctest::Approx(expected).epsilon(1e-6));
  CHECK(seen == doctest::Approx(expected).epsilon(1e-6));
}

TEST_SUITE_END();
