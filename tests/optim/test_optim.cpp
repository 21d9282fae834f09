#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../../core/threads.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../optim/adam.h"
#include "../../optim/sgd.h"
#include "../support/is_worse.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// A Parameter of one axis.
Parameter vector_of(std::initializer_list<double> values, DType dtype = DType::float64) {
  return Parameter(Tensor::of({values.size()}, values, dtype));
}

void set_grad(Parameter& p, std::initializer_list<double> values) {
  p.set_grad(Tensor::of({values.size()}, values, p.value().dtype()));
}

void check_near(const Tensor& t, std::initializer_list<double> expected, double bound = 1e-15) {
  REQUIRE(t.numel() == expected.size());
  for (std::size_t i = 0; const double e : expected) {
    CHECK(std::abs(t.at(i++) - e) <= bound * std::max(1.0, std::abs(e)));
  }
}

void check_bits(const Tensor& t, std::initializer_list<double> expected) {
  check_near(t, expected, 0);
}

}  // namespace

// --- SGD ---

TEST_CASE("optim: SGD by hand") {
  Parameter p = vector_of({1, -2});
  SGD sgd({{"p", p}}, {.lr = 0.1});
  set_grad(p, {0.5, 1});
  sgd.step();
  check_near(p.value(), {0.95, -2.1});
  CHECK(!sgd.velocity(0).defined());
  sgd.set_learning_rate(0.5);
  CHECK(sgd.learning_rate() == 0.5);
  sgd.step();
  check_near(p.value(), {0.7, -2.6});
  sgd.set_learning_rate(0);
  sgd.step();
  check_near(p.value(), {0.7, -2.6});
}

TEST_CASE("optim: SGD with weight decay by hand") {
  Parameter p = vector_of({1, -2});
  set_grad(p, {0.5, 1});
  SGD({{"p", p}}, {.lr = 0.1, .weight_decay = 0.25}).step();
  check_near(p.value(), {1 - 0.1 * 0.75, -2 - 0.1 * 0.5});
}

TEST_CASE("optim: SGD with momentum by hand: the first step is not dampened") {
  Parameter p = vector_of({1});
  SGD sgd({{"p", p}}, {.lr = 0.1, .momentum = 0.5, .dampening = 0.25});
  set_grad(p, {2});
  sgd.step();  // b = 2
  check_near(p.value(), {0.8});
  check_near(sgd.velocity(0), {2});
  set_grad(p, {4});
  sgd.step();  // b = 0.5 * 2 + 0.75 * 4 = 4
  check_near(p.value(), {0.4});
  set_grad(p, {-8});
  sgd.step();  // b = 0.5 * 4 - 0.75 * 8 = -4
  check_near(p.value(), {0.8});
  check_near(sgd.velocity(0), {-4});
}

TEST_CASE("optim: SGD with Nesterov's momentum by hand") {
  Parameter p = vector_of({1});
  SGD sgd({{"p", p}}, {.lr = 0.1, .momentum = 0.5, .nesterov = true});
  set_grad(p, {2});
  sgd.step();  // b = 2, 2 + 0.5 * 2 = 3
  check_near(p.value(), {0.7});
  set_grad(p, {4});
  sgd.step();  // b = 5, 4 + 0.5 * 5 = 6.5
  check_near(p.value(), {0.05});
}

// --- Adam ---

TEST_CASE("optim: Adam by hand: the first step, where the forms of epsilon differ most") {
  for (const AdamEpsilon form : {AdamEpsilon::after_correction, AdamEpsilon::hat}) {
    Parameter p = vector_of({1, 1});
    Adam adam({{"p", p}}, {.lr = 0.5, .epsilon = 1, .epsilon_form = form});
    set_grad(p, {3, -3});
    adam.step();
    // m = 0.3, v = 0.009: corrected 3 and 9; hat: 0.5 sqrt(0.001) / 0.1 * 0.3 / (sqrt(0.009) + 1)
    const double by = form == AdamEpsilon::hat ? 1.5 * std::sqrt(0.001) / (1 + std::sqrt(0.009))
                                               : 0.5 * 3 / (3 + 1);
    check_near(p.value(), {1 - by, 1 + by}, 1e-13);
    check_near(adam.state(0).m, {0.3, -0.3});
    check_near(adam.state(0).v, {0.009, 0.009});
    CHECK(adam.state(0).steps == 1);
  }
}

