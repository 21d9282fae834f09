#include "nadam.h"

#include <cmath>

#include "elements-inl.h"

namespace tapegrad {

NAdam::NAdam(const std::vector<Group>& groups) : Optimizer("NAdam", groups, {"m", "v"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const NAdamOptions& o = groups[g].options;
    check_option(g, "beta1", o.beta1, 0, 1);
    check_option(g, "beta2", o.beta2, 0, 1);
    check_positive(g, "epsilon", o.epsilon);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    check_option(g, "momentum_decay", o.momentum_decay, 0, INFINITY);
    options_.push_back(o);
    products_.push_back({1});
  }
}

double NAdam::momentum(std::size_t group, std::uint64_t t) const {
  const NAdamOptions& o = options_[group];
  return o.beta1 * (1 - std::pow(0.96, static_cast<double>(t) * o.momentum_decay) / 2);
}

/// Grows the products to M_{t+1}; from where 1 - M is 1 they are not needed.
void NAdam::begin(const Step& step) {
  std::vector<double>& products = products_[step.group];
  while (products.size() <= step.number + 1 && products.back() > 1e-20)
    products.push_back(products.back() * momentum(step.group, products.size()));
}

double NAdam::product(std::size_t group, std::uint64_t t) const {
  return t < products_[group].size() ? products_[group][t] : 0;
}

template <class T>
void NAdam::adapt(const Step& step, const kernels::Update<T>& u) const {
  const NAdamOptions& o = options_[step.group];
  const std::uint64_t t = step.number;
  const double now = momentum(step.group, t), next = momentum(step.group, t + 1);
  const T of_g = static_cast<T>(step.lr * (1 - now) / (1 - product(step.group, t)));
  const T of_m = static_cast<T>(step.lr * next / (1 - product(step.group, t + 1)));
  const T root_scale = static_cast<T>(1 / std::sqrt(1 - std::pow(o.beta2, static_cast<double>(t))));
  const T beta1 = static_cast<T>(o.beta1), rest1 = static_cast<T>(1 - o.beta1);
  const T beta2 = static_cast<T>(o.beta2), rest2 = static_cast<T>(1 - o.beta2);
  const T epsilon = static_cast<T>(o.epsilon);
  const T decay = static_cast<T>(o.decoupled_weight_decay ? 0 : o.weight_decay);
  const T keep = static_cast<T>(o.decoupled_weight_decay ? 1 - step.lr * o.weight_decay : 1);
  T *const m = u.slot[0], *const v = u.slot[1];
  for (std::size_t j = 0; j < u.n; ++j) {
    const T g = detail::squarable(u.grad[j] + decay * u.value[j]);
    m[j] = beta1 * m[j] + rest1 * g;
    v[j] = beta2 * v[j] + rest2 * g * g;
    const T root = std::sqrt(v[j]) * root_scale + epsilon;
    u.value[j] = keep * u.value[j] - of_g * (g / root) - of_m * (m[j] / root);
  }
}

void NAdam::update(const Step& step, const kernels::Update<float>& u) const { adapt(step, u); }
void NAdam::update(const Step& step, const kernels::Update<double>& u) const { adapt(step, u); }

}  // namespace tapegrad
