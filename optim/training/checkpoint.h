#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>

#include "loop.h"
#include "stopwatch.h"

namespace tapegrad {

struct CheckpointOptions {
  double seconds = 600;      // > 0, from one checkpoint to the next within an epoch
  std::uint64_t epochs = 1;  // >= 1, from one to the next at the ends of epochs
};

/// The state of a training in a file, written now and then, so that a program that was killed goes
/// on:
///
///   Checkpoint checkpoint("run.state", [&](Archive& a) {
///     a("loop", loop); a("model", parameters(model)); a("adam", adam); a("best", best);
///   });
///   checkpoint.resume();
///   loop.run(50, batches, train, evaluate, best, checkpoint);   // after what it saves
///
/// A training whose steps are a function of what is saved goes on with the same bits.
class Checkpoint {
 public:
  /// `state` names the parts, as save_state() takes it; what it refers to must live as long. Throws
  /// UsageError for an option out of range; FileError if the file cannot be written.
  Checkpoint(std::filesystem::path path, std::function<void(Archive&)> state,
             CheckpointOptions options = {});

  /// Restores what the file has, and returns whether there is a file. Throws FileError as
  /// load_state() does, UsageError if there is none and two parts have one name; then nothing has
  /// been changed.
  bool resume();
  /// Saves now. Throws FileError.
  void save();
  /// Removes the file, if there is one: the training is done, and the next one starts afresh. Throws
  /// FileError.
  void remove();

  std::string on_step(const TrainingStep& step);
  std::string on_epoch(const TrainingEpoch& epoch);
  /// Saves what is not saved yet, unless the training diverged: then the file keeps the last good
  /// state.
  void on_end(const TrainingEnd& end);

 private:
  std::filesystem::path path_;
  std::function<void(Archive&)> state_;
  CheckpointOptions options_;
  Stopwatch since_save_;
  bool unsaved_ = true;  // something was done since save()
};

}  // namespace tapegrad
