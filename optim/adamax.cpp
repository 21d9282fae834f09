#include "adamax.h"

#include <cmath>

namespace tapegrad {

Adamax::Adamax(const std::vector<Group>& groups) : Optimizer("Adamax", groups, {"m", "norm"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AdamaxOptions& o = groups[g].options;
    check_option(g, "beta1", o.beta1, 0, 1);
    check_option(g, "beta2", o.beta2, 0, 1);
    check_positive(g, "epsilon", o.epsilon);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    options_.push_back(o);
  }
}

template <class T>
void Adamax::adapt(const Step& step, const kernels::Update<T>& u) const {
  const AdamaxOptions& o = options_[step.group];
  const T rate =
      static_cast<T>(step.lr / (1 - std::pow(o.beta1, static_cast<double>(step.number))));
  const T beta1 = static_cast<T>(o.beta1), rest = static_cast<T>(1 - o.beta1);
  const T beta2 = static_cast<T>(o.beta2), epsilon = static_cast<T>(o.epsilon);
  const T decay = static_cast<T>(o.weight_decay);
  T *const m = u.slot[0], *const norm = u.slot[1];
  for (std::size_t j = 0; j < u.n; ++j) {
    const T g = u.grad[j] + decay * u.value[j];
    m[j] = beta1 * m[j] + rest * g;
    const T faded = beta2 * norm[j], now = std::abs(g) + epsilon;
    norm[j] = faded > now ? faded : now;  // a NaN of g stays
    u.value[j] -= rate * (m[j] / norm[j]);
  }
}

void Adamax::update(const Step& step, const kernels::Update<float>& u) const { adapt(step, u); }
void Adamax::update(const Step& step, const kernels::Update<double>& u) const { adapt(step, u); }

}  // namespace tapegrad