TEST_CASE("optim: Adam over ten steps is the paper's algorithm 1, line by line") {
  Parameter p = vector_of({0.3});
  Adam adam({{"p", p}},
            {.lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3, .weight_decay = 0.1});
  double theta = 0.3, m = 0, v = 0;
  for (int t = 1; t <= 10; ++t) {
    const double drawn = std::cos(t) + 0.2;
    set_grad(p, {drawn});
    adam.step();
    const double g = drawn + 0.1 * theta;
    m = 0.8 * m + (1 - 0.8) * g;
    v = 0.95 * v + (1 - 0.95) * g * g;
    const double m_hat = m / (1 - std::pow(0.8, t)), v_hat = v / (1 - std::pow(0.95, t));
    theta -= 0.02 * m_hat / (std::sqrt(v_hat) + 1e-3);
    check_near(p.value(), {theta}, 1e-14);
  }
}

TEST_CASE("optim: Adam without correction of biases is the published AMSGrad, line by line") {
  for (const bool decoupled : {false, true}) {
    Parameter p = vector_of({0.3});
    const Parameters ps{{"p", p}};
    const AdamOptions options{.lr = 0.02,
                              .beta1 = 0.8,
                              .beta2 = 0.5,
                              .epsilon = 1e-3,
                              .amsgrad = true,
                              .bias_correction = false};
    Adam adam(ps, options);
    AdamW adam_w(ps, {.lr = 0.02,
                      .beta1 = 0.8,
                      .beta2 = 0.5,
                      .epsilon = 1e-3,
                      .weight_decay = 0,
                      .amsgrad = true,
                      .bias_correction = false});
    Adam& chosen = decoupled ? adam_w : adam;
    double x = 0.3, m = 0, v = 0, v_max = 0;
    for (int t = 1; t <= 10; ++t) {
      const double g = std::cos(t) + 0.2;
      set_grad(p, {g});
      chosen.step();
      m = 0.8 * m + (1 - 0.8) * g;
      v = 0.5 * v + (1 - 0.5) * g * g;
      v_max = std::max(v_max, v);
      x -= 0.02 * m / (std::sqrt(v_max) + 1e-3);
      check_near(p.value(), {x}, 1e-14);
    }
  }
}

TEST_CASE("optim: Adam with betas of 0 moves by the sign of the gradient") {
  Parameter p = vector_of({1, 1, 1});
  set_grad(p, {1e-3, -7, 0});
  Adam({{"p", p}}, {.lr = 0.25, .beta1 = 0, .beta2 = 0, .epsilon = 1e-15}).step();
  check_near(p.value(), {0.75, 1.25, 1}, 1e-12);
}

// --- what all optimizers share ---

TEST_CASE("optim: frozen Parameters and those without gradient are left alone, with their state") {
  Parameter a = vector_of({1}), b = vector_of({1}), c = vector_of({1});
  const Parameters all = {{"a", a}, {"b", b}, {"c", c}};
  SGD sgd(all, {.lr = 0.1, .momentum = 0.5});
  Adam adam(all, {.lr = 0.1, .weight_decay = 0.1});
  c.set_requires_grad(false);
  for (int i = 0; i < 2; ++i) {
    set_grad(a, {1});
    set_grad(c, {1});
    sgd.step();
    adam.step();
  }
  check_bits(b.value(), {1});
  check_bits(c.value(), {1});
  CHECK(!sgd.velocity(1).defined());
  CHECK(!adam.state(1).m.defined());
  CHECK(!adam.state(2).v.defined());
  CHECK(adam.state(0).steps == 2);
  CHECK(adam.state(1).steps == 0);

  a.zero_grad();
  const Tensor m = adam.state(0).m.clone(), momentum = sgd.velocity(0).clone();
  set_grad(b, {3});
  const double before = a.value().item();
  sgd.step();
  check_near(b.value(), {0.7});  // its own first step: not the third one of the optimizer
  b.data()->set_value(Tensor::of({1}, {1}, DType::float64));
  adam.step();
  check_near(b.value(), {0.9}, 1e-8);
  CHECK(a.value().item() == before);
  CHECK(adam.state(0).m.item() == m.item());
  CHECK(sgd.velocity(0).item() == momentum.item());
}

