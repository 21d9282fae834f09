#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "../../autograd/derivatives.h"
#include "../../autograd/inspect/hooks.h"
#include "../../autograd/inspect/scope.h"
#include "../../autograd/node.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../support/small_values.h"

// Hooks, kept gradients and scopes: looking into a pass, and reaching into it.

using namespace tapegrad;
using namespace tapegrad::testing;

TEST_CASE("hooks: read a gradient when it is complete, and only then") {
  const Parameter w = parameter({2, 3});
  Tape tape;
  const Var x = tape.leaf(w);
  const Var y = square(x);
  std::vector<double> seen;
  hook(y, [&](const Var& d) {
    seen.push_back(d.value().at(1));
    return Var();
  });
  tape.backward(sum(y * 5.0 + y * 2.0));  // two uses: one call, with their sum
  CHECK(seen == std::vector<double>{7});
  CHECK(w.grad().at(1) == 7 * 2 * 3);
}

TEST_CASE("hooks: what a hook returns takes the gradient's place, in the order of the hooks") {
  const Parameter w = parameter({2});
  Tape tape;
  const Var x = tape.leaf(w);
  const Var y = square(x);
  hook(y, [](const Var& d) { return d + 1.0; });
  hook(y, [](const Var& d) { return d * 10.0; });
  hook(x, [](const Var& d) { return -d; });  // a leaf's too, before it reaches the Parameter
  tape.backward(sum(y));
  CHECK(w.grad().at(0) == -((1 + 1) * 10) * 2 * 2);
}

TEST_CASE("hooks: with several outputs, each has its own") {
  const Parameter w = parameter({1, 2, 3});
  Tape tape;
  const Vars rows = unbind(tape.leaf(w));
  hook(rows[2], [](const Var& d) { return d * 100.0; });
  bool called = false;
  hook(rows[1], [&](const Var&) {
    called = true;
    return Var();
  });
  tape.backward(sum(rows[0] + rows[2]));
  CHECK(w.grad().at(0) == 1);
  CHECK(w.grad().at(2) == 100);
  CHECK_FALSE(called);  // no gradient has reached rows[1]
}

TEST_CASE("hooks: a replaced gradient can be differentiated") {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({}, {3}, DType::float64));
  const Var y = square(x);
  hook(y, [](const Var& d) { return square(d) * 2.0; });
  const Var dx = tape.gradient(y * y, {x}, {.create_graph = true})[0];  // 2 (2 y)^2 2 x = 16 x^5
  CHECK(dx.item() == doctest::Approx(16 * 243).epsilon(1e-14));
  // The hook runs again in the second sweep, on what reaches y there: d dx / d y = 32 x y = 864.
  const Var ddx = tape.gradient(dx, {x})[0];
  CHECK(ddx.item() == doctest::Approx(4 * 4 * 81 * 1.0 + 2 * 864.0 * 864.0 * 6).epsilon(1e-14));
}

TEST_CASE("hooks: inside the twin of a fused op nothing is called twice") {
  Rng rng(1);
  const auto draw = [&](const Shape& s) { return rng.normal(s, 0, 0.5, DType::float64); };
  Tape tape;
  const Var x = tape.leaf(draw({3, 2, 2}));
  const Var in = tanh(x);
  const Var h = tape.leaf(draw({2, 2}));
  int calls = 0;
  hook(in, [&](const Var&) {
    ++calls;
    return Var();
  });
  const Var loss = sum(lstm(in, {h, h}, {draw({8, 2}), draw({8, 2}), {}, {}}).y);
  (void)tape.gradient(loss, {x}, {.create_graph = true});
  CHECK(calls == 1);
}

TEST_CASE("retain_grad: any value's gradient after backward, a constant input's too") {
  const Parameter w = parameter({2});
  Tape tape;
  const Var input = tape.leaf(Tensor::of({1}, {5}, DType::float64));  // no Parameter
  const Var middle = tape.leaf(w) * input;
  const Var unused = tanh(middle);
  const Var loss = sum(square(middle));
  for (const Var& v : {input, middle, unused, loss}) retain_grad(v);
  tape.backward(loss);
  CHECK(grad(middle).item() == 20);
  CHECK(grad(input).item() == 40);
  CHECK(grad(loss).item() == 1);
  CHECK_FALSE(grad(unused).defined());
  CHECK(w.grad().item() == 100);
  CHECK_THROWS_WITH_AS((void)grad(tape.leaf(w)),
                       "[grad] the gradient of this value was not kept: call retain_grad() before "
                       "backward",
                       UsageError);
}

