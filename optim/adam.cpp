#include "adam.h"

#include <cmath>

#include "../core/dispatch-inl.h"
#include "../core/error.h"
#include "../core/kernels/parallel-inl.h"

namespace tapegrad {
namespace {

/// Both forms are p -= rate m / (sqrt(v) * root_scale + epsilon).
template <class T>
struct Factors {
  T beta1, one_minus_beta1, beta2, one_minus_beta2, weight_decay, rate, root_scale, epsilon;
};

template <class T>
Factors<T> factors(const AdamOptions& o, double lr, double t) {
  const double correction1 = 1 - std::pow(o.beta1, t);
  const double correction2 = std::sqrt(1 - std::pow(o.beta2, t));
  const bool hat = o.epsilon_form == AdamEpsilon::hat;
  const double rate = hat ? lr * correction2 / correction1 : lr / correction1;
  const double root_scale = hat ? 1 : 1 / correction2;
  return {static_cast<T>(o.beta1),     static_cast<T>(1 - o.beta1),    static_cast<T>(o.beta2),
          static_cast<T>(1 - o.beta2), static_cast<T>(o.weight_decay), static_cast<T>(rate),
          static_cast<T>(root_scale),  static_cast<T>(o.epsilon)};
}

template <class T>
void update(std::size_t n, const Factors<T> k, const T* __restrict grad, T* __restrict m,
            T* __restrict v, T* __restrict p) {
  for (std::size_t i = 0; i < n; ++i) {
    const T g = grad[i] + k.weight_decay * p[i];
    m[i] = k.beta1 * m[i] + k.one_minus_beta1 * g;
    v[i] = k.beta2 * v[i] + k.one_minus_beta2 * g * g;
    p[i] -= k.rate * m[i] / (std::sqrt(v[i]) * k.root_scale + k.epsilon);
  }
}

}  // namespace

Adam::Adam(const std::vector<Group>& groups)
    : Optimizer("Adam", groups),
      steps_(parameters().size()),
      m_(parameters().size()),
      v_(parameters().size()) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const AdamOptions& o = groups[g].options;
    check_option(g, "beta1", o.beta1, 0, 1);
    check_option(g, "beta2", o.beta2, 0, 1);
    check_option(g, "epsilon", o.epsilon, 0, INFINITY);
    if (o.epsilon == 0) {
      throw UsageError(about(g) +
                       " epsilon is 0: it must be greater, or a gradient of 0 divides 0 by 0");
    }
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    options_.push_back(o);
  }
}

void Adam::step() {
  check_gradients();
  prepare({&m_, &v_});
  for (std::size_t i = 0; i < parameters().size(); ++i) {
    if (!moves(i)) continue;
    ParameterData& p = *parameters()[i].data;
    const std::size_t g = group_of(i);
    const auto t = static_cast<double>(++steps_[i]);
    dispatch_float(p.value.dtype(), [&]<class T>(T) {
      const Factors<T> k = factors<T>(options_[g], learning_rate(g), t);
      const T* grad = p.grad.data<T>();
      T* m = m_[i].mutable_data<T>();
      T* v = v_[i].mutable_data<T>();
      T* value = p.value.mutable_data<T>();
      kernels::for_blocks(
          p.value.numel(), kernels::cheap_block, [&](std::size_t begin, std::size_t end) {
            update(end - begin, k, grad + begin, m + begin, v + begin, value + begin);
          });
    });
  }
}

}  // namespace tapegrad
