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
class SignalGuard {
 public:
  /// Throws UsageError if there is one already.
  SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;
  ~SignalGuard();

  /// Returns the number of the signal that has come since the program began; 0 if there was none.
  static int received();
  /// Returns the signal's name, as "SIGINT"; null if there was none.
  static const char* name();
  /// Forgets the signal that has come: the next training is not ended by it.
  static void forget();

  std::string on_step(const TrainingStep& step) const;
};

}  // namespace tapegrad
