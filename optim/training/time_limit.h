#pragma once

#include <string>

#include "loop.h"
#include "stopwatch.h"

namespace tapegrad {

/// Limit of the time that a training takes, from its making on; what a training that goes on has
/// used before is counted.
class TimeLimit {
 public:
  /// Throws UsageError unless `seconds` > 0; infinity is no limit.
  explicit TimeLimit(double seconds);

  /// Returns the seconds that were used.
  double seconds() const { return before_ + clock_.seconds(); }
  /// Returns the share that was used, in [0, 1].
  double used() const;

  std::string on_step(const TrainingStep& step) const;
  /// Saves or restores the seconds that were used.
  void state(Archive& a);

 private:
  double limit_;
  double before_ = 0;  // in earlier runs
  Stopwatch clock_;
};

}  // namespace tapegrad
