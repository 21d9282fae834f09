// Covers optim/schedule: the rates that PyTorch's schedulers give; composition; groups; saving; what is
// refused.

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "../../autograd/parameters.h"
#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../optim/schedule.h"
#include "../../optim/sgd.h"
#include "../fixtures/schedules.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// An optimizer of two groups with the rates 1 and 4.
struct Rates {
  Parameter a{Tensor::zeros({1}, DType::float64)}, b{Tensor::zeros({1}, DType::float64)};
  SGD sgd{{{{{"a", a}}, {.lr = 1}}, {{{"b", b}}, {.lr = 4}}}};
};

double worst(const Schedule& schedule, const std::vector<double>& expected) {
  double error = 0;
  for (std::size_t t = 0; t < expected.size(); ++t)
    error = std::fmax(error, std::abs(schedule(static_cast<double>(t)) - expected[t]));
  return error;
}

double worst(const PlateauOptions& options, double sign, const std::vector<double>& expected) {
  Rates rates;
  Plateau plateau(rates.sgd, options);
  double error = 0;
  for (std::size_t n = 0; n < expected.size(); ++n) {
    const double before = rates.sgd.learning_rate(0);
    const bool fell = plateau.add(sign * torch_schedules::figures[n]);
    CHECK(fell >= (rates.sgd.learning_rate(0) < before));
    error = std::fmax(error, std::abs(rates.sgd.learning_rate(0) - expected[n]));
  }
  return error;
}

}  // namespace

TEST_CASE("Schedule: factors are those of PyTorch's schedulers") {
  namespace torch = torch_schedules;
  const double n = static_cast<double>(torch::step.size());
  CHECK(worst(schedule::constant(1), std::vector<double>(5, 1)) == 0);
  CHECK(worst(schedule::step(5, 0.3), torch::step) <= 1e-15);
  CHECK(worst(schedule::steps({3, 3, 10}, 0.5), torch::steps) <= 1e-15);
  CHECK(worst(schedule::exponential(0.9), torch::exponential) <= 1e-15);
  CHECK(worst(schedule::polynomial(15, 2), torch::polynomial) <= 1e-15);
  CHECK(worst(schedule::cosine(n, 0.1), torch::cosine) <= 1e-15);
  CHECK(worst(schedule::cosine_restarts(3, 2, 0.05), torch::cosine_restarts) <= 1e-15);
  CHECK(worst(schedule::cosine_restarts(7), torch::cosine_restarts_equal) <= 1e-15);
  CHECK(worst(schedule::warm_up(8, 0.25), torch::warm_up) <= 1e-15);
  CHECK(worst(schedule::one_cycle(n, {.warm_up = (0.3 * (n + 1) - 1) / n}), torch::one_cycle) <=
        1e-15);
  CHECK(worst(schedule::warm_up(4, 0.1).then(4, schedule::cosine(20)),
              torch::warm_up_then_cosine) <= 1e-15);
  CHECK(worst(schedule::exponential(0.95) * schedule::step(6, 0.5), torch::product) <= 1e-15);
}

TEST_CASE("Schedule: its ends, where PyTorch has none, and functions of one's own") {
  CHECK(schedule::inverse_time(0.5)(4) == 1.0 / 3);
  CHECK(schedule::polynomial(1)(0.25) == 0.75);
  CHECK(schedule::polynomial(1)(2) == 0);
  CHECK(schedule::cosine(10, 0.25)(1e9) == 0.25);
  CHECK(schedule::warm_up(10)(10) == 1);
  CHECK(schedule::one_cycle(10)(11) == 1.0 / 25 / 1e4);
  CHECK(schedule::steps({})(5) == 1);
  const Schedule own([](double t) { return t * t; });
  CHECK(own.then(3, schedule::constant(7))(2.5) == 6.25);
  CHECK(own.then(3, schedule::constant(7))(3) == 7);
  // Restarts are whole numbers of periods even where the logarithm is rounded.
  for (double k = 0; k < 40; ++k) {
    const double begin = 3 * (std::pow(2.0, k) - 1);
    CHECK(schedule::cosine_restarts(3, 2)(begin) == 1);
  }
}

