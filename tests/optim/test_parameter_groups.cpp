#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "../../core/error.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../optim/adam.h"
#include "../../optim/sgd.h"
#include "../support/kernel_cases.h"

// Several groups of Parameters in one optimizer: each moves as if it had an optimizer of its own.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Three Parameters of both dtypes, and gradients that depend on the step.
struct Weights {
  Parameter a, b, c;

  Weights() {
    Rng rng(3);
    a = Parameter(rng.normal({4, 3}, 0, 1, DType::float64));
    b = Parameter(rng.normal({7}, 0, 1, DType::float64));
    c = Parameter(rng.normal({5}, 0, 1, DType::float32));
  }
  Parameters first() const { return {{"a", a}, {"b", b}}; }
  Parameters second() const { return {{"c", c}}; }
  Parameters all() const { return {{"a", a}, {"b", b}, {"c", c}}; }

  void draw_gradients(std::uint64_t step) const {
    Rng rng(step, "gradients");
    for (const NamedParameter& p : all())
      p.set_grad(rng.normal(p.value().shape(), 0, 1, p.value().dtype()));
  }
};

void check_same_bits(const Parameters& x, const Parameters& y) {
  REQUIRE(x.size() == y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    INFO(x[i].name);
    CHECK(same_bits(x[i].value(), y[i].value()));
  }
}

/// Ten steps of one optimizer with two groups, and of two optimizers; one rate changes on the way.
template <class Optimizer, class Options>
void check_like_two(const Options& one, const Options& other) {
  const Weights grouped, apart;
  Optimizer both({{grouped.first(), one}, {grouped.second(), other}});
  Optimizer x(apart.first(), one), y(apart.second(), other);
  for (std::uint64_t step = 0; step < 10; ++step) {
    grouped.draw_gradients(step);
    apart.draw_gradients(step);
    if (step == 5) {
      both.set_learning_rate(0.3, 1);
      y.set_learning_rate(0.3);
    }
    both.step();
    x.step();
    y.step();
  }
  check_same_bits(grouped.all(), apart.all());
  // And the options do make a difference.
  const Weights alike;
  Optimizer single(alike.all(), one);
  for (std::uint64_t step = 0; step < 10; ++step) {
    alike.draw_gradients(step);
    single.step();
  }
  CHECK(alike.a.value().at(0) == grouped.a.value().at(0));
  CHECK(alike.c.value().at(0) != grouped.c.value().at(0));
}

}  // namespace

TEST_CASE("parameter groups: two groups move as two optimizers would, bit for bit") {
  check_like_two<Adam, AdamOptions>({.lr = 1e-3, .weight_decay = 0.1},
                                    {.lr = 1e-2, .beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-4});
  check_like_two<Adam, AdamOptions>({}, {.epsilon_form = AdamEpsilon::hat});
  check_like_two<SGD, SGDOptions>({.lr = 0.1}, {.lr = 0.01, .momentum = 0.9, .nesterov = true});
  check_like_two<SGD, SGDOptions>({.lr = 0.1, .momentum = 0.5, .dampening = 0.5},
                                  {.lr = 0.1, .weight_decay = 0.5});
}

TEST_CASE("parameter groups: only a group with momentum remembers a velocity") {
  const Weights w;
  SGD sgd({{w.first(), {.lr = 0.1}}, {w.second(), {.lr = 0.1, .momentum = 0.9}}});
  w.draw_gradients(0);
  sgd.step();
  CHECK_FALSE(sgd.velocity(0).defined());
  CHECK_FALSE(sgd.velocity(1).defined());
  CHECK(sgd.velocity(2).defined());
}

TEST_CASE("parameter groups: learning rates, of one group and of all") {
  const Weights w;
  Adam adam({{w.first(), {.lr = 1e-3}}, {w.second(), {.lr = 1e-2}}});
  CHECK(adam.groups() == 2);
  CHECK(adam.parameters().size() == 3);
  CHECK(adam.group_of(1) == 0);
  CHECK(adam.group_of(2) == 1);
  CHECK(adam.learning_rate() == 1e-3);
  CHECK(adam.learning_rate(1) == 1e-2);
  adam.set_learning_rate(0.5, 1);
  CHECK(adam.learning_rate(0) == 1e-3);
  CHECK(adam.learning_rate(1) == 0.5);
  adam.set_learning_rate(0.25);
  CHECK(adam.learning_rate(0) == 0.25);
  CHECK(adam.learning_rate(1) == 0.25);
  const char* no_group = "[Adam] there is no group 2: it must be in [0, 2)";
  CHECK_THROWS_WITH_AS(adam.learning_rate(2), no_group, UsageError);
  CHECK_THROWS_WITH_AS(adam.set_learning_rate(0.1, 2), no_group, UsageError);
  CHECK_THROWS_WITH_AS(adam.set_learning_rate(-1, 1),
                       "[Adam] in group 1 lr is -1: it must be in [0, inf)", UsageError);
  CHECK(adam.learning_rate(1) == 0.25);
}

