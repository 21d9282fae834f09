// 1000 recorded gradients fed to every optimizer: the values that PyTorch, or the paper written
// line by line, makes of them; float32; a training that is saved and goes on; threads; what is
// refused.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../core/threads.h"
#include "../../optim/adagrad.h"
#include "../../optim/adam.h"
#include "../../optim/adamax.h"
#include "../../optim/nadam.h"
#include "../../optim/rmsprop.h"
#include "../../optim/sgd.h"
#include "../fixtures/optimizers.h"
#include "../support/kernel_cases.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Make = std::function<std::unique_ptr<Optimizer>(const Parameters&)>;

template <class T, class Options>
Make make(const Options& options) {
  return [options](const Parameters& all) { return std::make_unique<T>(all, options); };
}

/// Optimizers with the options that make_optimizers.py gives PyTorch's.
std::map<std::string, Make> optimizers() {
  const SGDOptions momentum{.lr = 0.01, .momentum = 0.9, .dampening = 0.25, .weight_decay = 0.125};
  const SGDOptions nesterov{.lr = 0.01, .momentum = 0.75, .nesterov = true};
  const AdamOptions adam{
      .lr = 0.01, .beta1 = 0.75, .beta2 = 0.95, .epsilon = 1e-3, .weight_decay = 0.125};
  const AdamWOptions adamw{.lr = 0.01,
                           .beta1 = 0.75,
                           .beta2 = 0.95,
                           .epsilon = 1e-3,
                           .weight_decay = 0.25,
                           .amsgrad = true};
  const AdamWOptions decay{.lr = 0.01, .weight_decay = 1e-3, .decay_form = AdamWDecay::published};
  const NAdamOptions nadam{.lr = 0.01,
                           .beta1 = 0.98,
                           .beta2 = 0.95,
                           .epsilon = 1e-3,
                           .weight_decay = 0.125,
                           .momentum_decay = 0.25};
  const NAdamOptions decoupled{
      .lr = 0.01, .weight_decay = 0.25, .momentum_decay = 0, .decoupled_weight_decay = true};
  const AdamaxOptions adamax{
      .lr = 0.01, .beta1 = 0.75, .beta2 = 0.95, .epsilon = 1e-3, .weight_decay = 0.125};
  const RMSpropOptions rmsprop{
      .lr = 0.01, .alpha = 0.9, .epsilon = 1e-3, .weight_decay = 0.125, .momentum = 0.75};
  const RMSpropOptions graves{.lr = 0.01,
                              .alpha = 0.95,
                              .epsilon = 1e-4,
                              .momentum = 0.9,
                              .centered = true,
                              .form = RMSpropForm::published};
  const AdagradOptions adagrad{
      .lr = 0.01, .lr_decay = 0.125, .epsilon = 1e-3, .weight_decay = 0.125, .initial_sum = 0.25};
  return {
      {"SGD", make<SGD>(SGDOptions{.lr = 0.01})},
      {"SGD momentum", make<SGD>(momentum)},
      {"SGD nesterov", make<SGD>(nesterov)},
      {"Adam", make<Adam>(AdamOptions{.lr = 0.01})},
      {"Adam options", make<Adam>(adam)},
      {"Adam amsgrad", make<Adam>(AdamOptions{.lr = 0.01, .beta2 = 0.9, .amsgrad = true})},
      {"AdamW", make<AdamW>(AdamWOptions{.lr = 0.01})},
      {"AdamW options", make<AdamW>(adamw)},
      {"AdamW published", make<AdamW>(decay)},
      {"NAdam", make<NAdam>(NAdamOptions{.lr = 0.01})},
      {"NAdam options", make<NAdam>(nadam)},
      {"NAdam decoupled", make<NAdam>(decoupled)},
      {"Adamax", make<Adamax>(AdamaxOptions{.lr = 0.01})},
      {"Adamax options", make<Adamax>(adamax)},
      {"Adamax published", make<Adamax>(AdamaxOptions{.lr = 0.01, .epsilon = 0})},
      {"RMSprop", make<RMSprop>(RMSpropOptions{.lr = 0.01})},
      {"RMSprop options", make<RMSprop>(rmsprop)},
      {"RMSprop centered", make<RMSprop>(RMSpropOptions{.lr = 0.01, .centered = true})},
      {"RMSprop published", make<RMSprop>(graves)},
      {"Adagrad", make<Adagrad>(AdagradOptions{.lr = 0.01})},
      {"Adagrad options", make<Adagrad>(adagrad)},
  };
}

