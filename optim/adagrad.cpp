#include "adagrad.h"

#include <cmath>

namespace tapegrad {

Adagrad::Adagrad(const std::vector<Group>& groups) : Optimizer("Adagrad", groups, {"sum"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AdagradOptions& o = groups[g].options;
    check_option(g, "lr_decay", o.lr_decay, 0, INFINITY);
    check_positive(g, "epsilon", o.epsilon);
    check_option(g, "initial_sum", o.initial_sum, 0, INFINITY);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    options_.push_back(o);
  }
}

template <class T>
void Adagrad::normalise(const Step& step, const kernels::Update<T>& u) const {
  const AdagradOptions& o = options_[step.group];
  const double steps_before = static_cast<double>(step.number) - 1;
  kernels::normalise<T>({.weight_decay = o.weight_decay,
                         .keep = 1,
                         .share = 1,
                         .start = steps_before == 0 ? o.initial_sum : 0,
                         .epsilon_in_root = 0,
                         .epsilon = o.epsilon,
                         .momentum = 0,
                         .rate_in_velocity = 1,
                         .rate = step.lr / (1 + steps_before * o.lr_decay)},
                        u);
}

void Adagrad::update(const Step& step, const kernels::Update<float>& u) const {
  normalise(step, u);
}
void Adagrad::update(const Step& step, const kernels::Update<double>& u) const {
  normalise(step, u);
}

}  // namespace tapegrad
