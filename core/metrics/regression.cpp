#include "regression.h"

#include <cmath>
#include <string_view>

#include "../check-inl.h"
#include "../fail-inl.h"
#include "weights-inl.h"

namespace tapegrad {
namespace {

struct Pair {
  double prediction = 0, target = 0, weight = 0;
};

/// All pairs of a batch, checked; those of weight 0 are zeros.
std::vector<Pair> checked_pairs(std::string_view metric, const Tensor& predictions,
                                const Tensor& targets, const Tensor& weights) {
  check::defined(metric, {{"predictions", predictions}, {"targets", targets}});
  check::equal_shapes(metric, "predictions", predictions.shape(), "targets", targets.shape());
  check::real(metric, "predictions", predictions.dtype());
  if (targets.dtype() != predictions.dtype()) {
    fail<DtypeError>(metric, "predictions are {} but targets are {}: convert one with to()",
                     predictions.dtype(), targets.dtype());
  }
  const metrics::Weights w(metric, weights, "targets", targets.shape());
  const auto finite = [&](std::string_view name, const Tensor& x, std::size_t i) {
    const double v = x.at(i);
    if (std::isfinite(v)) return v;
    fail<NonFiniteError>(metric, "{} has {} at position {} of shape {}: all must be finite", name,
                         v, i, x.shape());
  };
  std::vector<Pair> pairs(targets.numel());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (w[i] == 0) continue;
    pairs[i] = {finite("predictions", predictions, i), finite("targets", targets, i), w[i]};
  }
  return pairs;
}

constexpr const char* regression = "RegressionMetrics";

}  // namespace

void RegressionMetrics::Moments::merge(const Moments& other) {
  const double total = weight + other.weight;
  if (total == 0) return;
  if (weight == 0) origin = other.origin;
  const double distance = (other.origin - origin) + (other.mean - mean);
  mean += distance * (other.weight / total);
  deviations += other.deviations + distance * (weight / total) * other.weight * distance;
  weight = total;
}

void RegressionMetrics::add(const Tensor& predictions, const Tensor& targets,
                            const Tensor& weights) {
  for (const auto& [prediction, target, w] :
       checked_pairs(regression, predictions, targets, weights)) {
    if (w == 0) continue;
    const double error = prediction - target;
    targets_.merge({w, target, 0, 0});
    squared_ += w * error * error;
    absolute_ += w * std::abs(error);
    if (target == 0) {
      ++zeros_;
    } else {
      relative_ += w * std::abs(error / target);
    }
  }
}

RegressionMetrics& RegressionMetrics::operator+=(const RegressionMetrics& other) {
  targets_.merge(other.targets_);
  squared_ += other.squared_;
  absolute_ += other.absolute_;
  relative_ += other.relative_;
  zeros_ += other.zeros_;
  return *this;
}

double RegressionMetrics::mse() const { return metrics::mean(regression, squared_, count()); }
double RegressionMetrics::rmse() const { return std::sqrt(mse()); }
double RegressionMetrics::mae() const { return metrics::mean(regression, absolute_, count()); }

double RegressionMetrics::mape() const {
  if (zeros_ > 0) {
    fail<UsageError>(regression,
                     "{} of the targets are 0, of which no error is a percentage: give them weight "
                     "0, or take mae()",
                     zeros_);
  }
  return metrics::mean(regression, relative_, count());
}

double RegressionMetrics::r2() const {
  const double error = mse();
  if (targets_.deviations == 0) {
    fail<UsageError>(regression,
                     "all targets are {}: r2() compares with the targets' variance, which must not "
                     "be 0",
                     targets_.origin + targets_.mean);
  }
  return 1 - error / (targets_.deviations / count());
}

ESR::ESR(const ESROptions& options) : pre_emphasis_(options.pre_emphasis) {
  check::probability("ESR", "pre_emphasis", pre_emphasis_);
}

void ESR::add(const Tensor& predictions, const Tensor& targets, const Tensor& weights) {
  const std::vector<Pair> pairs = checked_pairs("ESR", predictions, targets, weights);
  if (targets.rank() == 0) check::wrong_shape("ESR", "targets", targets.shape(), "(T, ...)");
  const Shape step = targets.shape().without(0);
  const std::size_t n = step.numel();
  if (!last_) last_ = Last{step, std::vector<double>(n), std::vector<double>(n)};
  if (last_->shape != step) {
    fail<UsageError>("ESR",
                     "a step has shape {} but had {} in the chunk before: they must be the same "
                     "sequences; restart() begins new ones",
                     step, last_->shape);
  }
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto& [prediction, target, w] = pairs[i];
    double& last_error = last_->error[i % n];
    double& last_target = last_->target[i % n];
    const double error = prediction - target;
    const double filtered_error = error - pre_emphasis_ * last_error;
    const double filtered_target = target - pre_emphasis_ * last_target;
    errors_ += w * filtered_error * filtered_error;
    signal_ += w * filtered_target * filtered_target;
    last_error = error;
    last_target = target;
  }
}

double ESR::value() const {
  if (signal_ == 0) {
    fail<UsageError>("ESR", "the targets counted are silent: a ratio to them does not exist");
  }
  return errors_ / signal_;
}

}  // namespace tapegrad