TEST_CASE("optim: step leaves gradients alone; zero_grad makes them undefined, backward fresh") {
  Parameter p = vector_of({3});
  Adam adam({{"p", p}});
  const auto backward = [&] {
    Tape tape;
    tape.backward(sum(square(tape.leaf(p))));
  };
  backward();
  const Tensor grad = p.grad();
  const auto version = grad.version();
  adam.step();
  CHECK(p.grad().shares_elements_with(grad));
  CHECK(grad.version() == version);
  check_bits(grad, {6});
  adam.zero_grad();
  CHECK(!p.grad().defined());
  CHECK_THROWS_WITH_AS(adam.step(),
                       "[Adam] no parameter has a gradient, so nothing would move: call backward() "
                       "first, with a loss of the model that these parameters belong to",
                       UsageError);
  CHECK(adam.state(0).steps == 1);
  backward();
  check_near(p.grad(), {2 * p.value().item()});
  check_bits(grad, {6});
}

TEST_CASE("optim: step raises the version of a value, so that a pass notices") {
  Parameter p = vector_of({1});
  set_grad(p, {1});
  const Var before = p.value();
  SGD({{"p", p}}, {.lr = 1}).step();
  CHECK_THROWS_AS(before.value(), UsageError);
}

TEST_CASE("optim: an optimizer outlives a move of the model") {
  Rng rng(1);
  Linear first(1, 1, rng, {.bias = false, .dtype = DType::float64});
  SGD sgd(parameters(first), {.lr = 1, .momentum = 0.5});
  const Linear second = std::move(first);
  second.weight.data()->set_value(Tensor::of({1, 1}, {2}, DType::float64));
  second.weight.data()->set_grad(Tensor::of({1, 1}, {1}, DType::float64));
  sgd.step();
  sgd.step();
  CHECK(second.weight.value().item() == 2 - 1 - 1.5);
}

TEST_CASE("optim: large Parameters: every element moves, the same for any number of threads" *
          doctest::test_suite("threads")) {
  constexpr std::size_t n = 300001;
  for (const DType dtype : {DType::float32, DType::float64}) {
    std::vector<Tensor> results;
    for (const std::size_t count : {1U, 3U}) {
      set_threads(count);
      Rng rng(7);
      Parameter p(rng.normal({n}, 0, 1, dtype));
      const Tensor start = p.value().clone();
      p.set_grad(rng.normal({n}, 0, 1, dtype));
      const Parameters all = {{"p", p}};
      Adam adam(all, {.lr = 0.125, .epsilon = 1e-30});
      SGD sgd(all, {.lr = 0.5, .momentum = 0.5});
      adam.step();
      double worst = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const double sign = p.grad().at(i) > 0 ? 1 : -1;
        const double error = std::abs(p.value().at(i) - (start.at(i) - 0.125 * sign));
        if (is_worse(error, worst)) worst = error;
      }
      CHECK(worst < (dtype == DType::float32 ? 1e-6 : 1e-12));
      sgd.step();
      results.push_back(p.value().clone());
    }
    set_threads(1);
    std::size_t different = 0;
    for (std::size_t i = 0; i < n; ++i) different += results[0].at(i) != results[1].at(i);
    CHECK(different == 0);
  }
}

TEST_CASE("optim: float32 follows float64 to rounding over 100 steps") {
  const auto train = [](DType dtype, auto make) {
    Parameter p = vector_of({1, -0.5, 0.25}, dtype);
    auto optimizer = make(Parameters{{"p", p}});
    for (int t = 0; t < 100; ++t) {
      Tape tape;
      const Var target = Tensor::of({3}, {0.5, 0.25, 3}, dtype);
      optimizer.zero_grad();
      tape.backward(sum(square(tape.leaf(p) - target)));
      optimizer.step();
      CHECK(p.value().dtype() == dtype);
    }
    return p.value();
  };
  const auto compare = [&](auto make) {
    const Tensor a = train(DType::float32, make), b = train(DType::float64, make);
    for (std::size_t i = 0; i < 3; ++i) CHECK(std::abs(a.at(i) - b.at(i)) < 2e-5);
  };
  compare([](const Parameters& all) { return Adam(all, {.lr = 1e-2}); });
  compare([](const Parameters& all) { return SGD(all, {.lr = 1e-2, .momentum = 0.9}); });
}

