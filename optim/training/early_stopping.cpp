#include "early_stopping.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "../../core/fail-inl.h"

namespace tapegrad {
namespace {

constexpr const char* name = "EarlyStopping";

}  // namespace

EarlyStopping::EarlyStopping(Parameters parameters, EarlyStoppingOptions options)
    : parameters_(std::move(parameters)),
      options_(std::move(options)),
      best_(options_.maximise ? -INFINITY : INFINITY) {
  std::size_t distinct = 0;
  if (parameters_.empty())
    fail<UsageError>(name, "there are no parameters: give those of the model");
  if (options_.patience == 0) fail<UsageError>(name, "patience is 0: it must be at least 1 epoch");
  if (!(options_.min_change >= 0))
    fail<UsageError>(name, "min_change is {}: it must not be negative or NaN", options_.min_change);
  for (const NamedParameter& p : parameters_.distinct()) {
    (void)p.value();  // throws if there is none
    ++distinct;
  }
  weights_.resize(distinct);
}

std::string EarlyStopping::add(double figure) {
  const double change = options_.maximise ? figure - best_ : best_ - figure;
  const bool better = best_epoch_ == 0 ? !std::isnan(figure) : change > options_.min_change;
  if (better) {
    std::vector<Tensor> weights;
    for (const NamedParameter& p : parameters_.distinct()) weights.push_back(p.value().clone());
    weights_ = std::move(weights);
    best_ = figure;
    best_epoch_ = epochs_ + 1;
  }
  ++epochs_;
  if (!is_over()) return "";
  if (best_epoch_ == 0) return fmt::format("{} was NaN for {} epochs", options_.figure, epochs_);
  return fmt::format("{} was not better than {:.6g}, of epoch {}, for {} epochs", options_.figure,
                     best_, best_epoch_, options_.patience);
}

std::string EarlyStopping::on_epoch(const TrainingEpoch& epoch) {
  return add(epoch[options_.figure]);
}

void EarlyStopping::check_best() const {
  if (!has_best())
    fail<UsageError>(name, "there is no best epoch yet: no {} that is a number was noted",
                     options_.figure);
}
double EarlyStopping::best() const {
  check_best();
  return best_;
}
std::uint64_t EarlyStopping::best_epoch() const {
  check_best();
  return best_epoch_;
}

void EarlyStopping::restore() const {
  check_best();
  std::size_t k = 0;
  for (const NamedParameter& p : parameters_.distinct()) p.set_value(weights_[k++]);
}

void EarlyStopping::state(Archive& a) {
  a.fact("figure", options_.figure);
  a.fact("maximise", std::uint64_t{options_.maximise});
  a("epochs", epochs_);
  const bool has_weights = a.peek("best_epoch", best_epoch_) > 0;
  a("best_epoch", best_epoch_, std::uint64_t{0}, a.peek("epochs", epochs_));
  constexpr double infinity = std::numeric_limits<double>::infinity();
  a("best", best_, -infinity, infinity);
  std::size_t k = 0;
  for (const NamedParameter& p : parameters_.distinct()) {
    a.tensor("weights." + p.name, weights_[k++], has_weights, p.value().shape(), p.value().dtype());
  }
}

}  // namespace tapegrad