TEST_CASE("retain_grad: what is kept is not overwritten by what comes after") {
  const Parameter w = parameter({1, 2});
  Tape tape;
  const Var x = tape.leaf(w);
  retain_grad(x);
  tape.backward(sum(square(x)), {.retain = true});
  const Var first = grad(x);
  tape.backward(sum(x * 3.0));
  CHECK(first.value().at(1) == 4);
  CHECK(grad(x).value().at(1) == 3);
  CHECK(w.grad().at(1) == 7);
}

TEST_CASE("hooks: a throw leaves every Parameter as it was, and the next tape works") {
  const Parameter w = parameter({2});
  {
    Tape tape;
    const Var y = square(tape.leaf(w));
    hook(y, [](const Var&) -> Var { throw std::runtime_error("hook"); });
    CHECK_THROWS_WITH_AS(tape.backward(sum(y)), "hook", std::runtime_error);
    CHECK_FALSE(w.grad().defined());
    CHECK_THROWS_WITH_AS(tape.backward(sum(y)), "hook", std::runtime_error);
  }
  Tape tape;
  tape.backward(sum(square(tape.leaf(w))));
  CHECK(w.grad().item() == 4);
}

TEST_CASE("hooks: wrong gradients, constants and other passes are refused") {
  const Parameter w = parameter({2, 3});
  Tape tape;
  const Var y = square(tape.leaf(w));
  hook(y, [](const Var& d) { return sum(d); });
  CHECK_THROWS_WITH_AS(tape.backward(sum(y)),
                       "[hook] the gradient it returned has shape () and is float64 but square has "
                       "shape (2) and is float64: they must be equal",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      retain_grad(Tensor::scalar(1)),
      "[retain_grad] the value to differentiate is a constant: it was not recorded "
      "on this tape; does it depend on a leaf, and was the tape recording?",
      UsageError);
  CHECK_THROWS_WITH_AS(hook(y, nullptr),
                       "[hook] the hook is empty: give it a function, or call retain_grad()",
                       UsageError);
}

TEST_CASE("hooks: backward goes down to them, gradient only to its x") {
  const Parameter w = parameter({2});
  Tape tape;
  const Var x = tape.leaf(w);
  retain_grad(x);
  const Var h = tanh(x);
  const Var a = sum(square(h)), b = sum(exp(h));
  (void)tape.gradient(a, {h});  // leaves alone what is below h
  CHECK_FALSE(grad(x).defined());
  tape.backward(b);
  CHECK(grad(x).item() == w.grad().item());
}

TEST_CASE("hooks: a loss without Parameters is refused before any hook runs") {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({1}, {3}, DType::float64));
  retain_grad(x);
  const Var loss = sum(square(x));
  CHECK_THROWS_WITH_AS(tape.backward(loss),
                       "[backward] the loss depends on no Parameter, so nothing would change: use "
                       "gradient() for other leaves",
                       UsageError);
  CHECK_FALSE(grad(x).defined());
  CHECK(tape.gradient(loss, {x})[0].item() == 6);  // the cure
}

TEST_CASE("hooks: one that differentiates what is still to be run is noticed") {
  const Parameter w = parameter({0.5});
  const auto run = [&](Tape::Options options) {
    Tape tape;
    const Var x = tape.leaf(w);
    const Var h = exp(x);
    const Var other = sum(square(h));
    const Var y = tanh(h);
    hook(y, [&](const Var&) {
      (void)tape.gradient(other, {x}, options);
      return Var();
    });
    tape.backward(sum(y));
  };
  CHECK_THROWS_WITH_AS(
      run({}),
      "[backward] the pass was differentiated before and the saved values of 'exp' "
      "are freed: make a Tape for each pass, inside the loop, or pass {.retain = true} to the "
      "first "
      "call",
      UsageError);
  CHECK_FALSE(w.grad().defined());
  run({.retain = true});
  CHECK(w.grad().defined());
}

