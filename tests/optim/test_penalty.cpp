#include <doctest/doctest.h>

#include <cmath>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../../optim/penalty.h"
#include "../../optim/sgd.h"
#include "../support/kernel_cases.h"
#include "../support/message.h"

using namespace tapegrad;
using namespace tapegrad::testing;

TEST_CASE("penalty: by hand: sign and value are added to the gradients") {
  for (const DType dtype : float_types) {
    Parameter p(Tensor::of({4}, {2, -0.5, 0, -4}, dtype)), other(Tensor::of({1}, {3}, dtype));
    p.set_grad(Tensor::of({4}, {1, 1, 1, 1}, dtype));
    other.set_grad(Tensor::of({1}, {-1}, dtype));
    const Tensor old = p.grad();  // whoever holds a gradient keeps it
    CHECK(add_penalty({{"p", p}}, {.l1 = 0.25, .l2 = 0.5}) ==
          0.25 * 6.5 + 0.5 / 2 * (4 + 0.25 + 16));
    check_values(p.grad(), {4}, dtype, {1 + 0.25 + 1, 1 - 0.25 - 0.25, 1, 1 - 0.25 - 2});
    check_values(old, {4}, dtype, {1, 1, 1, 1});
    CHECK(add_penalty({{"p", p}}, {}) == 0);
    CHECK(p.grad().at(0) == 2.25);
    CHECK(other.grad().item() == -1);
  }
}

TEST_CASE("penalty: gradients and value are those of the penalty as a part of the loss") {
  const Tensor start = random_tensor({3, 5}, DType::float64);
  Parameter a(start.clone()), b(start.clone());
  const auto loss = [](const Var& w) { return sum(square(w) * w); };
  Tape tape;
  const Var w = tape.leaf(a);
  const Var whole = loss(w) + 1e-2 * sum(abs(w)) + 0.3 / 2 * sum(square(w));
  tape.backward(whole);
  Tape plain;
  const Var part = loss(plain.leaf(b));
  plain.backward(part);
  const double total = part.item() + add_penalty({{"b", b}}, {.l1 = 1e-2, .l2 = 0.3});
  CHECK(std::abs(total - whole.item()) <= 1e-14 * std::abs(total));
  check_values(b.grad(), {3, 5}, DType::float64, values_of(a.grad()), 4);
}

TEST_CASE("penalty: l2 is what the optimizers call weight_decay, to the bit, on any threads" *
          doctest::test_suite("threads")) {
  for (const DType dtype : float_types) {
    for (const std::size_t count : {1U, 3U}) {
      set_threads(count);
      const Tensor value = random_tensor({140001}, dtype, 1);
      Parameter a(value.clone()), b(value.clone());
      a.set_grad(random_tensor({140001}, dtype, 2));
      b.set_grad(a.grad());
      SGD({{"a", a}}, {.lr = 0.1, .weight_decay = 0.01}).step();
      const double penalty = add_penalty({{"b", b}}, {.l2 = 0.01});
      SGD({{"b", b}}, {.lr = 0.1}).step();
      CHECK(same_bits(a.value(), b.value()));
      double squares = 0;
      for (const double x : values_of(value)) squares += x * x;
      CHECK(std::abs(penalty - 0.01 / 2 * squares) <= 1e-12 * penalty);
    }
  }
  set_threads(1);
}

TEST_CASE(
    "penalty: a Parameter without gradient is left alone; one that is named twice counts once") {
  Parameter p(Tensor::of({1}, {2}, DType::float64)), idle(Tensor::of({1}, {9}, DType::float64));
  p.set_grad(Tensor::of({1}, {0}, DType::float64));
  CHECK(add_penalty({{"p", p}, {"idle", idle}, {"again", p}}, {.l1 = 1}) == 2);
  CHECK(p.grad().item() == 1);
  CHECK(!idle.grad().defined());
}

TEST_CASE("penalty: what is refused, with nothing changed") {
  Parameter p(Tensor::of({1}, {2}, DType::float64));
  const Parameters all{{"p", p}};
  CHECK(message_of([&] { add_penalty(all, {.l1 = 1}); }) ==
        "[add_penalty] none of the 1 parameters has a gradient to add to: call backward() first");
  p.set_grad(Tensor::of({1}, {7}, DType::float64));
  CHECK(message_of([&] { add_penalty(all, {.l1 = -1}); }) ==
        "[add_penalty] l1 is -1: it must be finite and not negative");
  CHECK(message_of([&] { add_penalty(all, {.l1 = 1, .l2 = NAN}); }) ==
        "[add_penalty] l2 is nan: it must be finite and not negative");
  CHECK(message_of([&] { add_penalty(all, {.l2 = INFINITY}); }) ==
        "[add_penalty] l2 is inf: it must be finite and not negative");
  CHECK(
      message_of([&] { add_penalty(all, {.l1 = 1e-310}); }) ==
      "[add_penalty] l1 is 1e-310, which float64, of p, does not hold: give 0 or a number that it "
      "holds");
  Parameter narrow(Tensor::of({1}, {2}));
  narrow.set_grad(Tensor::of({1}, {7}));
  for (const double l2 : {1e-39, 1e39}) {
    CHECK_THROWS_AS(add_penalty(all + Parameters{{"narrow", narrow}}, {.l2 = l2}), UsageError);
  }
  CHECK(narrow.grad().item() == 7);
  CHECK(p.grad().item() == 7);
}
