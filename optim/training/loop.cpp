#include "loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "../../core/fail-inl.h"

namespace tapegrad {
namespace {

constexpr const char* name = "TrainingLoop";

}  // namespace

double TrainingEpoch::operator[](std::string_view wanted) const {
  std::vector<std::string_view> names;
  for (const auto& [figure, value] : figures) {
    if (figure == wanted) return value;
    names.push_back(figure);
  }
  fail<UsageError>("TrainingEpoch", "there is no figure {}: there are {}", wanted,
                   fmt::format("{}", fmt::join(names, ", ")));
}

void TrainingLoop::begin(std::uint64_t epochs) {
  epochs_ = epochs;
  end_ = {};
}

void TrainingLoop::check_not_empty(std::uint64_t steps) {
  if (steps > 0) return;
  fail<UsageError>(name, "the epoch has no steps: the source must have an element");
}

TrainingStep TrainingLoop::add(const StepLoss& loss, std::uint64_t steps) {
  if (!(loss.count > 0) || std::isinf(loss.count)) {
    fail<UsageError>(name,
                     "step {} has a loss over {} targets: their number must be finite and > 0",
                     step_ + 1, loss.count);
  }
  ++step_, ++steps_of_epoch_;
  if (std::isfinite(loss.loss)) {
    loss_sum_ += loss.loss * loss.count;
    loss_count_ += loss.count;
  } else {  // left out of the mean of an epoch that goes on all the same, with weights put back
    end_ = {TrainingEnd::Cause::diverged,
            fmt::format("the loss of step {} (epoch {}) is {}: the weights are useless; a lower "
                        "learning rate or clip_norm is the usual cure",
                        step_, epoch_ + 1, std::isnan(loss.loss) ? "nan" : "infinite")};
  }
  const double of_epoch =
      steps == 0 ? 0 : static_cast<double>(steps_of_epoch_) / static_cast<double>(steps);
  return {.step = step_,
          .epoch = epoch_ + 1,
          .epochs = epochs_,
          .loss = loss.loss,
          .mean_loss = loss_sum_ / loss_count_,
          .done = (static_cast<double>(epoch_) + of_epoch) / static_cast<double>(epochs_)};
}

TrainingEpoch TrainingLoop::end_epoch(Figures figures) {
  if (std::ranges::find(figures, "train", &Figures::value_type::first) == figures.end())
    figures.insert(figures.begin(), {"train", loss_sum_ / loss_count_});
  ++epoch_;
  steps_of_epoch_ = 0;
  steps_are_done_ = false;
  loss_sum_ = loss_count_ = 0;
  return {.epoch = epoch_, .epochs = epochs_, .step = step_, .figures = std::move(figures)};
}

void TrainingLoop::stop(const std::string& why) {
  if (!why.empty() && end_.why.empty()) end_ = {TrainingEnd::Cause::stopped, why};
}

void TrainingLoop::state(Archive& a) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  a("epoch", epoch_);
  a("step", step_);
  a("steps_of_epoch", steps_of_epoch_, std::uint64_t{0}, a.peek("step", step_));
  a("steps_are_done", steps_are_done_);
  a("loss_sum", loss_sum_, -infinity, infinity);
  a("loss_count", loss_count_, 0.0, std::numeric_limits<double>::max());
}

}  // namespace tapegrad
