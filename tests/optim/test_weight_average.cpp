#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../optim/weight_average.h"
#include "../fixtures/optimizers.h"
#include "../support/kernel_cases.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Values of step t: gradient() of make_optimizers.py.
Tensor values_at(int t) {
  std::vector<double> values;
  for (int i = 0; i < 6; ++i) {
    values.push_back(static_cast<double>((i * 1103 + t * 677) % 2003 - 900) / 2048 *
                     std::pow(8.0, -i));
  }
  return Tensor::from<double>({6}, values);
}

/// A Parameter, what it was, and their average.
struct Moving {
  explicit Moving(const WeightAverageOptions& options, DType dtype = DType::float64)
      : p(Tensor::zeros({6}, dtype)), average({{"p", p}}, options) {}
  void step() {
    p.set_value(values_at(++t).to(p.value().dtype()));
    average.update();
  }
  Tensor averaged() {
    const Averaged scope(average);
    return p.value().clone();
  }

  Parameter p;
  WeightAverage average;
  int t = 0;
};

double worst(const Tensor& a, const std::vector<double>& b) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    error = std::hypot(error, a.at(i) - b[i]);
    norm = std::hypot(norm, b[i]);
  }
  return error / norm;
}

/// Figure, counted from 1, at which averaging starts; 0: never.
std::size_t start(const NonMonotoneOptions& options, const std::vector<double>& figures) {
  NonMonotoneTrigger trigger(options);
  for (std::size_t n = 1; n <= figures.size(); ++n) {
    if (trigger.add(figures[n - 1])) return n;
  }
  return 0;
}

}  // namespace

TEST_CASE("WeightAverage: 1000 updates are those of PyTorch's AveragedModel") {
  for (const bool exponential : {false, true}) {
    WeightAverageOptions options;
    if (exponential) options.decay = 0.99;
    Moving exact(options), narrow(options, DType::float32);
    const auto& expected = torch_optimizers.at(exponential ? "exponential" : "mean");
    const std::vector<int> shown{1, 2, 10, 100, 1000};
    for (std::size_t row = 0; row < shown.size(); ++row) {
      while (exact.t < shown[row]) exact.step(), narrow.step();
      CAPTURE(exact.t);
      CHECK(worst(exact.averaged(), expected[row]) <= 1e-12);
      CHECK(worst(narrow.averaged(), expected[row]) <= 1e-7);
    }
    CHECK(exact.average.updates() == 1000);
  }
}

TEST_CASE("WeightAverage: corrected, it is the weighted mean of all values by definition") {
  Moving moving({.decay = 0.9, .corrected = true});
  std::vector<double> sum(6);
  double weights = 0;
  for (int t = 1; t <= 50; ++t) {
    moving.step();
    weights = 0.9 * weights + 1;
    for (std::size_t i = 0; i < 6; ++i) sum[i] = 0.9 * sum[i] + values_at(t).at(i);
    std::vector<double> mean;
    for (const double s : sum) mean.push_back(s / weights);
    CHECK(worst(moving.averaged(), mean) <= 1e-14);
  }
}

TEST_CASE("WeightAverage: a float32 mean moves by less than float32 can tell") {
  Parameter p(Tensor::full({1}, 1));
  WeightAverage average({{"p", p}});
  average.update();
  p.set_value(Tensor::full({1}, 1 + 0x1p-20));
  for (int t = 0; t < 9999; ++t) average.update();  // each by 2^-20 / t: a rounding is 2^-23
  average.apply();
  CHECK(p.value().item() == 1 + 0x1p-20);
}

TEST_CASE("Averaged: the model has the averages, and then its weights, to the bit") {
  Parameter p(random_tensor({3, 2}, DType::float32, 1)), q(random_tensor({4}, DType::float64, 2));
  const Parameters all{{"p", p}, {"q", q}, {"again", p}};
  WeightAverage average(all, {.decay = 0.5});
  average.update();
  const Tensor first = p.value().clone(), first_q = q.value().clone();
  p.set_value(random_tensor({3, 2}, DType::float32, 3));
  q.set_value(random_tensor({4}, DType::float64, 4));
  const Tensor last = p.value().clone(), last_q = q.value().clone();
  {
    const Averaged scope(average);
    CHECK(same_bits(p.value(), first));
    CHECK(same_bits(q.value(), first_q));
    const std::string in_scope =
        "[WeightAverage] the model has the averages, not its weights: end the scope of Averaged "
        "first";
    CHECK(message_of([&] { average.update(); }) == in_scope);
    CHECK(message_of([&] { average.apply(); }) == in_scope);
    CHECK(message_of([&] { Averaged again(average); }) == in_scope);
    const TempFolder folder;
    CHECK(message_of([&] {
            save_state(folder / "s", [&](Archive& a) { a("average", average); });
          }) == in_scope);
  }
  CHECK(same_bits(p.value(), last));
  CHECK(same_bits(q.value(), last_q));
  average.update();
  average.apply();
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(q.value().at(i) == first_q.at(i) + 0.5 * (last_q.at(i) - first_q.at(i)));
  }
}

