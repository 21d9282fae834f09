#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "../../autograd/parameters.h"
#include "loop.h"

namespace tapegrad {

struct EarlyStoppingOptions {
  std::string figure = "valid";  // of an epoch's, to be small
  bool maximise = false;         // or to be large
  double min_change = 0;         // >= 0: an improvement of no more is none
  /// Epochs in a row without improvement after which the training ends; by default it never does,
  /// and the best weights are kept all the same.
  std::uint64_t patience = std::numeric_limits<std::uint64_t>::max();
};

/// Keeper of the best weights, which ends a training that no longer improves.
///
///   EarlyStopping best(parameters(model), {.patience = 5});
///   for (...) {
///     ...
///     if (!best.add(evaluate(model)).empty()) break;   // or: loop.run(..., best)
///   }
///   best.restore();
class EarlyStopping {
 public:
  /// Throws UsageError for no parameters, a patience of 0, or a min_change that is negative or NaN.
  explicit EarlyStopping(Parameters parameters, EarlyStoppingOptions options = {});

  /// Notes the figure of the next epoch, and copies the weights if it is the best so far. NaN is
  /// never better. Returns why the training is to end, or "".
  std::string add(double figure);
  /// Does so with the figure that the options name. Throws UsageError if the epoch has none.
  std::string on_epoch(const TrainingEpoch& epoch);

  /// Returns 1 if the training has ended by this, else 0: one that goes on does no further step.
  double used() const { return is_over() ? 1 : 0; }
  /// Returns whether there is a best epoch: one whose figure was not NaN.
  bool has_best() const { return best_epoch_ > 0; }
  /// Returns the best figure, or its epoch, from 1 on. Throws UsageError if there is none.
  double best() const;
  std::uint64_t best_epoch() const;
  /// Puts the best weights back. Throws UsageError if there are none.
  void restore() const;

  /// Saves or restores what was noted, and the weights.
  void state(Archive& a);

 private:
  void check_best() const;
  bool is_over() const { return epochs_ - best_epoch_ >= options_.patience; }

  Parameters parameters_;
  EarlyStoppingOptions options_;
  std::uint64_t epochs_ = 0, best_epoch_ = 0;
  double best_;
  std::vector<Tensor> weights_;  // of the best epoch; undefined before there is one
};

}  // namespace tapegrad