TEST_CASE(
    "LearningRate: multiplies each group's own rate, as steps, epochs or the share are done") {
  const Schedule half = schedule::polynomial(2);
  Rates rates;
  LearningRate lr(rates.sgd, half);
  CHECK(rates.sgd.learning_rate(1) == 4);
  lr.set(1);
  CHECK(rates.sgd.learning_rate(0) == 0.5);
  CHECK(rates.sgd.learning_rate(1) == 2);
  for (const ScheduleTime time : {ScheduleTime::steps, ScheduleTime::epochs, ScheduleTime::share}) {
    Rates other;
    LearningRate by(other.sgd, half, time);
    (void)by.on_step({.step = 1, .epoch = 1, .epochs = 1, .loss = 0, .mean_loss = 0, .done = 0.5});
    CHECK(other.sgd.learning_rate(0) == (time == ScheduleTime::steps   ? 0.5
                                         : time == ScheduleTime::share ? 0.75
                                                                       : 1));
    (void)by.on_epoch({.epoch = 1, .epochs = 1, .step = 9, .figures = {}});
    if (time == ScheduleTime::epochs) CHECK(other.sgd.learning_rate(1) == 2);
  }
  Rates up;
  LearningRate warm(up.sgd, schedule::warm_up(10));
  CHECK(up.sgd.learning_rate(0) == 0);  // of the first step
}

TEST_CASE("LearningRate: the rates that it multiplies are saved") {
  const TempFolder folder;
  Rates rates, other;
  LearningRate lr(rates.sgd, schedule::warm_up(2));
  lr.set(1);
  const auto save = [&](LearningRate& l, Rates& r) {
    return [&](Archive& a) { a("lr", l), a("sgd", r.sgd); };
  };
  save_state(folder / "s", save(lr, rates));
  other.sgd.set_learning_rate(77);
  LearningRate again(other.sgd, schedule::warm_up(2));
  load_state(folder / "s", save(again, other));
  CHECK(other.sgd.learning_rate(1) == 2);
  again.set(2);
  CHECK(other.sgd.learning_rate(1) == 4);
}

TEST_CASE("Plateau: rates are those of PyTorch's ReduceLROnPlateau") {
  CHECK(worst({.factor = 0.5, .patience = 2}, 1, torch_schedules::plateau) <= 1e-15);
  CHECK(worst({.factor = 0.1, .patience = 1, .threshold = 1e-3, .cooldown = 3, .min_lr = 0.005}, 1,
              torch_schedules::plateau_cooldown) <= 1e-15);
  CHECK(worst({.maximise = true, .factor = 0.5, .patience = 2, .threshold = 0}, -1,
              torch_schedules::plateau_max) <= 1e-15);
}

TEST_CASE("Plateau: a threshold is of a figure's size below 0 too; NaN is none; a low rate stays") {
  Rates rates;
  Plateau plateau(rates.sgd, {.factor = 0.5, .patience = 1, .threshold = 0.1, .min_lr = 2});
  CHECK(!plateau.add(NAN));
  CHECK(!plateau.add(-10));
  CHECK(!plateau.add(-10.5));  // less than a tenth better: the first bad epoch
  CHECK(plateau.add(-10.5));
  CHECK(!plateau.add(-12));
  CHECK(!plateau.add(NAN));
  CHECK(!plateau.add(NAN));                // nothing is left to lower
  CHECK(rates.sgd.learning_rate(0) == 1);  // below min_lr already
  CHECK(rates.sgd.learning_rate(1) == 2);
}

TEST_CASE("Plateau: an infinite figure is better than none but no better than itself") {
  Rates rates;
  Plateau worst(rates.sgd, {.patience = 1}), best(rates.sgd, {.patience = 1});
  CHECK(!worst.add(INFINITY));
  CHECK(worst.add(INFINITY));
  CHECK(!worst.add(5));
  CHECK(!worst.add(INFINITY));
  CHECK(!best.add(-INFINITY));
  CHECK(!best.add(5));
  CHECK(best.add(4));
}

TEST_CASE("Plateau: tells a fall only where a rate fell") {
  Rates rates;
  Plateau plateau(rates.sgd, {.factor = 0.5, .patience = 0, .min_lr = 1.5});
  (void)plateau.add(1);
  CHECK(plateau.add(1));   // of group 1 alone, from 4 to 2
  CHECK(plateau.add(1));   // to 1.5
  CHECK(!plateau.add(1));  // nothing is left to lower
  CHECK(rates.sgd.learning_rate(1) == 1.5);
  rates.sgd.set_learning_rates({4, 1});
  CHECK(plateau.add(1));  // of group 0 alone
  CHECK(rates.sgd.learning_rate(0) == 2);
  CHECK(rates.sgd.learning_rate(1) == 1);
}