TEST_CASE("hooks: very many of them cost no more than their number") {
  constexpr std::size_t steps = 100'000;
  const Parameter w = parameter({1});
  Tape tape;
  Vars values;
  Var y = tape.leaf(w);
  for (std::size_t t = 0; t < steps; ++t) {
    y = y + 1.0;
    retain_grad(y);
    values.push_back(y);
  }
  tape.backward(y);
  double total = 0;
  for (const Var& v : values) total += grad(v).item();
  CHECK(total == steps);
}

TEST_CASE("hooks: what would be recorded while nothing is recorded is refused") {
  const Parameter w = parameter({2});
  const std::string cure =
      " create_graph wants gradients recorded but the tape is paused, by pause() or because a hook "
      "or rule is running: call it outside";
  Tape tape;
  const Var x = tape.leaf(w);
  const Var y = sum(x * x * x);
  {
    const auto pause = tape.pause();
    CHECK_THROWS_WITH_AS((void)hvp(tape, y, {x}, {Tensor::full({1}, 1, DType::float64)}),
                         ("[gradient]" + cure).c_str(), UsageError);
    CHECK_THROWS_WITH_AS(tape.backward(y, {.create_graph = true}), ("[backward]" + cure).c_str(),
                         UsageError);
  }
  hook(y, [&](const Var&) {
    (void)tape.gradient(y, {x}, {.create_graph = true});
    return Var();
  });
  CHECK_THROWS_WITH_AS(tape.backward(y), ("[gradient]" + cure).c_str(), UsageError);
}

TEST_CASE("hooks: a tape forgets them with its pass") {
  int calls = 0;
  for (int pass = 0; pass < 3; ++pass) {
    const Parameter w = parameter({2});
    Tape tape;
    const Var x = tape.leaf(w);
    if (pass == 0) {
      hook(x, [&](const Var&) {
        ++calls;
        return Var();
      });
    }
    tape.backward(sum(x));
  }
  CHECK(calls == 1);
}

TEST_CASE("hooks: one that overwrites what it is shown is refused, at once or later") {
  const auto x = [] { return Tensor::of({2}, {1, 2}, DType::float64); };
  {
    Tape tape;
    const Var a = tape.leaf(x()), b = tape.leaf(x()), y = a + b;  // da and db are one tensor
    hook(a, [](const Var& d) {
      Tensor(d.value()).fill(100);
      return Var();
    });
    CHECK_THROWS_WITH_AS((void)tape.gradient(sum(y), {a, b}),
                         "[hook] the elements that were shown were overwritten: other values use "
                         "them; write into a clone(), and return that from a hook",
                         UsageError);
  }
  Tape tape;  // keeps what it is shown, and overwrites it when another hook is called
  const Var a = tape.leaf(x()), b = tape.leaf(x()), c = a + b, y = c * c;
  Tensor stolen;
  hook(c, [&](const Var& d) {
    stolen = d.value();
    return Var();
  });
  hook(b, [&](const Var&) {
    stolen.fill(100);
    return Var();
  });
  CHECK_THROWS_AS((void)tape.gradient(sum(y), {a, b}), UsageError);
}

TEST_CASE("rules: one that overwrites the gradient it is given is noticed") {
  Tape tape;
  const Var a = tape.leaf(Tensor::of({2}, {1, 2}, DType::float64));
  const auto vandal = [](const Var& x) {
    Node n("vandal", {x});
    Var y = n.out(x.value().clone());
    n.rule([](Grads& g) {
      Tensor d = g.d().value();
      d.fill(7);
      g.add(0, d);
    });
    return y;
  };
  const Var v = vandal(a), w = a * 1.0;
  CHECK_THROWS_AS((void)tape.gradient(sum(v + w), {a, w}), UsageError);
}

