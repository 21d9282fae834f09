#include "checkpoint.h"

#include <cmath>
#include <system_error>
#include <utility>

#include "../../core/fail-inl.h"
#include "../../core/io/atomic_file.h"

namespace tapegrad {
namespace {

constexpr const char* name = "Checkpoint";

}  // namespace

Checkpoint::Checkpoint(std::filesystem::path path, std::function<void(Archive&)> state,
                       CheckpointOptions options)
    : path_(std::move(path)), state_(std::move(state)), options_(options) {
  if (!(options.seconds > 0))
    fail<UsageError>(name, "seconds is {}: it must be > 0", options.seconds);
  if (options.epochs == 0) fail<UsageError>(name, "epochs is 0: it must be at least 1");
  if (!state_) fail<UsageError>(name, "there is no state: give a function that names its parts");
  check_writable(path_, name);
}

bool Checkpoint::resume() {
  // A path that cannot be looked at is left to load_state(), which says why.
  std::error_code error;
  if (!std::filesystem::exists(path_, error) && !error) {
    check_state(state_);  // now, not when the first epoch has been trained
    return false;
  }
  load_state(path_, state_);
  return true;
}

void Checkpoint::save() {
  save_state(path_, state_);
  since_save_ = {};
  unsaved_ = false;
}

void Checkpoint::remove() {
  std::error_code error;
  std::filesystem::remove(path_, error);
  if (error) fail<FileError>(name, "{}: cannot be removed: {}", path_.string(), error.message());
}

std::string Checkpoint::on_step(const TrainingStep& step) {
  unsaved_ = true;
  if (std::isfinite(step.loss) && since_save_.seconds() >= options_.seconds) save();
  return "";
}
std::string Checkpoint::on_epoch(const TrainingEpoch& epoch) {
  unsaved_ = true;
  if (epoch.epoch % options_.epochs == 0) save();
  return "";
}
void Checkpoint::on_end(const TrainingEnd& end) {
  if (unsaved_ && end.cause != TrainingEnd::Cause::diverged) save();
}

}  // namespace tapegrad
