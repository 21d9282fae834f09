#include "time_limit.h"

#include <fmt/format.h>

#include <algorithm>

#include "../../core/fail-inl.h"

namespace tapegrad {

TimeLimit::TimeLimit(double seconds) : limit_(seconds) {
  if (!(seconds > 0)) fail<UsageError>("TimeLimit", "seconds is {}: it must be > 0", seconds);
}

double TimeLimit::used() const { return std::min(1.0, seconds() / limit_); }

std::string TimeLimit::on_step(const TrainingStep& step) const {
  if (seconds() < limit_) return "";
  return fmt::format("the {} seconds were over after step {}", limit_, step.step);
}

void TimeLimit::state(Archive& a) {
  double used = seconds();
  a("seconds", used, 0.0, std::numeric_limits<double>::max());
  if (!a.loading()) return;
  before_ = used;
  clock_ = {};
}

}  // namespace tapegrad
