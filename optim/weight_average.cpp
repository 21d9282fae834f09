#include "weight_average.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "../core/fail-inl.h"
#include "../core/kernels/update.h"

namespace tapegrad {

WeightAverage::WeightAverage(Parameters parameters, const WeightAverageOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  constexpr const char* where = "WeightAverage";
  if (parameters_.empty()) {
    fail<UsageError>(where, "there are no parameters: give those of the model");
  }
  if (options_.decay && !(*options_.decay >= 0 && *options_.decay < 1)) {
    fail<UsageError>(where, "decay is {}: it must be in [0, 1)", *options_.decay);
  }
  if (options_.corrected && !options_.decay) {
    fail<UsageError>(where, "corrected needs a decay: a mean has nothing to correct");
  }
  for (const NamedParameter& p : parameters_.distinct()) {
    if (p.value().dtype() == DType::int32) {
      fail<DtypeError>(where, "{} is int32: it must be float32 or float64", p.name);
    }
    averages_.emplace_back();
  }
}

void WeightAverage::check_own_weights() const {
  if (!in_model_) return;
  fail<UsageError>("WeightAverage",
                   "the model has the averages, not its weights: end the scope of Averaged first");
}

void WeightAverage::update() {
  check_own_weights();
  if (updates_ == 0) {
    std::vector<Tensor> zeros;
    for (const NamedParameter& p : parameters_.distinct()) {
      zeros.push_back(Tensor::zeros(p.value().shape(), DType::float64));
    }
    averages_ = std::move(zeros);
  }
  const auto t = static_cast<double>(++updates_);
  double share = 1 / t;
  if (options_.decay && (options_.corrected || t > 1)) {
    share = 1 - *options_.decay;
    if (options_.corrected) share /= 1 - std::pow(*options_.decay, t);
  }
  std::size_t k = 0;
  for (const NamedParameter& p : parameters_.distinct()) {
    kernels::approach(averages_[k++], p.value(), share);
  }
}

std::string WeightAverage::on_step(const TrainingStep& step) {
  if (std::isfinite(step.loss)) update();
  return "";
}

void WeightAverage::apply() const {
  check_own_weights();
  if (updates_ == 0) fail<UsageError>("WeightAverage", "there is no average yet: call update()");
  std::vector<Tensor> values;
  std::size_t k = 0;
  for (const NamedParameter& p : parameters_.distinct()) {
    values.push_back(averages_[k++].to(p.value().dtype()));
  }
  k = 0;
  for (const NamedParameter& p : parameters_.distinct()) p.set_value(values[k++]);
}

void WeightAverage::state(Archive& a) {
  check_own_weights();
  const bool any = a.peek("updates", updates_) > 0;
  a("updates", updates_);
  std::size_t k = 0;
  for (const NamedParameter& p : parameters_.distinct()) {
    a.tensor("average." + p.name, averages_[k++], any, p.value().shape(), DType::float64);
  }
}

Averaged::Averaged(WeightAverage& average) : average_(average) {
  for (const NamedParameter& p : average_.parameters_.distinct()) {
    weights_.push_back(p.value().clone());
  }
  average_.apply();
  average_.in_model_ = true;
}

Averaged::~Averaged() {
  std::size_t k = 0;
  for (const NamedParameter& p : average_.parameters_.distinct()) p.set_value(weights_[k++]);
  average_.in_model_ = false;
}

NonMonotoneTrigger::NonMonotoneTrigger(NonMonotoneOptions options)
    : options_(std::move(options)), best_(options_.maximise ? -INFINITY : INFINITY) {
  constexpr const char* where = "NonMonotoneTrigger";
  if (options_.interval == 0) fail<UsageError>(where, "interval is 0: it must be at least 1");
  if (options_.every == 0) fail<UsageError>(where, "every is 0: it must be at least 1 step");
  recent_.assign(options_.interval, best_);
}

bool NonMonotoneTrigger::add(double figure) {
  const auto better = [this](double x, double y) { return options_.maximise ? x > y : x < y; };
  started_ = started_ || better(best_, figure);
  if (better(recent_.front(), best_)) best_ = recent_.front();
  std::rotate(recent_.begin(), recent_.begin() + 1, recent_.end());
  recent_.back() = std::isnan(figure) ? (options_.maximise ? -INFINITY : INFINITY) : figure;
  return started_;
}

std::string NonMonotoneTrigger::on_epoch(const TrainingEpoch& epoch) {
  (void)add(epoch[options_.figure]);
  return "";
}

void NonMonotoneTrigger::state(Archive& a) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  a.fact("figure", options_.figure);
  a.fact("maximise", std::uint64_t{options_.maximise});
  a.fact("interval", options_.interval);
  a("started", started_);
  a("best", best_, -infinity, infinity);
  for (std::size_t k = 0; k < recent_.size(); ++k) {
    a(fmt::format("recent.{}", k), recent_[k], -infinity, infinity);
  }
}

}  // namespace tapegrad
