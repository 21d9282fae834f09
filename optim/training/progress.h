#pragma once

#include <cstddef>
#include <string>

#include "loop.h"
#include "stopwatch.h"

namespace tapegrad {

/// A line on stderr that says how far a program is: rewritten on a terminal, else a new one every
/// few seconds. It has no colours and no control characters but the carriage return, so NO_COLOR
/// has nothing to switch off.
///
///   if (progress.due()) progress.show(fmt::format("step {}", step));
class Progress {
 public:
  explicit Progress(bool quiet = false);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  /// Returns whether the last show() is long enough ago.
  bool due() const;
  void show(const std::string& line);
  /// Takes the line off a terminal, so that something else can be printed there.
  void clear();

  /// Shows epoch, step, loss, the last epoch's figures and the time that is left.
  std::string on_step(const TrainingStep& step);
  std::string on_epoch(const TrainingEpoch& epoch);
  /// Says the figures of the last epoch, and why the training ended, if not all epochs were done.
  void on_end(const TrainingEnd& end);

 private:
  bool quiet_, terminal_;
  Stopwatch clock_;
  double next_ = 0;          // seconds on the clock
  std::size_t columns_ = 0;  // of the line that stands on the terminal

  std::string figures_;       // of the last epoch
  double first_done_ = -1;    // share that was done at the first step seen
  double first_seconds_ = 0;  // on the clock then
};

}  // namespace tapegrad