TEST_CASE("parameter groups: one group in braces is one group") {
  const Weights w;
  CHECK(Adam({{w.all(), {.lr = 0.5}}}).learning_rate() == 0.5);
  CHECK(Adam({{"a", w.a}}).parameters()[0].name == "a");
  CHECK(Adam({{"a", w.a}, {"b", w.b}}).groups() == 1);
}

TEST_CASE("parameter groups: bad groups, with whole messages that name them") {
  const Weights w;
  CHECK_THROWS_WITH_AS(Adam(std::vector<Adam::Group>{}), "[Adam] there are no groups: give one",
                       UsageError);
  CHECK_THROWS_WITH_AS(SGD({{w.first(), {.lr = 1}}, {Parameters{}, {.lr = 1}}}),
                       "[SGD] in group 1 there are no parameters: nothing could be learned; "
                       "construct the model first, and do not use it after a move",
                       UsageError);
  CHECK_THROWS_WITH_AS(
      SGD({{w.first(), {.lr = 1}}, {{{"tied", w.b}}, {.lr = 1}}}),
      "[SGD] b of group 0 and tied of group 1 are the same parameter: it would move twice a step; "
      "name it once",
      UsageError);
  CHECK_THROWS_WITH_AS(Adam({{w.first(), {}}, {{{"c", Parameter()}}, {}}}),
                       "[Adam] c of group 1 is undefined: it must have a value", UsageError);
  const Parameter ids(Tensor::of({2}, {1, 2}, DType::int32));
  CHECK_THROWS_WITH_AS(Adam({{w.first(), {}}, {{{"ids", ids}}, {}}}),
                       "[Adam] ids of group 1 is int32: it must be float32 or float64", DtypeError);
  CHECK_THROWS_WITH_AS(SGD({{w.first(), {.lr = 1}}, {w.second(), {}}}),
                       "[SGD] in group 1 lr is nan: it must be in [0, inf)", UsageError);
  CHECK_THROWS_WITH_AS(Adam({{w.first(), {}}, {w.second(), {.beta2 = 1}}}),
                       "[Adam] in group 1 beta2 is 1: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(Adam({{w.first(), {.epsilon = 0}}, {w.second(), {}}}),
                       "[Adam] in group 0 epsilon is 0: it must be greater, or a gradient of 0 "
                       "divides 0 by 0",
                       UsageError);
  CHECK_THROWS_WITH_AS(SGD({{w.first(), {.lr = 1}}, {w.second(), {.lr = 1, .nesterov = true}}}),
                       "[SGD] in group 1 nesterov needs momentum > 0 and dampening = 0",
                       UsageError);
  CHECK_THROWS_WITH_AS(SGD({{w.first(), {.lr = 1}}, {w.second(), {.lr = 1, .dampening = 0.5}}}),
                       "[SGD] in group 1 dampening needs momentum > 0, which it dampens",
                       UsageError);
}

TEST_CASE("parameter groups: a moved-from model, and the parameters of another model") {
  Rng rng(1);
  Linear model(2, 2, rng), stranger(2, 2, rng);
  Adam adam(parameters(stranger));
  model.weight.set_grad(Tensor::zeros({2, 2}));
  CHECK_THROWS_WITH_AS(adam.step(),
                       "[Adam] no parameter has a gradient, so nothing would move: call backward() "
                       "first, with a loss of the model that these parameters belong to",
                       UsageError);
  const Linear taken = std::move(model);
  CHECK_THROWS_WITH_AS(Adam(parameters(model)),  // NOLINT(bugprone-use-after-move): the point
                       "[Adam] there are no parameters: nothing could be learned; construct the "
                       "model first, and do not use it after a move",
                       UsageError);
}
