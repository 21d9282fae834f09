#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../../optim/adam.h"
#include "../../optim/sgd.h"
#include "../oracles/goldens.h"
#include "../support/is_worse.h"

TEST_SUITE_BEGIN("goldens");

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

double worst_difference(const Tensor& ours, std::span<const double> theirs) {
  REQUIRE(ours.numel() == theirs.size());
  double worst = 0;
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    const double difference = std::abs(ours.at(i) - theirs[i]);
    if (is_worse(difference, worst)) worst = difference;
  }
  return worst;
}

Tensor fractions(const Shape& shape) {  // i / numel
  Tensor t = Tensor::empty(shape, DType::float64);
  double* values = t.mutable_data<double>();
  for (std::size_t i = 0; i < t.numel(); ++i)
    values[i] = static_cast<double>(i) / static_cast<double>(t.numel());
  return t;
}

}  // namespace

TEST_CASE("goldens: libtorch's LSTM, outputs, states and gradients") {
  Rng rng(1);
  LSTM lstm({.input = 2, .hidden = 2, .dtype = DType::float64}, rng);
  const Parameters all = parameters(lstm);
  for (const NamedParameter& p : all) p.set_value(fractions(p.value().shape()));
  Tensor x = Tensor::empty({3, 4, 2}, DType::float64);
  Tensor weights = Tensor::empty({3, 4, 2}, DType::float64);
  for (std::size_t i = 0; i < 24; ++i) {
    x.mutable_data<double>()[i] = (24 - static_cast<double>(i)) / 24;
    weights.mutable_data<double>()[i] = (static_cast<double>(i) + 1) / 24;
  }
  Tape tape;
  const Var in = tape.leaf(x);
  const LSTMResult r = lstm(tape, in);
  CHECK(worst_difference(r.y.value(), golden_lstm::published_y) <= 5.1e-5);
  CHECK(worst_difference(r.last.h.value(), golden_lstm::published_h) <= 5.1e-5);
  CHECK(worst_difference(r.last.c.value(), golden_lstm::published_c) <= 5.1e-5);
  CHECK(worst_difference(r.y.value(), golden_lstm::y) <= 1e-14);
  CHECK(worst_difference(r.last.c.value(), golden_lstm::c) <= 1e-14);
  const Var loss = sum(r.y * Var(weights));
  CHECK(std::abs(loss.item() - golden_lstm::loss) <= 1e-13);

  Vars leaves = {in};
  for (const NamedParameter& p : all) leaves.push_back(tape.leaf(p));
  const Vars d = tape.gradient(loss, leaves);
  const std::span<const double> theirs = golden_lstm::dparameters;
  CHECK(worst_difference(d[1].value(), theirs.subspan(0, 16)) <= 1e-12);
  CHECK(worst_difference(d[2].value(), theirs.subspan(16, 16)) <= 1e-12);
  CHECK(worst_difference(d[3].value(), theirs.subspan(32, 8)) <= 1e-12);
  CHECK(worst_difference(d[4].value(), theirs.subspan(32, 8)) <= 1e-12);
  for (std::size_t b = 0; b < 4; ++b) {
    for (std::size_t t = 0; t < 3; ++t) {
      for (std::size_t k = 0; k < 2; ++k) {
        CHECK(std::abs(d[0].value().at((t * 4 + b) * 2 + k) -
                       golden_lstm::dx[(b * 3 + t) * 2 + k]) <= 1e-12);
      }
    }
  }
}

