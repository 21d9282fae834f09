#include "adam.h"

#include <cmath>

namespace tapegrad {

Adam::Adam(const std::vector<Group>& groups) : Optimizer("Adam", groups, {"m", "v"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AdamOptions& o = groups[g].options;
    check_option(g, "beta1", o.beta1, 0, 1);
    check_option(g, "beta2", o.beta2, 0, 1);
    check_option(g, "epsilon", o.epsilon, 0, INFINITY);
    if (o.epsilon == 0) {
      refuse_option(g, "epsilon is 0: it must be greater, or a gradient of 0 divides 0 by 0");
    }
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
                     .rate = hat ? step.lr * correction2 / correction1 : step.lr / correction1,
                     .root_scale = hat ? 1 : 1 / correction2,
                     .epsilon = o.epsilon},
                    u);
}

void Adam::update(const Step& step, const kernels::Update<float>& u) const { adapt(step, u); }
void Adam::update(const Step& step, const kernels::Update<double>& u) const { adapt(step, u); }

}  // namespace tapegrad