/// gradient() of make_optimizers.py.
double gradient(int t, int i) {
  return static_cast<double>((i * 1103 + t * 677) % 2003 - 900) / 2048 * std::pow(8.0, -i);
}

/// A Parameter of 6 elements that are 0.5, and its optimizer.
struct Training {
  Training(const Make& make_optimizer, DType dtype)
      : p(Tensor::full({6}, 0.5, dtype)), optimizer(make_optimizer({{"p", p}})) {}

  void step() {
    if (++t == 51) optimizer->set_learning_rate(optimizer->learning_rate() / 2);
    std::vector<double> g;
    for (int i = 0; i < 6; ++i) g.push_back(gradient(t, i));
    p.set_grad(Tensor::from<double>({6}, g).to(p.value().dtype()));
    optimizer->step();
  }
  void state(Archive& a) { a("t", t), a("p", Parameters{{"p", p}}), a("optimizer", *optimizer); }

  Parameter p;
  std::unique_ptr<Optimizer> optimizer;
  int t = 0;
};

/// |a - b| / |b|, Euclidean.
double distance(const Tensor& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference = std::hypot(difference, a.at(i) - b[i]);
    norm = std::hypot(norm, b[i]);
  }
  return difference / norm;
}

}  // namespace

TEST_CASE("optimizers: 1000 recorded gradients end where PyTorch's end, and the published forms") {
  const auto all = optimizers();
  CHECK(all.size() + 2 == torch_optimizers.size());  // two are averages
  for (const auto& entry : all) {
    const auto& name = entry.first;
    const auto& make_optimizer = entry.second;
    CAPTURE(name);
    Training training(make_optimizer, DType::float64), narrow(make_optimizer, DType::float32);
    const auto& expected = torch_optimizers.at(name);
    std::size_t row = 0;
    while (row < expected.size()) {
      training.step();
      narrow.step();
      const std::vector<int> shown{1, 2, 10, 100, 1000};
      if (training.t != shown[row]) continue;
      CAPTURE(training.t);
      CHECK(distance(training.p.value(), expected[row]) <= 1e-12);
      CHECK(distance(narrow.p.value(), expected[row]) <= 1e-4);
      ++row;
    }
    CHECK(training.optimizer->steps(0) == 1000);
  }
}

TEST_CASE("optimizers: one that is saved in the middle goes on with the same bits") {
  const TempFolder folder;
  for (const auto& entry : optimizers()) {
    const auto& name = entry.first;
    const auto& make_optimizer = entry.second;
    CAPTURE(name);
    for (const DType dtype : {DType::float32, DType::float64}) {
      Training whole(make_optimizer, dtype), resumed(make_optimizer, dtype);
      while (whole.t < 60) whole.step();
      save_state(folder / "state", [&](Archive& a) { whole.state(a); });
      load_state(folder / "state", [&](Archive& a) { resumed.state(a); });
      while (whole.t < 100) whole.step(), resumed.step();
      CHECK(same_bits(whole.p.value(), resumed.p.value()));
      for (const std::string& slot : whole.optimizer->slots()) {
        const Tensor &a = whole.optimizer->slot(0, slot), &b = resumed.optimizer->slot(0, slot);
        CHECK(a.defined() == b.defined());
        if (a.defined()) CHECK(same_bits(a, b));
      }
    }
  }
}

TEST_CASE("optimizers: only the slots that the options need are kept") {
  const std::map<std::string, std::string> needed{
      {"SGD", ""},
      {"SGD nesterov", "velocity"},
      {"Adam", "m v"},
      {"Adam amsgrad", "m v v_max"},
      {"AdamW options", "m v v_max"},
      {"NAdam", "m v"},
      {"Adamax", "m norm"},
      {"RMSprop", "square"},
      {"RMSprop options", "square velocity"},
      {"RMSprop centered", "square mean"},
      {"RMSprop published", "square mean velocity"},
      {"Adagrad", "sum"},
  };
  const auto all = optimizers();
  for (const auto& entry : needed) {
    const auto& name = entry.first;
    const auto& names = entry.second;
    CAPTURE(name);
    Training training(all.at(name), DType::float64);
    training.step();
    std::string kept;
    for (const std::string& slot : training.optimizer->slots()) {
      if (!training.optimizer->slot(0, slot).defined()) continue;
      kept += (kept.empty() ? "" : " ") + slot;
    }
    CHECK(kept == names);
  }
}