namespace {

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(Parameters)>;

MakeOptimizer sgd(SGDOptions o) {
  return [o](Parameters p) { return std::make_unique<SGD>(std::move(p), o); };
}
MakeOptimizer adam(double weight_decay) {
  return [=](Parameters p) {
    return std::make_unique<Adam>(
        std::move(p),
        AdamOptions{.lr = 1, .weight_decay = weight_decay, .epsilon_form = AdamEpsilon::hat});
  };
}

struct Recorded {
  int steps;
  std::span<const double> weights;
};

/// Trains the recorded network in a closed loop, our tape computing the gradient at every step.
void check_trajectory(const std::string& name, const MakeOptimizer& make,
                      std::initializer_list<Recorded> samples) {
  const std::span<const double> start = golden_optimizers::start;
  const auto parameter = [&](const Shape& shape, std::size_t first) {
    return Parameter(Tensor::from<double>(shape, start.subspan(first, shape.numel())));
  };
  const Parameter w1 = parameter({3, 2}, 0), b1 = parameter({3}, 6), w2 = parameter({1, 3}, 9),
                  b2 = parameter({1}, 12);
  const std::unique_ptr<Optimizer> optimizer =
      make({{"w1", w1}, {"b1", b1}, {"w2", w2}, {"b2", b2}});
  const Tensor x = Tensor::of({3, 2}, {.1, .2, .3, .4, .5, .6}, DType::float64);
  int step = 0;
  for (const Recorded& sample : samples) {
    for (; step < sample.steps; ++step) {
      Tape tape;
      const Var hidden = sigmoid(linear(x, tape.leaf(w1), tape.leaf(b1)));
      const Var loss = sum(sigmoid(linear(hidden, tape.leaf(w2), tape.leaf(b2))));
      optimizer->zero_grad();
      tape.backward(loss);
      optimizer->step();
    }
    double worst = 0;
    std::size_t first = 0;
    for (const NamedParameter& p : optimizer->parameters()) {
      const double difference =
          worst_difference(p.value(), sample.weights.subspan(first, p.value().numel()));
      if (is_worse(difference, worst)) worst = difference;
      first += p.value().numel();
    }
    MESSAGE(name, " after ", sample.steps, " steps: worst weight differs by ", worst);
    CHECK(worst <= 1e-12);
  }
}

}  // namespace

TEST_CASE("goldens: libtorch's recorded optimizer runs") {
  using namespace golden_optimizers;
  check_trajectory("SGD, decay", sgd({.lr = .1, .weight_decay = .01}),
                   {{1, sgd_decay_0}, {1001, sgd_decay_1000}});
  check_trajectory("SGD, momentum and decay", sgd({.lr = .1, .momentum = .9, .weight_decay = .01}),
                   {{1001, sgd_momentum_1000}});
  check_trajectory("SGD, Nesterov",
                   sgd({.lr = .1, .momentum = .9, .nesterov = true, .weight_decay = 1e-6}),
                   {{101, sgd_nesterov_100}});
  check_trajectory("Adam, epsilon hat", adam(0), {{1, adam_0}, {101, adam_100}, {1001, adam_1000}});
  check_trajectory("Adam, epsilon hat, decay", adam(.01), {{1001, adam_decay_1000}});
}

// keras/src/optimizers/adam_test.py, test_single_step (tolerance 1e-4 there): lr 0.5, the variables
// 1, 2, 3, 4 with gradients 1, 6, 7, 2. The first step of Adam is lr, but for epsilon (1e-7 there),
// which makes it lr / (1 + epsilon / (sqrt(0.001) g)).
TEST_CASE("goldens: Keras' single step of Adam") {
  Parameter p(Tensor::of({4}, {1, 2, 3, 4}, DType::float64));
  const std::vector<double> published = {0.5, 1.5, 2.5, 3.5}, g = {1, 6, 7, 2};
  p.set_grad(Tensor::from<double>({4}, g));
  Adam adam({{"p", p}}, {.lr = 0.5, .epsilon = 1e-7, .epsilon_form = AdamEpsilon::hat});
  adam.step();
  std::vector<double> exact;
  for (double v = 1; const double d : g)
    exact.push_back(v++ - 0.5 / (1 + 1e-7 / (std::sqrt(0.001) * d)));
  CHECK(worst_difference(p.value(), published) <= 1e-5);
  CHECK(worst_difference(p.value(), exact) <= 1e-15);
}

TEST_SUITE_END();
