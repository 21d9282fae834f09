#include "adamax.h"

#include <cmath>

namespace tapegrad {

Adamax::Adamax(const std::vector<Group>& groups) : Optimizer("Adamax", groups, {"m", "norm"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AdamaxOptions& o = groups[g].options;
    check_option(g, "beta1", o.beta1, 0, 1);
    check_option(g, "beta2", o.beta2, 0, 1);
    check_option(g, "epsilon", o.epsilon, 0, INFINITY);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    options_.push_back(o);
  }
}

template <class T>
void Adamax::adapt(const Step& step, const kernels::Update<T>& u) const {
  const AdamaxOptions& o = options_[step.group];
  const double correction = 1 - std::pow(o.beta1, static_cast<double>(step.number));
  kernels::adapt_to_largest<T>({.beta1 = o.beta1,
                                .beta2 = o.beta2,
                                .weight_decay = o.weight_decay,
                                .rate = step.lr / correction,
                                .epsilon = o.epsilon},
                               u);
}

void Adamax::update(const Step& step, const kernels::Update<float>& u) const { adapt(step, u); }
void Adamax::update(const Step& step, const kernels::Update<double>& u) const { adapt(step, u); }

}  // namespace tapegrad
