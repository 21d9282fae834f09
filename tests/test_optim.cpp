#include <doctest/doctest.h>

#include <cmath>

#include "../core/error.h"
#include "../layers/linear.h"
#include "../layers/module.h"
#include "../optim/adam.h"
#include "../optim/sgd.h"

using namespace tapegrad;

namespace {

NamedParameter parameter(const char* name, double value, double grad) {
  auto data = std::make_shared<ParameterData>();
  data->value = Tensor::full({2}, value, DType::float64);
  data->grad = Tensor::full({2}, grad, DType::float64);
  return {name, data};
}

}  // namespace

TEST_CASE("optim: SGD by hand") {
  const NamedParameter p = parameter("p", 2, 3);
  SGD plain({p}, {.lr = 0.1});
  plain.step();
  CHECK(p.value().at(0) == doctest::Approx(2 - 0.3));
  const NamedParameter q = parameter("q", 2, 3);
  SGD heavy({q}, {.lr = 0.1, .momentum = 0.5, .dampening = 0.2});
  heavy.step();  // v = 3
  heavy.step();  // v = 0.5 3 + 0.8 3 = 3.9
  CHECK(q.value().at(1) == doctest::Approx(2 - 0.3 - 0.39));
  CHECK(heavy.velocity(0).at(0) == doctest::Approx(3.9));
  const NamedParameter r = parameter("r", 2, 3);
  SGD nesterov({r}, {.lr = 0.1, .momentum = 0.5, .nesterov = true, .weight_decay = 0.5});
  nesterov.step();  // g = 4, v = 4, step 4 + 2
  CHECK(r.value().at(0) == doctest::Approx(2 - 0.6));
}

TEST_CASE(
    "optim: the first step of Adam has the size of the learning rate, whatever the gradient") {
  for (const double grad : {1e-3, 1.0, -1e3}) {
    const NamedParameter p = parameter("p", 0, grad);
    Adam adam({p}, {.lr = 0.01, .epsilon = 0});
    adam.step();
    CHECK(p.value().at(0) == doctest::Approx(-std::copysign(0.01, grad)));
  }
}

TEST_CASE("optim: the two places of epsilon differ as stated") {
  const double g = 1e-6, eps = 1e-8;
  const NamedParameter p = parameter("p", 0, g), q = parameter("q", 0, g);
  Adam documented({p}, {.lr = 1, .epsilon = eps});
  Adam hat({q}, {.lr = 1, .epsilon = eps, .epsilon_form = AdamEpsilon::hat});
  documented.step();
  hat.step();
  CHECK(p.value().at(0) == doctest::Approx(-g / (g + eps)).epsilon(1e-9));
  const double root = std::sqrt(0.001);
  CHECK(q.value().at(0) == doctest::Approx(-root / 0.1 * 0.1 * g / (root * g + eps)).epsilon(1e-9));
}

TEST_CASE("optim: float32 follows float64") {
  for (const bool with_adam : {false, true}) {
    const NamedParameter p = parameter("p", 1.5, 0.25);
    const NamedParameter q{
        "q", std::make_shared<ParameterData>(
                 ParameterData{p.value().to(DType::float32), p.grad().to(DType::float32), true})};
    for (const NamedParameter& n : {p, q}) {
      std::unique_ptr<Optimizer> o;
      if (with_adam) o = std::make_unique<Adam>(Parameters{n}, AdamOptions{.lr = 0.01});
      if (!with_adam)
        o = std::make_unique<SGD>(Parameters{n}, SGDOptions{.lr = 0.01, .momentum = 0.9});
      for (int i = 0; i < 10; ++i) o->step();
    }
    CHECK(q.value().at(0) == doctest::Approx(p.value().at(0)).epsilon(1e-6));
  }
}

TEST_CASE("optim: step never writes a gradient, zero_grad forgets it") {
  const NamedParameter p = parameter("p", 1, 3);
  Adam adam({p}, {.lr = 0.1, .weight_decay = 0.1});
  adam.step();
  CHECK(p.grad().at(0) == 3);
  adam.zero_grad();
  CHECK_FALSE(p.grad().defined());
}

TEST_CASE("optim: frozen parameters and those without gradient stay, and so does their state") {
  const NamedParameter moving = parameter("moving", 1, 1), frozen = parameter("frozen", 1, 1),
                       idle = parameter("idle", 1, 1);
  frozen.data->requires_grad = false;
  idle.data->grad = Tensor();
  Adam adam({moving, frozen, idle}, {.lr = 0.1, .weight_decay = 0.5});
  adam.step();
  CHECK(moving.value().at(0) != 1);
  CHECK(frozen.value().at(0) == 1);
  CHECK(idle.value().at(0) == 1);
  CHECK(adam.state(0).steps == 1);
  CHECK(adam.state(2).steps == 0);
  CHECK_FALSE(adam.state(2).m.defined());
  idle.data->grad = Tensor::full({2}, 1, DType::float64);
  adam.step();  // its first step: bias is corrected with t = 1
  CHECK(idle.value().at(0) == doctest::Approx(0.9));
}

TEST_CASE("optim: an optimizer stays valid when its model moves") {
  Rng rng(1);
  Linear model(2, 2, rng);
  SGD sgd(parameters(model), {.lr = 1});
  const Linear moved = std::move(model);
  moved.weight.data()->grad = Tensor::full({2, 2}, 1);
  const double before = moved.weight.value().at(0);
  sgd.step();
  CHECK(moved.weight.value().at(0) == doctest::Approx(before - 1));
}

TEST_CASE("optim: messages") {
  const NamedParameter p = parameter("encoder.weight", 1, 1);
  const NamedParameter again{"decoder.weight", p.data};
  CHECK_THROWS_WITH_AS(SGD({}, {.lr = 0.1}),
                       "[SGD] there are no parameters: nothing could be learned", UsageError);
  CHECK_THROWS_WITH_AS(Adam({p, again}),
                       "[Adam] encoder.weight and decoder.weight are the same parameter: it would "
                       "move twice a step; "
                       "name it once",
                       UsageError);
  CHECK_THROWS_WITH_AS(SGD({p}, {.lr = -0.1}), "[SGD] lr is -0.1: it must be in [0, inf)",
                       UsageError);
  CHECK_THROWS_WITH_AS(SGD({p}, {.lr = NAN}), "[SGD] lr is nan: it must be in [0, inf)",
                       UsageError);
  CHECK_THROWS_WITH_AS(SGD({p}, {.lr = 0.1, .momentum = 1}),
                       "[SGD] momentum is 1: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(SGD({p}, {.lr = 0.1, .nesterov = true}),
                       "[SGD] nesterov needs momentum > 0 and dampening = 0", UsageError);
  CHECK_THROWS_WITH_AS(Adam({p}, {.beta2 = 1.5}), "[Adam] beta2 is 1.5: it must be in [0, 1)",
                       UsageError);
  CHECK_THROWS_WITH_AS(Adam({p}, {.epsilon = -1}), "[Adam] epsilon is -1: it must be in [0, inf)",
                       UsageError);
  Adam adam({p});
  CHECK_THROWS_AS(adam.set_learning_rate(INFINITY), UsageError);
  CHECK(adam.learning_rate() == 1e-3);
}
