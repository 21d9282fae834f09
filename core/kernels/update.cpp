#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/update.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "../dispatch-inl.h"
#include "../flush_subnormals-inl.h"
#include "../simd/in_double-inl.h"
#include "../simd/lanes-inl.h"
#include "../write-inl.h"
#include "parallel-inl.h"
#include "update.h"

// Sums and products are rounded one by one, never fused, so the bits do not depend on the
// instruction set either.

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

template <class T>
HWY_INLINE void descend_block(const Descent& o, const Update<T>& u) {
  const hn::ScalableTag<T> tag;
  const auto lr = hn::Set(tag, static_cast<T>(o.lr));
  const auto weight_decay = hn::Set(tag, static_cast<T>(o.weight_decay));
  const auto momentum = hn::Set(tag, static_cast<T>(o.momentum));
  const auto undamped = hn::Set(tag, static_cast<T>(o.undamped));
  for_vectors<T>(
      u.n, [=, v = u.slot[0], nesterov = o.nesterov](auto d, std::size_t j, auto lanes) HWY_ATTR {
        const auto p = load(d, u.value + j, lanes);
        const auto g = hn::Add(load(d, u.grad + j, lanes), hn::Mul(weight_decay, p));
        auto step = g;
        if (v != nullptr) {
          const auto now = hn::Add(hn::Mul(momentum, load(d, v + j, lanes)), hn::Mul(undamped, g));
          store(d, now, v + j, lanes);
          step = nesterov ? hn::Add(g, hn::Mul(momentum, now)) : now;
        }
        store(d, hn::Sub(p, hn::Mul(lr, step)), u.value + j, lanes);
      });
}

template <class T>
HWY_INLINE void adapt_block(const Moments& o, const Update<T>& u) {
  const hn::ScalableTag<T> tag;
  const auto set = [tag](double x) HWY_ATTR { return hn::Set(tag, static_cast<T>(x)); };
  const auto beta1 = set(o.beta1), rest1 = set(1 - o.beta1);
  const auto beta2 = set(o.beta2), rest2 = set(1 - o.beta2);
  const auto weight_decay = set(o.weight_decay), keep = set(o.keep), rate = set(o.rate);
  const auto root_scale = set(o.root_scale), epsilon = set(o.epsilon);
  const auto largest = hn::Set(tag, std::sqrt(std::numeric_limits<T>::max()));
  for_vectors<T>(u.n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    const auto p = load(d, u.value + j, lanes);
    const auto raw = hn::Add(load(d, u.grad + j, lanes), hn::Mul(weight_decay, p));
    // g^2 must not overflow; raw * 0 is a NaN for an infinity or a NaN, which must not be hidden.
    const auto cut = hn::Clamp(raw, hn::Neg(largest), largest);
    const auto g = hn::Add(cut, hn::Mul(raw, hn::Zero(d)));
    const auto m = hn::Add(hn::Mul(beta1, load(d, u.slot[0] + j, lanes)), hn::Mul(rest1, g));
    const auto v =
        hn::Add(hn::Mul(beta2, load(d, u.slot[1] + j, lanes)), hn::Mul(hn::Mul(rest2, g), g));
    auto largest_v = v;
    if (u.slot[2] != nullptr) {
      largest_v = hn::IfThenElse(hn::Gt(load(d, u.slot[2] + j, lanes), v),
                                 load(d, u.slot[2] + j, lanes), v);
      store(d, largest_v, u.slot[2] + j, lanes);
    }
    const auto root = hn::Add(hn::Mul(hn::Sqrt(largest_v), root_scale), epsilon);
    store(d, m, u.slot[0] + j, lanes);
    store(d, v, u.slot[1] + j, lanes);
    store(d, hn::Sub(hn::Mul(keep, p), hn::Div(hn::Mul(rate, m), root)), u.value + j, lanes);
  });
}

void descend_float(const Descent& o, const Update<float>& u) { descend_block(o, u); }
void descend_double(const Descent& o, const Update<double>& u) { descend_block(o, u); }
void adapt_float(const Moments& o, const Update<float>& u) { adapt_block(o, u); }
void adapt_double(const Moments& o, const Update<double>& u) { adapt_block(o, u); }

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(descend_float);
HWY_EXPORT(descend_double);
HWY_EXPORT(adapt_float);
HWY_EXPORT(adapt_double);

template <>
void descend(const Descent& options, const Update<float>& u) {
  HWY_DYNAMIC_DISPATCH(descend_float)(options, u);
}
template <>
void descend(const Descent& options, const Update<double>& u) {
  HWY_DYNAMIC_DISPATCH(descend_double)(options, u);
}
template <>
void adapt(const Moments& options, const Update<float>& u) {
  HWY_DYNAMIC_DISPATCH(adapt_float)(options, u);
}
template <>
void adapt(const Moments& options, const Update<double>& u) {
  HWY_DYNAMIC_DISPATCH(adapt_double)(options, u);
}

template <Element T>
void for_updates(Tensor value, const Tensor& grad, std::span<Tensor> slots, const Ratio& ratio,
                 const std::function<void(const Update<T>&)>& f) {
  constexpr std::size_t chunk = 2048;  // scaled elements of the gradient, that stay in the cache
  Update<T> all{value.numel(), detail::write<T>(value), grad.data<T>(), {}};
  for (std::size_t k = 0; k < slots.size(); ++k) {
    if (slots[k].defined()) all.slot[k] = detail::write<T>(slots[k]);
  }
  const auto call = [&](std::size_t first, std::size_t n, const T* gradient) {
    Update<T> block{n, all.value + first, gradient, {}};
    for (std::size_t k = 0; k < slots.size(); ++k) {
      if (all.slot[k] != nullptr) block.slot[k] = all.slot[k] + first;
    }
    f(block);
  };
  const FlushSubnormals flush;
  for_blocks(all.n, cheap_block, [&](std::size_t begin, std::size_t end) {
    if (ratio.numerator == ratio.denominator) return call(begin, end - begin, all.grad + begin);
    std::array<T, chunk> scaled;
    for (std::size_t first = begin; first < end; first += chunk) {
      const std::size_t n = std::min(chunk, end - first);
      scale(all.grad + first, n, ratio.numerator, ratio.denominator, scaled.data());
      call(first, n, scaled.data());
    }
  });
}

void scale_in_place(Tensor& x, const Ratio& ratio) {
  dispatch_float(x.dtype(), [&]<class T>(T) {
    T* const elements = detail::write<T>(x);
    const FlushSubnormals flush;
    for_blocks(x.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      scale(elements + begin, end - begin, ratio.numerator, ratio.denominator, elements + begin);
    });
  });
}

void clamp_in_place(Tensor& x, double limit) {
  dispatch_float(x.dtype(), [&]<class T>(T) {
    T* const elements = detail::write<T>(x);
    for_blocks(x.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        elements[i] = static_cast<T>(std::clamp(static_cast<double>(elements[i]), -limit, limit));
      }
    });
  });
}

template void for_updates<float>(Tensor, const Tensor&, std::span<Tensor>, const Ratio&,
                                 const std::function<void(const Update<float>&)>&);
template void for_updates<double>(Tensor, const Tensor&, std::span<Tensor>, const Ratio&,
                                  const std::function<void(const Update<double>&)>&);

}  // namespace tapegrad::kernels
#endif
