#pragma once

#include <string>

#include "loop.h"

namespace tapegrad {

/// While it lives, SIGINT (Ctrl-C), SIGTERM and SIGHUP do not end the program: a training finishes
/// its step and keeps what it has. A second signal ends the program at once. Under nohup SIGHUP
/// stays ignored. What a signal did before is done again afterwards. One at a time.
///
///   SignalGuard guard;
///   const TrainingEnd end = loop.run(50, batches, train, evaluate, guard, checkpoint);
///
/// A signal ends the trainings of the guard that it came to, not those of one made later. A program
/// that is to end by it asks received().
class SignalGuard {
 public:
  /// Forgets the signal that an earlier one received. Throws UsageError if there is one already.
  SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;
  ~SignalGuard();

  /// Returns the number of the signal that the last guard, alive or not, received; 0 if there was
  /// none.
  static int received();
  /// Returns the signal's name, as "SIGINT"; null if there was none.
  static const char* name();
  /// Forgets the signal that has come: the next training with this guard is not ended by it.
  static void forget();

  std::string on_step(const TrainingStep& step) const;
};

}  // namespace tapegrad