TEST_CASE("optimizers: large Parameters move by the same bits for any number of threads" *
          doctest::test_suite("threads")) {
  for (const auto& entry : optimizers()) {
    const auto& name = entry.first;
    const auto& make_optimizer = entry.second;
    CAPTURE(name);
    std::vector<Tensor> results;
    for (const std::size_t count : {1U, 3U}) {
      set_threads(count);
      Parameter p(random_tensor({140001}, DType::float32));
      const auto optimizer = make_optimizer({{"p", p}});
      for (std::uint64_t step = 0; step < 3; ++step) {
        p.set_grad(random_tensor({140001}, DType::float32, step));
        optimizer->step();
      }
      results.push_back(p.value());
    }
    set_threads(1);
    CHECK(same_bits(results[0], results[1]));
  }
}

TEST_CASE("optimizers: NaN and infinity are not hidden; squares that overflow freeze nothing") {
  for (const auto& entry : optimizers()) {
    const auto& name = entry.first;
    const auto& make_optimizer = entry.second;
    CAPTURE(name);
    const bool squares = !name.starts_with("SGD") && !name.starts_with("Adamax");
    for (const double bad : {static_cast<double>(NAN), inf, -inf}) {
      Parameter p(Tensor::full({1}, 0.5));
      const auto optimizer = make_optimizer({{"p", p}});
      p.set_grad(Tensor::full({1}, bad));
      optimizer->step();
      CHECK(!std::isfinite(p.value().item()));
    }
    Parameter p(Tensor::full({1}, 0.5));
    const auto optimizer = make_optimizer({{"p", p}});
    p.set_grad(Tensor::full({1}, 1e30));
    optimizer->step();
    if (squares) CHECK(p.value().item() < 0.495);
  }
}

TEST_CASE("optimizers: elements whose gradients have all been 0 stay") {
  for (const auto& entry : optimizers()) {
    const auto& name = entry.first;
    const auto& make_optimizer = entry.second;
    if (name.ends_with("options") || name.starts_with("AdamW") || name == "SGD momentum" ||
        name == "NAdam decoupled") {
      continue;  // they decay
    }
    CAPTURE(name);
    Parameter p(Tensor::full({2}, 0.5));
    const auto optimizer = make_optimizer({{"p", p}});
    p.set_grad(Tensor::of({2}, {0, 1}));
    optimizer->step();
    CHECK(p.value().at(0) == 0.5);
    CHECK(p.value().at(1) < 0.5);
  }
}

TEST_CASE(
    "optimizers: a centered RMSprop bears gradients without variance, which is rounded below 0") {
  for (const DType dtype : float_types) {
    Parameter p(Tensor::zeros({100}, dtype));
    RMSprop rmsprop({{"p", p}}, {.lr = 1e-6, .alpha = 0.9, .epsilon = 1e-4, .centered = true});
    Tensor gradient = Tensor::empty({100}, DType::float64);
    for (double i = 0; double& g : gradient.mutable_values<double>()) g = 1 / (++i);
    p.set_grad(gradient.to(dtype));
    std::size_t below = 0;
    for (int step = 0; step < 500; ++step) {
      rmsprop.step();
      const Tensor &n = rmsprop.slot(0, "square"), &a = rmsprop.slot(0, "mean");
      for (std::size_t i = 0; i < 100; ++i) below += n.at(i) < a.at(i) * a.at(i);
    }
    CHECK(below > 0);
    for (std::size_t i = 0; i < 100; ++i) CHECK(std::isfinite(p.value().at(i)));
  }
}

TEST_CASE("optimizers: NAdam's momenta far from the beginning, and without decay") {
  // With beta1 near 1 the product of momenta is not negligible after many steps.
  for (const double momentum_decay : {0.0, 1e-6, 4e-3, 10.0, 1e308}) {
    CAPTURE(momentum_decay);
    Parameter p(Tensor::full({1}, 0, DType::float64));
    NAdam nadam({{"p", p}}, {.lr = 1, .beta1 = 0.999, .momentum_decay = momentum_decay});
    double product = 1, value = 0, m = 0, v = 0;
    const auto mu = [&](int t) { return 0.999 * (1 - std::pow(0.96, t * momentum_decay) / 2); };
    for (int t = 1; t <= 400; ++t) {
      const double g = std::cos(t);
      p.set_grad(Tensor::full({1}, g, DType::float64));
      nadam.step();
      product *= mu(t);
      m = 0.999 * m + (1 - 0.999) * g;
      v = 0.999 * v + (1 - 0.999) * g * g;
      const double root = std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8;
      value -=
          (1 - mu(t)) / (1 - product) * g / root + mu(t + 1) / (1 - product * mu(t + 1)) * m / root;
      CHECK(std::abs(p.value().item() - value) <= 1e-12 * std::max(1.0, std::abs(value)));
    }
  }
}

