#include "adam.h"

#include <cmath>
#include <utility>

namespace tapegrad {

Adam::Adam(const std::vector<Group>& groups) : Adam("Adam", groups, nullptr) {}

Adam::Adam(const char* name, const std::vector<Group>& groups, Decay decay)
    : Optimizer(name, groups, {"m", "v", "v_max"}), decay_(std::move(decay)) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AdamOptions& o = groups[g].options;
    check_option(g, "beta1", o.beta1, 0, 1);
    check_option(g, "beta2", o.beta2, 0, 1);
    check_positive(g, "epsilon", o.epsilon);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    options_.push_back(o);
  }
}

/// Both forms of epsilon as value -= rate m / (sqrt(v) root_scale + epsilon).
template <class T>
void Adam::adapt(const Step& step, const kernels::Update<T>& u) const {
  const AdamOptions& o = options_[step.group];
  const auto t = static_cast<double>(step.number);
  const double correction1 = 1 - std::pow(o.beta1, t);
  const double correction2 = std::sqrt(1 - std::pow(o.beta2, t));
  const bool hat = o.epsilon_form == AdamEpsilon::hat;
  kernels::adapt<T>({.beta1 = o.beta1,
                     .beta2 = o.beta2,
                     .weight_decay = o.weight_decay,
                     .keep = decay_ ? 1 - decay_(step.group, step.lr) : 1,
                     .rate = hat ? step.lr * correction2 / correction1 : step.lr / correction1,
                     .root_scale = hat ? 1 : 1 / correction2,
                     .epsilon = o.epsilon},
                    u);
}

void Adam::update(const Step& step, const kernels::Update<float>& u) const { adapt(step, u); }
void Adam::update(const Step& step, const kernels::Update<double>& u) const { adapt(step, u); }

namespace {

/// Adam's options, without the decay, which is not its own.
std::vector<Adam::Group> as_adam(const std::vector<AdamW::Group>& groups) {
  std::vector<Adam::Group> same;
  same.reserve(groups.size());
  for (const auto& [parameters, o] : groups) {
    same.push_back({parameters,
                    {.lr = o.lr,
                     .beta1 = o.beta1,
                     .beta2 = o.beta2,
                     .epsilon = o.epsilon,
                     .amsgrad = o.amsgrad}});
  }
  return same;
}

/// Shares of a value that a step takes off, for a rate of 1.
std::vector<double> decays(const std::vector<AdamW::Group>& groups) {
  std::vector<double> shares;
  shares.reserve(groups.size());
  for (const auto& [parameters, o] : groups) {
    const bool published = o.decay_form == AdamWDecay::published;
    shares.push_back(published ? o.weight_decay / o.lr : o.weight_decay);
  }
  return shares;
}

}  // namespace

AdamW::AdamW(const std::vector<Group>& groups)
    : Adam("AdamW", as_adam(groups),
           [shares = decays(groups)](std::size_t group, double lr) { return lr * shares[group]; }) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AdamWOptions& o = groups[g].options;
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    if (o.decay_form == AdamWDecay::published && o.lr == 0) {
      refuse_option(
          g,
          "lr is 0: the published decay is relative to it; give the rate of the schedule's "
          "beginning");
    }
  }
}

}  // namespace tapegrad
