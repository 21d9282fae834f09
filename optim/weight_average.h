#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../autograd/parameters.h"
#include "training/loop.h"

namespace tapegrad {

struct WeightAverageOptions {
  /// In [0, 1): the average is exponential, and this is the share that a step leaves of it. None:
  /// it is the mean of all updates (Polyak and Juditsky 1992).
  std::optional<double> decay;
  /// Of an exponential average: the first values count no more than they would without a beginning,
  /// as Adam corrects its moments.
  bool corrected = false;
};

/// Averages of weights, by which a model is often better than by the last ones:
///
///   WeightAverage average(parameters(model), {.decay = 0.999});
///   ...
///   adam.step();
///   average.update();
///   ...
///   {
///     Averaged scope(average);      // the model has the averages, until the scope ends
///     evaluate(model);
///   }
///   ...
///   average.apply();                // for good, at the end
///
/// Update t takes a share s of the present values:
///
///   average = average + s (value - average)
///   mean:          s = 1 / t
///   exponential:   s = 1 - decay, and 1 at t = 1 (torch's AveragedModel)
///   corrected:     s = (1 - decay) / (1 - decay^t)
///
/// For averaging that begins in the middle of a training, call update() from there on;
/// NonMonotoneTrigger says when. Averages are in float64 for all weights: a long mean moves by less
/// than float32 can tell.
class WeightAverage {
 public:
  /// Throws UsageError for no parameters, one without value, a decay out of its range, or a
  /// correction without decay; DtypeError for int32.
  explicit WeightAverage(Parameters parameters, const WeightAverageOptions& options = {});

  /// Takes the present values into the averages. Throws UsageError in the scope of an Averaged.
  void update();
  /// Does so, but not after a loss that is not finite, whose weights are useless.
  std::string on_step(const TrainingStep& step);
  std::uint64_t updates() const { return updates_; }
  /// Copies the averages into the model. Throws UsageError before the first update.
  void apply() const;

  /// Saves or restores the averages and the number of updates. Throws UsageError in the scope of an
  /// Averaged.
  void state(Archive& a);

 private:
  friend class Averaged;
  void check_own_weights() const;

  Parameters parameters_;
  WeightAverageOptions options_;
  std::vector<Tensor> averages_;  // of each distinct Parameter; undefined before the first update
  std::uint64_t updates_ = 0;
  bool in_model_ = false;  // an Averaged lives
};

/// A scope in which the model has the averages in place of its weights, which come back with all
/// their bits when the scope ends.
class Averaged {
 public:
  /// Throws UsageError before the first update, or in the scope of another one.
  explicit Averaged(WeightAverage& average);
  Averaged(const Averaged&) = delete;
  Averaged& operator=(const Averaged&) = delete;
  ~Averaged();

 private:
  WeightAverage& average_;
  std::vector<Tensor> weights_;
};

struct NonMonotoneOptions {
  std::string figure = "valid";  // of an epoch's, to be small
  bool maximise = false;         // or to be large
  std::uint64_t interval = 5;    // >= 1: the last figures that are not compared with
  std::uint64_t every = 1;       // >= 1: steps from a figure to the next
};

/// Decision when to begin averaging (NT-ASGD: Merity, Keskar and Socher 2018, algorithm 1, as of
/// ICLR): at the first figure that is worse than the best one of those before the last `interval`.
///
///   NonMonotoneTrigger trigger({.interval = 5, .every = 1000});
///   WeightAverage average(parameters(model));
///   ...
///   sgd.step();
///   if (trigger.due(step)) trigger.add(evaluate(model));
///   if (trigger.started()) average.update();
///
/// (The first preprint's algorithm compares with the last ones instead; its authors call that a
/// misprint: github.com/salesforce/awd-lstm-lm/issues/13.)
class NonMonotoneTrigger {
 public:
  /// Throws UsageError for an interval of 0, or every 0 steps.
  explicit NonMonotoneTrigger(NonMonotoneOptions options = {});

  /// Returns whether a figure is to be added after `step` steps: not once averaging has started.
  bool due(std::uint64_t step) const { return !started_ && step % options_.every == 0; }
  /// Notes the next figure; returns whether averaging has started, which is never taken back. NaN
  /// starts nothing, and is never the best.
  bool add(double figure);
  /// Does so with the figure that the options name. Throws UsageError if the epoch has none.
  std::string on_epoch(const TrainingEpoch& epoch);
  bool started() const { return started_; }

  void state(Archive& a);

 private:
  NonMonotoneOptions options_;
  double best_;                 // of those before the last ones
  std::vector<double> recent_;  // the last ones, oldest first; infinite where there were none yet
  bool started_ = false;
};

}  // namespace tapegrad