TEST_CASE("hooks: one that destroys its tape is refused, in the first and second order") {
  const std::string message =
      " the tape was destroyed while it was in use, by a hook, an observer or a rule: let it live "
      "until the call returns";
  for (const bool graph : {false, true}) {
    for (const bool backward : {false, true}) {
      const Parameter w = parameter({2});
      auto tape = std::make_unique<Tape>();
      const Var x = tape->leaf(w), y = square(x), loss = sum(exp(y));
      bool later = false;
      hook(y, [&](const Var&) {
        tape.reset();
        Tape other;  // must not be given the memory that is still in use
        (void)exp(other.leaf(Tensor::scalar(1)));
        return Var();
      });
      hook(x, [&](const Var&) {
        later = true;
        return Var();
      });
      CHECK_THROWS_WITH_AS(backward ? tape->backward(loss, {.create_graph = graph})
                                    : (void)tape->gradient(loss, {x}, {.create_graph = graph}),
                           ("[hook]" + message).c_str(), UsageError);
      CHECK_FALSE(later);
      CHECK_FALSE(w.data()->grad().defined());
      CHECK_THROWS_AS((void)(x * x), UsageError);  // the pass is over
    }
  }
  // From a rule, from a twin, from inside a sweep that a hook started, and while an op records.
  auto tape = std::make_unique<Tape>();
  const auto own = [&](const Var& x, bool twin) {
    Node n("own", {x});
    Var y = n.out(x.value());
    n.rule([&tape, x, twin](Grads& g) {
      if (!twin) return tape.reset();
      g.through(
          [&](const Vars& v) {
            tape.reset();
            return Vars{v[0] * 1.0};
          },
          {x});
    });
    return y;
  };
  for (const bool twin : {false, true}) {
    tape = std::make_unique<Tape>();
    const Var x = tape->leaf(Tensor::scalar(2));
    CHECK_THROWS_WITH_AS((void)tape->gradient(own(x, twin), {x}), ("[own]" + message).c_str(),
                         UsageError);
  }
  tape = std::make_unique<Tape>();
  const Var x = tape->leaf(Tensor::scalar(2)), y = square(x);
  int depth = 0;
  hook(y, [&](const Var&) {
    if (++depth == 2) {
      tape.reset();
    } else {
      (void)tape->gradient(y, {x}, {.retain = true});
    }
    return Var();
  });
  CHECK_THROWS_AS((void)tape->gradient(y, {x}), UsageError);
  tape = std::make_unique<Tape>();
  const Var z = tape->leaf(Tensor::scalar(2));
  Node n("midway", {z});
  tape.reset();
  Tape next;
  CHECK_THROWS_WITH_AS((void)n.out(Tensor::scalar(1)), ("[midway]" + message).c_str(), UsageError);
  CHECK(next.size() == 0);
}

TEST_CASE("hooks: with create_graph one that answers with a number is refused") {
  Tape tape;
  const Var x = tape.leaf(Tensor::scalar(3, DType::float64));
  const Var y = square(x);
  bool zero = true;
  hook(y, [&](const Var& d) {
    return Var(Tensor::scalar(zero ? 0 : 2 * d.value().item(), DType::float64));
  });
  CHECK(tape.gradient(y * y, {x}, {.create_graph = true})[0].item() == 0);  // cut: derivative 0
  zero = false;
  CHECK_THROWS_WITH_AS(
      (void)tape.gradient(y * y, {x}, {.create_graph = true}),
      "[hook] the gradient it returned was not recorded, so its derivative would be lost: with "
      "create_graph, compute it from the one given with ops on Vars, not from value()",
      UsageError);
  CHECK(tape.gradient(y * y, {x})[0].item() == 2 * 2 * 9 * 2 * 3);
}

TEST_CASE("retain_grad: what is returned is separate from everything") {
  const Parameter w = parameter({1, 2}), v = parameter({3, 4});
  Tape tape;
  const Var a = tape.leaf(w), b = tape.leaf(v), y = a + b;
  for (const Var& each : {a, b, y}) retain_grad(each);
  tape.backward(sum(y));
  for (const Var& each : {a, b, y}) {
    Tensor t = grad(each).value();
    t.fill(100);
  }
  for (const Var& each : {a, b, y}) CHECK(grad(each).value().at(1) == 1);
  CHECK(w.grad().at(0) == 1);
  CHECK(v.grad().at(1) == 1);
}
