#include "rmsprop.h"

#include <cmath>

namespace tapegrad {

RMSprop::RMSprop(const std::vector<Group>& groups)
    : Optimizer("RMSprop", groups, {"square", "mean", "velocity"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const RMSpropOptions& o = groups[g].options;
    check_option(g, "alpha", o.alpha, 0, 1);
    check_positive(g, "epsilon", o.epsilon);
    check_option(g, "momentum", o.momentum, 0, 1);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    options_.push_back(o);
  }
}

bool RMSprop::remembers(std::size_t group, std::size_t k) const {
  const RMSpropOptions& o = options_[group];
  return k == 0 || (k == 1 ? o.centered : o.momentum > 0);
}

template <class T>
void RMSprop::normalise(const Step& step, const kernels::Update<T>& u) const {
  const RMSpropOptions& o = options_[step.group];
  const bool published = o.form == RMSpropForm::published;
  kernels::normalise<T>({.weight_decay = o.weight_decay,
                         .keep = o.alpha,
                         .share = 1 - o.alpha,
                         .start = 0,
                         .epsilon_in_root = published ? o.epsilon : 0,
                         .epsilon = published ? 0 : o.epsilon,
                         .momentum = o.momentum,
                         .rate_in_velocity = published ? step.lr : 1,
                         .rate = published ? 1 : step.lr},
                        u);
}

void RMSprop::update(const Step& step, const kernels::Update<float>& u) const {
  normalise(step, u);
}
void RMSprop::update(const Step& step, const kernels::Update<double>& u) const {
  normalise(step, u);
}

}  // namespace tapegrad
