#include "adam.h"

#include <cmath>

namespace tapegrad {

Adam::Adam(const char* name, const std::vector<Group>& groups)
    : Optimizer(name, groups, {"m", "v", "v_max"}) {
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
  const double correction1 = o.bias_correction ? 1 - std::pow(o.beta1, t) : 1;
  const double correction2 = o.bias_correction ? std::sqrt(1 - std::pow(o.beta2, t)) : 1;
  const bool hat = o.epsilon_form == AdamEpsilon::hat;
  kernels::adapt<T>({.beta1 = o.beta1,
                     .beta2 = o.beta2,
                     .weight_decay = o.weight_decay,
                     .decoupled_decay = decoupled_decay(step),
                     .rate = hat ? step.lr * correction2 / correction1 : step.lr / correction1,
                     .grad_rate = 0,
                     .root_scale = hat ? 1 : 1 / correction2,
                     .epsilon = o.epsilon},
                    u);
}

void Adam::update(const Step& step, const kernels::Update<float>& u) const { adapt(step, u); }
void Adam::update(const Step& step, const kernels::Update<double>& u) const { adapt(step, u); }

namespace {

/// Returns Adam's options, without the decay.
std::vector<Adam::Group> as_adam(const std::vector<AdamW::Group>& groups) {
  std::vector<Adam::Group> all;
  all.reserve(groups.size());
  for (const auto& [parameters, o] : groups) {
    all.push_back({parameters,
                   {.lr = o.lr,
                    .beta1 = o.beta1,
                    .beta2 = o.beta2,
                    .epsilon = o.epsilon,
                    .amsgrad = o.amsgrad,
                    .bias_correction = o.bias_correction}});
  }
  return all;
}

}  // namespace

AdamW::AdamW(const std::vector<Group>& groups) : Adam("AdamW", as_adam(groups)) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AdamWOptions& o = groups[g].options;
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    if (o.decay_form == AdamWDecay::published && o.lr == 0) {
      refuse_option(g, "lr is 0, which the published decay is divided by: give the base rate");
    }
    options_.push_back(o);
  }
}

double AdamW::decoupled_decay(const Step& step) const {
  const AdamWOptions& o = options_[step.group];
  const double eta = o.decay_form == AdamWDecay::published ? step.lr / o.lr : step.lr;
  return eta * o.weight_decay;
}

}  // namespace tapegrad
