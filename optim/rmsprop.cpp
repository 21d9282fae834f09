#include "rmsprop.h"

#include <algorithm>
#include <cmath>

#include "elements-inl.h"

namespace tapegrad {

RMSprop::RMSprop(const std::vector<Group>& groups)
    : Optimizer("RMSprop", groups, {"square", "mean", "velocity"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const RMSpropOptions& o = groups[g].options;
    check_option(g, "alpha", o.alpha, 0, 1);
    check_positive(g, "epsilon", o.epsilon);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    check_option(g, "momentum", o.momentum, 0, 1);
    options_.push_back(o);
  }
}

bool RMSprop::remembers(std::size_t group, std::size_t k) const {
  return k == 0 || (k == 1 ? options_[group].centered : options_[group].momentum > 0);
}

template <class T>
void RMSprop::normalise(const Step& step, const kernels::Update<T>& u) const {
  const RMSpropOptions& o = options_[step.group];
  const T lr = static_cast<T>(step.lr), decay = static_cast<T>(o.weight_decay);
  const T alpha = static_cast<T>(o.alpha), rest = static_cast<T>(1 - o.alpha);
  const T momentum = static_cast<T>(o.momentum), epsilon = static_cast<T>(o.epsilon);
  const bool inside = o.epsilon_form == RMSpropEpsilon::inside;
  const auto [square, mean, velocity, unused] = u.slot;
  for (std::size_t j = 0; j < u.n; ++j) {
    const T g = detail::squarable(u.grad[j] + decay * u.value[j]);
    square[j] = alpha * square[j] + rest * g * g;
    T variance = square[j];
    if (mean != nullptr) {
      mean[j] = alpha * mean[j] + rest * g;
      // Written so that a NaN stays.
      const T difference = variance - mean[j] * mean[j];
      variance = difference < 0 ? 0 : difference;
    }
    const T root = inside ? std::sqrt(variance + epsilon) : std::sqrt(variance) + epsilon;
    T change = g / root;
    if (velocity != nullptr) change = velocity[j] = momentum * velocity[j] + change;
    u.value[j] -= lr * change;
  }
}

void RMSprop::update(const Step& step, const kernels::Update<float>& u) const {
  normalise(step, u);
}
void RMSprop::update(const Step& step, const kernels::Update<double>& u) const {
  normalise(step, u);
}

}  // namespace tapegrad
