#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "optimizer.h"
#include "training/loop.h"

namespace tapegrad {

/// Factor of a learning rate as a function of time t >= 0, counted in whatever the caller counts
/// in: steps, epochs, or the share of a training that is done.
///
///   const Schedule s = schedule::warm_up(100).then(100, schedule::cosine(900));
///   adam.set_learning_rate(1e-3 * s(t));
class Schedule {
 public:
  /// Throws UsageError for an empty function.
  // NOLINTNEXTLINE(google-explicit-constructor): a function of one's own is a schedule
  Schedule(std::function<double(double)> factor);

  double operator()(double t) const { return factor_(t); }
  /// Returns the schedule that is this one before `end`, and then `next`, whose time begins there.
  Schedule then(double end, Schedule next) const;
  /// Returns the product of two.
  friend Schedule operator*(Schedule a, Schedule b) {
    return {[a = std::move(a), b = std::move(b)](double t) { return a(t) * b(t); }};
  }

 private:
  std::function<double(double)> factor_;
};

/// The schedules of the field. All throw UsageError for an argument out of its range.
namespace schedule {

/// Returns f, >= 0, at any time.
Schedule constant(double f = 1);
/// Returns gamma^floor(t / period): period > 0, gamma >= 0 (torch's StepLR).
Schedule step(double period, double gamma = 0.1);
/// Returns gamma^k, where k of the times are <= t; they must not fall (torch's MultiStepLR).
Schedule steps(std::vector<double> times, double gamma = 0.1);
/// Returns gamma^t, gamma in [0, 1] (torch's ExponentialLR).
Schedule exponential(double gamma);
/// Returns 1 / (1 + rate t), rate >= 0.
Schedule inverse_time(double rate);
/// Returns (1 - t / end)^power, and 0 from `end` > 0 on; power > 0 (torch's PolynomialLR).
Schedule polynomial(double end, double power = 1);
/// Returns floor + (1 - floor) (1 + cos(pi t / end)) / 2, and `floor`, in [0, 1], from `end` > 0 on
/// (Loshchilov and Hutter 2017, eq. 5, one period; torch's CosineAnnealingLR up to its end).
Schedule cosine(double end, double floor = 0);
/// Repeats cosine(): the first period lasts `period` > 0, each further one `longer` >= 1 times
/// as long as the one before (SGDR; torch's CosineAnnealingWarmRestarts).
Schedule cosine_restarts(double period, double longer = 1, double floor = 0);
/// Grows from `start`, in [0, 1], to 1 at `end` > 0, linearly (torch's LinearLR).
Schedule warm_up(double end, double start = 0);

struct OneCycleOptions {
  double warm_up = 0.3;          // in (0, 1): share of the time in which the factor grows
  double first = 1.0 / 25;       // in [0, 1]: factor at the beginning
  double last = 1.0 / 25 / 1e4;  // in [0, 1]: at the end
};
/// Grows from `first` to 1 and falls to `last` at `end` > 0, along half cosines (Smith and Topin
/// 2018; torch's OneCycleLR of n steps, whose max_lr is the learning rate, has end = n - 1 and
/// warm_up = (0.3 n - 1) / (n - 1)).
Schedule one_cycle(double end, const OneCycleOptions& options = {});

}  // namespace schedule

/// Times that a schedule can be a function of: steps or epochs that were done, or the share that is
/// used up of what a TrainingLoop is to do.
enum class ScheduleTime : std::uint8_t { steps, epochs, share };

/// A schedule at work on an optimizer: each group's learning rate is the one it had, times the
/// factor.
///
///   LearningRate lr(adam, schedule::polynomial(1), ScheduleTime::share);
///   loop.run(epochs, source, train, lr, ...);       // or by hand: lr.set(t) before a step
class LearningRate {
 public:
  /// Takes the present rates, and sets those of t = 0. It refers to the optimizer.
  LearningRate(Optimizer& optimizer, Schedule schedule, ScheduleTime time = ScheduleTime::steps);

  /// Sets the rates of time t. Throws UsageError, with no rate changed, unless t is finite and >= 0,
  /// for a factor that is negative, NaN or infinite, or for a rate that is beyond the Parameters'
  /// dtype.
  void set(double t);
  std::string on_step(const TrainingStep& step);
  std::string on_epoch(const TrainingEpoch& epoch);

  /// Saves or restores the rates that the factor multiplies; the present ones are the optimizer's.
  void state(Archive& a);

 private:
  Optimizer* optimizer_;
  Schedule schedule_;
  ScheduleTime time_;
  std::vector<double> rates_;
};

struct PlateauOptions {
  std::string figure = "valid";  // of an epoch's, to be small
  bool maximise = false;         // or to be large
  double factor = 0.1;           // in [0, 1)
  std::uint64_t patience = 10;   // epochs in a row without improvement that are borne
  double threshold = 1e-4;       // >= 0: an improvement of no more, relative to the best, is none
  std::uint64_t cooldown = 0;    // epochs after a fall that do not count
  double min_lr = 0;             // >= 0
};

/// Lowers the learning rates when a figure no longer improves (torch's ReduceLROnPlateau, relative
/// threshold).
class Plateau {
 public:
  /// Throws UsageError for an option out of range. It refers to the optimizer.
  explicit Plateau(Optimizer& optimizer, PlateauOptions options = {});

  /// Notes the figure of the next epoch; returns whether a rate fell. NaN is no improvement.
  bool add(double figure);
  /// Does so with the figure that the options name. Throws UsageError if the epoch has none.
  std::string on_epoch(const TrainingEpoch& epoch);

  void state(Archive& a);

 private:
  Optimizer* optimizer_;
  PlateauOptions options_;
  double best_;
  std::uint64_t bad_epochs_ = 0, cooldown_left_ = 0;
};

}  // namespace tapegrad
