#include "update.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../dispatch-inl.h"
#include "../flush_subnormals-inl.h"
#include "../write-inl.h"
#include "parallel-inl.h"

namespace tapegrad::kernels {

template <Element T>
void for_updates(Tensor value, const Tensor& grad, std::span<Tensor> slots,
                 const std::function<void(const Update<T>&)>& f) {
  Update<T> all{value.numel(), detail::write<T>(value), grad.data<T>(), {}};
  for (std::size_t k = 0; k < slots.size(); ++k) all.slot[k] = detail::write<T>(slots[k]);
  const FlushSubnormals flush;
  for_blocks(all.n, cheap_block, [&](std::size_t begin, std::size_t end) {
    Update<T> block{end - begin, all.value + begin, all.grad + begin, {}};
    for (std::size_t k = 0; k < slots.size(); ++k) block.slot[k] = all.slot[k] + begin;
    f(block);
  });
}

namespace {

template <class T>
void descend(std::size_t n, T lr, T weight_decay, const T* __restrict grad, T* __restrict p) {
  for (std::size_t i = 0; i < n; ++i) p[i] -= lr * (grad[i] + weight_decay * p[i]);
}

template <class T>
void descend(std::size_t n, T lr, T weight_decay, T momentum, T undamped, bool nesterov,
             const T* __restrict grad, T* __restrict v, T* __restrict p) {
  for (std::size_t i = 0; i < n; ++i) {
    const T g = grad[i] + weight_decay * p[i];
    v[i] = momentum * v[i] + undamped * g;
    p[i] -= lr * (nesterov ? g + momentum * v[i] : v[i]);
  }
}

template <class T>
struct Factors {
  T beta1, one_minus_beta1, beta2, one_minus_beta2, weight_decay, rate, root_scale, epsilon;
};

template <class T>
void adapt(std::size_t n, const Factors<T> k, const T* __restrict grad, T* __restrict m,
           T* __restrict v, T* __restrict p) {
  const T largest = std::sqrt(std::numeric_limits<T>::max());
  for (std::size_t i = 0; i < n; ++i) {
    const T raw = grad[i] + k.weight_decay * p[i];
    // g^2 must not overflow; raw * 0 is a NaN for an infinity or a NaN, which must not be hidden.
    const T g = std::min(std::max(raw, -largest), largest) + raw * 0;
    m[i] = k.beta1 * m[i] + k.one_minus_beta1 * g;
    v[i] = k.beta2 * v[i] + k.one_minus_beta2 * g * g;
    p[i] -= k.rate * m[i] / (std::sqrt(v[i]) * k.root_scale + k.epsilon);
  }
}

}  // namespace

template <Element T>
void descend(const Descent& o, const Update<T>& u) {
  const auto lr = static_cast<T>(o.lr), weight_decay = static_cast<T>(o.weight_decay);
  if (u.slot[0] == nullptr) return descend(u.n, lr, weight_decay, u.grad, u.value);
  descend(u.n, lr, weight_decay, static_cast<T>(o.momentum), static_cast<T>(o.undamped), o.nesterov,
          u.grad, u.slot[0], u.value);
}

template <Element T>
void adapt(const Moments& o, const Update<T>& u) {
  const Factors<T> factors{static_cast<T>(o.beta1),        static_cast<T>(1 - o.beta1),
                           static_cast<T>(o.beta2),        static_cast<T>(1 - o.beta2),
                           static_cast<T>(o.weight_decay), static_cast<T>(o.rate),
                           static_cast<T>(o.root_scale),   static_cast<T>(o.epsilon)};
  adapt(u.n, factors, u.grad, u.slot[0], u.slot[1], u.value);
}

namespace {

template <class F>
void change(Tensor& x, F f) {
  dispatch_float(x.dtype(), [&]<class T>(T) {
    T* const elements = detail::write<T>(x);
    for_blocks(x.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        elements[i] = static_cast<T>(f(static_cast<double>(elements[i])));
      }
    });
  });
}

}  // namespace

void scale_in_place(Tensor& x, double numerator, double denominator) {
  const double factor = numerator / denominator;
  if (numerator == 0 || std::isnormal(factor)) {
    change(x, [=](double e) { return e * factor; });
  } else {  // too small for a double itself
    change(x, [=](double e) { return e / denominator * numerator; });
  }
}

void clamp_in_place(Tensor& x, double limit) {
  change(x, [=](double e) { return std::clamp(e, -limit, limit); });
}

template void for_updates<float>(Tensor, const Tensor&, std::span<Tensor>,
                                 const std::function<void(const Update<float>&)>&);
template void for_updates<double>(Tensor, const Tensor&, std::span<Tensor>,
                                  const std::function<void(const Update<double>&)>&);
template void descend<float>(const Descent&, const Update<float>&);
template void descend<double>(const Descent&, const Update<double>&);
template void adapt<float>(const Moments&, const Update<float>&);
template void adapt<double>(const Moments&, const Update<double>&);

}  // namespace tapegrad::kernels