TEST_CASE("optimizers: options out of range, with whole messages") {
  Parameter p(Tensor::zeros({1}));
  const Parameters all{{"p", p}};
  const auto is = [](const char* what, const char* value, const char* range) {
    return std::string(what) + " is " + value + ": it must be in [0, " + range + ")";
  };
  const auto epsilon_0 = [](const char* name) {
    return std::string("[") + name +
           "] epsilon is 0: it must be greater, or a gradient of 0 divides 0 by 0";
  };
  const auto rmsprop = [&](const RMSpropOptions& o) { return [&all, o] { RMSprop(all, o); }; };
  const auto adamw = [&](const AdamWOptions& o) { return [&all, o] { AdamW(all, o); }; };
  const auto nadam = [&](const NAdamOptions& o) { return [&all, o] { NAdam(all, o); }; };
  const auto adamax = [&](const AdamaxOptions& o) { return [&all, o] { Adamax(all, o); }; };
  const auto adagrad = [&](const AdagradOptions& o) { return [&all, o] { Adagrad(all, o); }; };
  const std::vector<std::pair<std::function<void()>, std::string>> cases{
      {rmsprop({.lr = -1}), is("[RMSprop] lr", "-1", "inf")},
      {rmsprop({.alpha = 1}), is("[RMSprop] alpha", "1", "1")},
      {rmsprop({.epsilon = 0}), epsilon_0("RMSprop")},
      {rmsprop({.weight_decay = -1}), is("[RMSprop] weight_decay", "-1", "inf")},
      {rmsprop({.momentum = 1}), is("[RMSprop] momentum", "1", "1")},
      {adamw({.lr = NAN}), is("[AdamW] lr", "nan", "inf")},
      {adamw({.beta1 = 1}), is("[AdamW] beta1", "1", "1")},
      {adamw({.beta2 = -1}), is("[AdamW] beta2", "-1", "1")},
      {adamw({.epsilon = 0}), epsilon_0("AdamW")},
      {adamw({.weight_decay = INFINITY}), is("[AdamW] weight_decay", "inf", "inf")},
      {adamw({.lr = 0, .decay_form = AdamWDecay::published}),
       "[AdamW] lr is 0, which the published decay is divided by: give the base rate"},
      {nadam({.beta1 = 1}), is("[NAdam] beta1", "1", "1")},
      {nadam({.beta2 = 1}), is("[NAdam] beta2", "1", "1")},
      {nadam({.epsilon = 0}), epsilon_0("NAdam")},
      {nadam({.weight_decay = -1}), is("[NAdam] weight_decay", "-1", "inf")},
      {nadam({.momentum_decay = -1}), is("[NAdam] momentum_decay", "-1", "inf")},
      {adamax({.beta1 = 1}), is("[Adamax] beta1", "1", "1")},
      {adamax({.beta2 = 1}), is("[Adamax] beta2", "1", "1")},
      {adamax({.epsilon = -1}), is("[Adamax] epsilon", "-1", "inf")},
      {adamax({.weight_decay = -1}), is("[Adamax] weight_decay", "-1", "inf")},
      {adagrad({.lr_decay = -1}), is("[Adagrad] lr_decay", "-1", "inf")},
      {adagrad({.epsilon = 0}), epsilon_0("Adagrad")},
      {adagrad({.weight_decay = -1}), is("[Adagrad] weight_decay", "-1", "inf")},
      {adagrad({.initial_sum = -1}), is("[Adagrad] initial_sum", "-1", "inf")},
      {[&] { (void)Adam(all).slot(0, "velocity"); },
       "[Adam] there is no slot 'velocity': there are m, v, v_max"},
      {[&] { (void)Adam(all).slot(1, "m"); }, "[Adam] parameter 1 does not exist: there are 1"},
  };
  for (const auto& [act, message] : cases) CHECK(message_of(act) == message);
}