TEST_CASE("LearningRate: a rate that is refused leaves those of all groups") {
  Rates rates;
  LearningRate lr(rates.sgd, Schedule([](double t) { return t == 0 ? 1 : 1e308; }));
  CHECK(message_of([&] { lr.set(1); }) == "[SGD] in group 1 lr is inf: it must be in [0, inf)");
  CHECK(rates.sgd.learning_rate(0) == 1);
  CHECK(message_of([&] { rates.sgd.set_learning_rates({1}); }) ==
        "[SGD] there are 1 rates for 2 groups: give one for each");
}

TEST_CASE("Plateau: what is saved goes on in a new object") {
  const TempFolder folder;
  Rates rates;
  Plateau plateau(rates.sgd, {.patience = 1}), other(rates.sgd, {.patience = 1});
  (void)plateau.add(1), (void)plateau.add(2);
  save_state(folder / "s", [&](Archive& a) { a("plateau", plateau); });
  load_state(folder / "s", [&](Archive& a) { a("plateau", other); });
  CHECK(other.add(1.5));
}

TEST_CASE("schedules: what is refused") {
  Rates rates;
  CHECK(std::isnan(schedule::cosine_restarts(2, 1.5)(INFINITY)));  // and comes to an end
  const std::vector<std::pair<std::function<void()>, std::string>> cases{
      {[] { schedule::constant(-1); }, "[constant] f is -1: it must be finite and at least 0"},
      {[] { schedule::step(0); }, "[step] period is 0: it must be finite and > 0"},
      {[] { schedule::step(1, NAN); }, "[step] gamma is nan: it must be finite and at least 0"},
      {[] {
         schedule::steps({3, 2});
       },
       "[steps] a time is 2 after 3: they must not fall"},
      {[] { schedule::exponential(1.5); }, "[exponential] gamma is 1.5: it must be in [0, 1]"},
      {[] { schedule::inverse_time(-1); },
       "[inverse_time] rate is -1: it must be finite and at least 0"},
      {[] { schedule::polynomial(INFINITY); },
       "[polynomial] end is inf: it must be finite and > 0"},
      {[] { schedule::polynomial(1, 0); }, "[polynomial] power is 0: it must be finite and > 0"},
      {[] { schedule::cosine(10, 2); }, "[cosine] floor is 2: it must be in [0, 1]"},
      {[] { schedule::cosine_restarts(10, 0.5); },
       "[cosine_restarts] longer is 0.5: it must be finite and at least 1"},
      {[] { schedule::warm_up(10, -1); }, "[warm_up] start is -1: it must be in [0, 1]"},
      {[] { schedule::one_cycle(10, {.warm_up = 1}); },
       "[one_cycle] warm_up is 1: it must be between 0 and 1"},
      {[] { (void)schedule::constant().then(-1, schedule::constant()); },
       "[then] end is -1: it must be finite and at least 0"},
      {[] { Schedule empty(std::function<double(double)>{}); },
       "[Schedule] the function is empty: give one that maps a time"},
      {[&] { LearningRate(rates.sgd, schedule::constant()).set(-1); },
       "[LearningRate] t is -1: it must be finite and >= 0"},
      {[&] { LearningRate(rates.sgd, schedule::cosine_restarts(2, 1.5)).set(INFINITY); },
       "[LearningRate] t is inf: it must be finite and >= 0"},
      {[&] { LearningRate(rates.sgd, Schedule([](double) { return -2.0; })); },
       "[LearningRate] the factor of t = 0 is -2: it must be finite and >= 0"},
      {[&] { Plateau(rates.sgd, {.factor = 1}); }, "[Plateau] factor is 1: it must be in [0, 1)"},
      {[&] { Plateau(rates.sgd, {.threshold = -1}); },
       "[Plateau] threshold is -1: it must be finite and at least 0"},
  };
  for (const auto& [act, message] : cases) CHECK(message_of(act) == message);
  CHECK(rates.sgd.learning_rate(0) == 1);
}
