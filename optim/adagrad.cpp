#include "adagrad.h"

#include <cmath>

#include "elements-inl.h"

namespace tapegrad {

Adagrad::Adagrad(const std::vector<Group>& groups) : Optimizer("Adagrad", groups, {"sum"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AdagradOptions& o = groups[g].options;
    check_option(g, "lr_decay", o.lr_decay, 0, INFINITY);
    check_positive(g, "epsilon", o.epsilon);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    check_option(g, "initial_sum", o.initial_sum, 0, INFINITY);
    options_.push_back(o);
  }
}

template <class T>
void Adagrad::accumulate(const Step& step, const kernels::Update<T>& u) const {
  const AdagradOptions& o = options_[step.group];
  const T lr = static_cast<T>(step.lr / (1 + static_cast<double>(step.number - 1) * o.lr_decay));
  const T decay = static_cast<T>(o.weight_decay), epsilon = static_cast<T>(o.epsilon);
  const T initial = static_cast<T>(o.initial_sum);
  T* const sum = u.slot[0];
  for (std::size_t j = 0; j < u.n; ++j) {
    const T g = detail::squarable(u.grad[j] + decay * u.value[j]);
    sum[j] = (step.number == 1 ? initial : sum[j]) + g * g;
    u.value[j] -= lr * (g / (std::sqrt(sum[j]) + epsilon));
  }
}

void Adagrad::update(const Step& step, const kernels::Update<float>& u) const {
  accumulate(step, u);
}
void Adagrad::update(const Step& step, const kernels::Update<double>& u) const {
  accumulate(step, u);
}

}  // namespace tapegrad
