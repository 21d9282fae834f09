#include "schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "../core/fail-inl.h"

namespace tapegrad {
namespace {

/// Throws UsageError unless `value` is in [low, high]; NaN is in no range.
void check_in(const char* where, const char* argument, double value, double low,
              double high = std::numeric_limits<double>::max()) {
  if (value >= low && value <= high) return;
  if (high == std::numeric_limits<double>::max())
    fail<UsageError>(where, "{} is {}: it must be finite and at least {}", argument, value, low);
  fail<UsageError>(where, "{} is {}: it must be in [{}, {}]", argument, value, low, high);
}
void check_positive(const char* where, const char* argument, double value) {
  if (value > 0 && std::isfinite(value)) return;
  fail<UsageError>(where, "{} is {}: it must be finite and > 0", argument, value);
}

/// From a at share 0 to b at share 1, along half a cosine.
double half_cosine(double a, double b, double share) {
  return b + (a - b) * (1 + std::cos(std::numbers::pi * share)) / 2;
}

}  // namespace

Schedule::Schedule(std::function<double(double)> factor) : factor_(std::move(factor)) {
  if (!factor_) fail<UsageError>("Schedule", "the function is empty: give one that maps a time");
}

Schedule Schedule::then(double end, Schedule next) const {
  check_in("then", "end", end, 0);
  return {[first = *this, end, next = std::move(next)](double t) {
    return t < end ? first(t) : next(t - end);
  }};
}

namespace schedule {

Schedule constant(double f) {
  check_in("constant", "f", f, 0);
  return {[f](double) { return f; }};
}

Schedule step(double period, double gamma) {
  check_positive("step", "period", period);
  check_in("step", "gamma", gamma, 0);
  return {[=](double t) { return std::pow(gamma, std::floor(t / period)); }};
}

Schedule steps(std::vector<double> times, double gamma) {
  check_in("steps", "gamma", gamma, 0);
  double last = 0;
  for (const double time : times) {
    if (!(time >= last))
      fail<UsageError>("steps", "a time is {} after {}: they must not fall", time, last);
    last = time;
  }
  return {[times = std::move(times), gamma](double t) {
    return std::pow(gamma, std::ranges::upper_bound(times, t) - times.begin());
  }};
}

Schedule exponential(double gamma) {
  check_in("exponential", "gamma", gamma, 0, 1);
  return {[gamma](double t) { return std::pow(gamma, t); }};
}

Schedule inverse_time(double rate) {
  check_in("inverse_time", "rate", rate, 0);
  return {[rate](double t) { return 1 / (1 + rate * t); }};
}

Schedule polynomial(double end, double power) {
  check_positive("polynomial", "end", end);
  check_positive("polynomial", "power", power);
  return {[=](double t) { return t < end ? std::pow(1 - t / end, power) : 0; }};
}

Schedule cosine(double end, double floor) {
  check_positive("cosine", "end", end);
  check_in("cosine", "floor", floor, 0, 1);
  return {[=](double t) { return half_cosine(1, floor, std::min(t / end, 1.0)); }};
}

Schedule cosine_restarts(double period, double longer, double floor) {
  check_positive("cosine_restarts", "period", period);
  check_in("cosine_restarts", "longer", longer, 1);
  check_in("cosine_restarts", "floor", floor, 0, 1);
  return {[=](double t) {
    double length = period, begin = 0;
    if (longer == 1) {
      begin = std::floor(t / period) * period;
    } else {  // n periods last period (longer^n - 1) / (longer - 1)
      const double n = std::floor(std::log1p(t / period * (longer - 1)) / std::log(longer));
      // The logarithm may be rounded to either side of a whole number.
      for (const double k : {n - 1, n, n + 1}) {
        const double there = period * (std::pow(longer, k) - 1) / (longer - 1);
        if (k >= 0 && there <= t) begin = there, length = period * std::pow(longer, k);
      }
    }
    return half_cosine(1, floor, (t - begin) / length);
  }};
}

Schedule warm_up(double end, double start) {
  check_positive("warm_up", "end", end);
  check_in("warm_up", "start", start, 0, 1);
  return {[=](double t) { return t < end ? start + (1 - start) * t / end : 1; }};
}

Schedule one_cycle(double end, const OneCycleOptions& options) {
  check_positive("one_cycle", "end", end);
  const OneCycleOptions o = options;
  if (!(o.warm_up > 0 && o.warm_up < 1))
    fail<UsageError>("one_cycle", "warm_up is {}: it must be between 0 and 1", o.warm_up);
  check_in("one_cycle", "first", o.first, 0, 1);
  check_in("one_cycle", "last", o.last, 0, 1);
  return {[=](double t) {
    const double peak = o.warm_up * end;
    if (t < peak) return half_cosine(o.first, 1, t / peak);
    return half_cosine(1, o.last, std::min((t - peak) / (end - peak), 1.0));
  }};
}

}  // namespace schedule

LearningRate::LearningRate(Optimizer& optimizer, Schedule schedule, ScheduleTime time)
    : optimizer_(&optimizer), schedule_(std::move(schedule)), time_(time) {
  for (std::size_t g = 0; g < optimizer.groups(); ++g) rates_.push_back(optimizer.learning_rate(g));
  set(0);
}

void LearningRate::set(double t) {
  if (!(t >= 0 && std::isfinite(t)))
    fail<UsageError>("LearningRate", "t is {}: it must be finite and >= 0", t);
  const double factor = schedule_(t);
  if (!(factor >= 0 && std::isfinite(factor))) {
    fail<UsageError>("LearningRate", "the factor of t = {} is {}: it must be finite and >= 0", t,
                     factor);
  }
  std::vector<double> rates = rates_;
  for (double& rate : rates) rate *= factor;
  optimizer_->set_learning_rates(rates);
}

std::string LearningRate::on_step(const TrainingStep& step) {
  if (time_ == ScheduleTime::steps) set(static_cast<double>(step.step));
  if (time_ == ScheduleTime::share) set(step.done);
  return "";
}
std::string LearningRate::on_epoch(const TrainingEpoch& epoch) {
  if (time_ == ScheduleTime::epochs) set(static_cast<double>(epoch.epoch));
  return "";
}

void LearningRate::state(Archive& a) {
  a.fact("groups", rates_.size());
  for (std::size_t g = 0; g < rates_.size(); ++g)
    a(fmt::format("{}.lr", g), rates_[g], 0.0, std::numeric_limits<double>::max());
}

Plateau::Plateau(Optimizer& optimizer, PlateauOptions options)
    : optimizer_(&optimizer),
      options_(std::move(options)),
      best_(options_.maximise ? -INFINITY : INFINITY) {
  constexpr const char* where = "Plateau";
  if (!(options_.factor >= 0 && options_.factor < 1))
    fail<UsageError>(where, "factor is {}: it must be in [0, 1)", options_.factor);
  check_in(where, "threshold", options_.threshold, 0);
  check_in(where, "min_lr", options_.min_lr, 0);
}

bool Plateau::add(double figure) {
  const double change = options_.maximise ? figure - best_ : best_ - figure;
  // A share of infinity is no threshold.
  const bool better = change > (std::isinf(best_) ? 0 : options_.threshold * std::abs(best_));
  if (better) best_ = figure;
  bad_epochs_ = better ? 0 : bad_epochs_ + 1;
  if (cooldown_left_ > 0) --cooldown_left_, bad_epochs_ = 0;
  if (bad_epochs_ <= options_.patience) return false;
  bool fell = false;
  for (std::size_t g = 0; g < optimizer_->groups(); ++g) {
    const double before = optimizer_->learning_rate(g);
    const double lr = std::min(before, std::max(before * options_.factor, options_.min_lr));
    optimizer_->set_learning_rate(lr, g);
    fell = fell || lr < before;
  }
  bad_epochs_ = 0;
  cooldown_left_ = options_.cooldown;
  return fell;
}
std::string Plateau::on_epoch(const TrainingEpoch& epoch) {
  (void)add(epoch[options_.figure]);
  return "";
}

void Plateau::state(Archive& a) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  a.fact("figure", options_.figure);
  a.fact("maximise", std::uint64_t{options_.maximise});
  a("best", best_, -infinity, infinity);
  a("bad_epochs", bad_epochs_);
  a("cooldown_left", cooldown_left_);
}

}  // namespace tapegrad