TEST_CASE("WeightAverage: one that is saved in the middle goes on with the same bits") {
  const TempFolder folder;
  for (const int saved : {0, 7}) {
    const WeightAverageOptions options{.decay = 0.9, .corrected = true};
    Moving whole(options, DType::float32), resumed(options, DType::float32);
    if (saved == 0) resumed.step();  // what it has is replaced
    while (whole.t < saved) whole.step();
    save_state(folder / "s", [&](Archive& a) { a("average", whole.average); });
    load_state(folder / "s", [&](Archive& a) { a("average", resumed.average); });
    resumed.t = whole.t;
    while (whole.t < 12) whole.step(), resumed.step();
    CHECK(same_bits(whole.averaged(), resumed.averaged()));
  }
}

TEST_CASE("WeightAverage: it follows the steps of a training, but not into a loss of NaN") {
  Moving moving({});
  CHECK(moving.average.on_step({.step = 1, .loss = NAN}).empty());
  CHECK(moving.average.updates() == 0);
  CHECK(moving.average.on_step(
            {.step = 1, .epoch = 1, .epochs = 1, .loss = 0, .mean_loss = 0, .done = 0}) == "");
  CHECK(moving.average.updates() == 1);
}

TEST_CASE("WeightAverage: what is refused") {
  Parameter p(Tensor::zeros({1}));
  const Parameter ids(Tensor::of({1}, {1}, DType::int32));
  const Parameters all{{"p", p}};
  CHECK(message_of([] { WeightAverage average({}); }) ==
        "[WeightAverage] there are no parameters: give those of the model");
  CHECK(message_of([&] { WeightAverage average(all, {.decay = 1}); }) ==
        "[WeightAverage] decay is 1: it must be in [0, 1)");
  CHECK(message_of([&] { WeightAverage average(all, {.decay = NAN}); }) ==
        "[WeightAverage] decay is nan: it must be in [0, 1)");
  CHECK(message_of([&] { WeightAverage average(all, {.corrected = true}); }) ==
        "[WeightAverage] corrected needs a decay: a mean has nothing to correct");
  CHECK(message_of([&] {
          WeightAverage average({{"ids", ids}});
        }) == "[WeightAverage] ids is int32: it must be float32 or float64");
  WeightAverage none(all);
  CHECK(message_of([&] { none.apply(); }) ==
        "[WeightAverage] there is no average yet: call update()");
  CHECK(message_of([&] { Averaged scope(none); }) ==
        "[WeightAverage] there is no average yet: call update()");
}

TEST_CASE("NonMonotoneTrigger: starts where the published algorithm does") {
  // The rule line by line: t > n and v > min(logs[0], ..., logs[t - n - 1]).
  Rng rng(11);
  for (int sequence = 0; sequence < 200; ++sequence) {
    const std::size_t n = 1 + static_cast<std::size_t>(rng.below(5));
    std::vector<double> logs;
    std::size_t expected = 0;
    for (std::size_t t = 0; t < 30; ++t) {
      const double v = std::floor(40 / (1 + 0.3 * static_cast<double>(t)) + 10 * rng.uniform());
      const auto before = logs.begin() + static_cast<std::ptrdiff_t>(t > n ? t - n : 0);
      if (expected == 0 && t > n && v > *std::min_element(logs.begin(), before)) expected = t + 1;
      logs.push_back(v);
    }
    CHECK(start({.interval = n}, logs) == expected);
    std::vector<double> large;
    for (const double v : logs) large.push_back(-v);
    CHECK(start({.maximise = true, .interval = n}, large) == expected);
  }
}

TEST_CASE("NonMonotoneTrigger: due, NaN, once started") {
  NonMonotoneTrigger trigger({.interval = 1, .every = 10});
  CHECK(trigger.due(20));
  CHECK(!trigger.due(21));
  CHECK(!trigger.add(NAN));
  CHECK(!trigger.add(1));
  CHECK(!trigger.add(NAN));
  CHECK(!trigger.add(1));
  CHECK(trigger.add(1.5));
  CHECK(!trigger.due(20));
  CHECK(trigger.add(0));
  CHECK(trigger.started());
}

TEST_CASE("NonMonotoneTrigger: one that is saved goes on; its figure is an epoch's") {
  const TempFolder folder;
  NonMonotoneTrigger whole({.interval = 2}), resumed({.interval = 2});
  const auto state = [](NonMonotoneTrigger& trigger) {
    return [&](Archive& a) { a("trigger", trigger); };
  };
  const auto epoch = [](double figure) {
    return TrainingEpoch{.epoch = 1, .epochs = 9, .step = 1, .figures = {{"valid", figure}}};
  };
  for (const double figure : {9.0, 3.0, static_cast<double>(NAN)}) {
    CHECK(whole.on_epoch(epoch(figure)) == "");
  }
  save_state(folder / "s", state(whole));
  load_state(folder / "s", state(resumed));
  CHECK(!resumed.add(3));
  CHECK(resumed.add(4));
  save_state(folder / "s", state(resumed));
  load_state(folder / "s", state(whole));
  CHECK(whole.started());
}

TEST_CASE("NonMonotoneTrigger: what is refused") {
  CHECK(message_of([] { NonMonotoneTrigger trigger({.interval = 0}); }) ==
        "[NonMonotoneTrigger] interval is 0: it must be at least 1");
  CHECK(message_of([] { NonMonotoneTrigger trigger({.every = 0}); }) ==
        "[NonMonotoneTrigger] every is 0: it must be at least 1 step");
}