// --- bad input ---

TEST_CASE("optim: bad Parameters, with whole messages") {
  const Parameter ids(Tensor::of({2}, {1, 2}, DType::int32));
  CHECK_THROWS_WITH_AS(Adam({{"ids", ids}}), "[Adam] ids is int32: it must be float32 or float64",
                       DtypeError);
  CHECK_THROWS_WITH_AS(Adam({{"bias", Parameter(Tensor())}}),
                       "[Adam] bias is undefined: it must have a value", UsageError);
}

TEST_CASE("optim: options out of range, with whole messages") {
  Parameter p = vector_of({1});
  const Parameters all = {{"p", p}};
  const auto sgd = [&](const SGDOptions& o) { SGD s(all, o); };
  const auto adam = [&](const AdamOptions& o) { Adam a(all, o); };
  CHECK_THROWS_WITH_AS(sgd({}), "[SGD] lr is nan: it must be in [0, inf)", UsageError);
  CHECK_THROWS_WITH_AS(sgd({.lr = -1}), "[SGD] lr is -1: it must be in [0, inf)", UsageError);
  CHECK_THROWS_WITH_AS(sgd({.lr = INFINITY}), "[SGD] lr is inf: it must be in [0, inf)",
                       UsageError);
  CHECK_THROWS_WITH_AS(sgd({.lr = 1, .momentum = 1}), "[SGD] momentum is 1: it must be in [0, 1)",
                       UsageError);
  CHECK_THROWS_WITH_AS(sgd({.lr = 1, .momentum = -0.1}),
                       "[SGD] momentum is -0.1: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(sgd({.lr = 1, .momentum = 0.9, .dampening = 1.5}),
                       "[SGD] dampening is 1.5: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(sgd({.lr = 1, .dampening = 0.5}),
                       "[SGD] dampening needs momentum > 0, which it dampens", UsageError);
  CHECK_THROWS_WITH_AS(sgd({.lr = 1, .weight_decay = INFINITY}),
                       "[SGD] weight_decay is inf: it must be in [0, inf)", UsageError);
  CHECK_THROWS_WITH_AS(sgd({.lr = 1, .nesterov = true}),
                       "[SGD] nesterov needs momentum > 0 and dampening = 0", UsageError);
  CHECK_THROWS_WITH_AS(sgd({.lr = 1, .momentum = 0.9, .dampening = 0.5, .nesterov = true}),
                       "[SGD] nesterov needs momentum > 0 and dampening = 0", UsageError);
  CHECK_THROWS_WITH_AS(adam({.lr = NAN}), "[Adam] lr is nan: it must be in [0, inf)", UsageError);
  CHECK_THROWS_WITH_AS(adam({.beta1 = 1}), "[Adam] beta1 is 1: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(adam({.beta2 = 1.5}), "[Adam] beta2 is 1.5: it must be in [0, 1)",
                       UsageError);
  CHECK_THROWS_WITH_AS(adam({.beta2 = NAN}), "[Adam] beta2 is nan: it must be in [0, 1)",
                       UsageError);
  CHECK_THROWS_WITH_AS(adam({.epsilon = 0}),
                       "[Adam] epsilon is 0: it must be greater, or a gradient of 0 divides 0 by 0",
                       UsageError);
  CHECK_THROWS_WITH_AS(adam({.weight_decay = -0.01}),
                       "[Adam] weight_decay is -0.01: it must be in [0, inf)", UsageError);
  Adam good(all);
  CHECK_THROWS_WITH_AS(good.set_learning_rate(-1), "[Adam] lr is -1: it must be in [0, inf)",
                       UsageError);
  CHECK(good.learning_rate() == 1e-3);
}
