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

/// raw, cut so that its square does not overflow; NaN for an infinity or a NaN, which must not be
/// hidden, as raw * 0 is then.
template <class D>
HWY_INLINE hn::Vec<D> squarable(D d, hn::Vec<D> raw) {
  const auto largest = hn::Set(d, std::sqrt(std::numeric_limits<hn::TFromD<D>>::max()));
  const auto cut = hn::Clamp(raw, hn::Neg(largest), largest);
  return hn::Add(cut, hn::Mul(raw, hn::Zero(d)));
}

/// The larger of two; b if it is NaN.
template <class V>
HWY_INLINE V larger(V a, V b) {
  return hn::IfThenElse(hn::Gt(a, b), a, b);
}

template <class T>
HWY_INLINE void adapt_block(const Moments& o, const Update<T>& u) {
  const hn::ScalableTag<T> tag;
  const auto set = [tag](double x) HWY_ATTR { return hn::Set(tag, static_cast<T>(x)); };
  const auto beta1 = set(o.beta1), rest1 = set(1 - o.beta1);
  const auto beta2 = set(o.beta2), rest2 = set(1 - o.beta2);
  const auto weight_decay = set(o.weight_decay), decoupled_decay = set(o.decoupled_decay);
  const auto rate = set(o.rate), grad_rate = set(o.grad_rate);
  const auto root_scale = set(o.root_scale), epsilon = set(o.epsilon);
  for_vectors<T>(u.n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    const auto p = load(d, u.value + j, lanes);
    const auto g = squarable(d, hn::Add(load(d, u.grad + j, lanes), hn::Mul(weight_decay, p)));
    const auto m = hn::Add(hn::Mul(beta1, load(d, u.slot[0] + j, lanes)), hn::Mul(rest1, g));
    const auto v =
        hn::Add(hn::Mul(beta2, load(d, u.slot[1] + j, lanes)), hn::Mul(hn::Mul(rest2, g), g));
    store(d, m, u.slot[0] + j, lanes);
    store(d, v, u.slot[1] + j, lanes);
    auto square = v;
    if (u.slot[2] != nullptr) {
      square = larger(load(d, u.slot[2] + j, lanes), v);
      store(d, square, u.slot[2] + j, lanes);
    }
    const auto root = hn::Add(hn::Mul(hn::Sqrt(square), root_scale), epsilon);
    const auto step = hn::Div(hn::Add(hn::Mul(rate, m), hn::Mul(grad_rate, g)), root);
    store(d, hn::Sub(p, hn::Add(hn::Mul(decoupled_decay, p), step)), u.value + j, lanes);
  });
}

template <class T>
HWY_INLINE void adapt_to_largest_block(const Largest& o, const Update<T>& u) {
  const hn::ScalableTag<T> tag;
  const auto set = [tag](double x) HWY_ATTR { return hn::Set(tag, static_cast<T>(x)); };
  const auto beta1 = set(o.beta1), rest1 = set(1 - o.beta1), beta2 = set(o.beta2);
  const auto weight_decay = set(o.weight_decay), rate = set(o.rate), epsilon = set(o.epsilon);
  for_vectors<T>(u.n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    const auto p = load(d, u.value + j, lanes);
    const auto g = hn::Add(load(d, u.grad + j, lanes), hn::Mul(weight_decay, p));
    const auto m = hn::Add(hn::Mul(beta1, load(d, u.slot[0] + j, lanes)), hn::Mul(rest1, g));
    const auto largest =
        larger(hn::Mul(beta2, load(d, u.slot[1] + j, lanes)), hn::Add(hn::Abs(g), epsilon));
    store(d, m, u.slot[0] + j, lanes);
    store(d, largest, u.slot[1] + j, lanes);
    const auto step = hn::Div(hn::Mul(rate, m), largest);
    const auto none = hn::Eq(largest, hn::Zero(d));
    store(d, hn::Sub(p, hn::IfThenZeroElse(none, step)), u.value + j, lanes);
  });
}

template <class T>
HWY_INLINE void normalise_block(const Squares& o, const Update<T>& u) {
  const hn::ScalableTag<T> tag;
  const auto set = [tag](double x) HWY_ATTR { return hn::Set(tag, static_cast<T>(x)); };
  const auto weight_decay = set(o.weight_decay), momentum = set(o.momentum);
  const auto keep = set(o.keep), share = set(o.share), start = set(o.start);
  const auto epsilon_in_root = set(o.epsilon_in_root), epsilon = set(o.epsilon);
  const auto rate_in_velocity = set(o.rate_in_velocity), rate = set(o.rate);
  for_vectors<T>(u.n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    const auto p = load(d, u.value + j, lanes);
    const auto g = squarable(d, hn::Add(load(d, u.grad + j, lanes), hn::Mul(weight_decay, p)));
    const auto n = hn::Add(
        hn::Add(hn::Mul(keep, load(d, u.slot[0] + j, lanes)), hn::Mul(hn::Mul(share, g), g)),
        start);
    store(d, n, u.slot[0] + j, lanes);
    auto square = n;
    if (u.slot[1] != nullptr) {
      const auto a = hn::Add(hn::Mul(keep, load(d, u.slot[1] + j, lanes)), hn::Mul(share, g));
      store(d, a, u.slot[1] + j, lanes);
      square = larger(hn::Zero(d), hn::Sub(n, hn::Mul(a, a)));
    }
    const auto root = hn::Add(hn::Sqrt(hn::Add(square, epsilon_in_root)), epsilon);
    auto step = hn::Mul(rate_in_velocity, hn::Div(g, root));
    if (u.slot[2] != nullptr) {
      step = hn::Add(hn::Mul(momentum, load(d, u.slot[2] + j, lanes)), step);
      store(d, step, u.slot[2] + j, lanes);
    }
    store(d, hn::Sub(p, hn::Mul(rate, step)), u.value + j, lanes);
  });
}

void descend_float(const Descent& o, const Update<float>& u) { descend_block(o, u); }
void descend_double(const Descent& o, const Update<double>& u) { descend_block(o, u); }
void adapt_float(const Moments& o, const Update<float>& u) { adapt_block(o, u); }
void adapt_double(const Moments& o, const Update<double>& u) { adapt_block(o, u); }
void adapt_to_largest_float(const Largest& o, const Update<float>& u) {
  adapt_to_largest_block(o, u);
}
void adapt_to_largest_double(const Largest& o, const Update<double>& u) {
  adapt_to_largest_block(o, u);
}
void normalise_float(const Squares& o, const Update<float>& u) { normalise_block(o, u); }
void normalise_double(const Squares& o, const Update<double>& u) { normalise_block(o, u); }

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(descend_float);
HWY_EXPORT(descend_double);
HWY_EXPORT(adapt_float);
HWY_EXPORT(adapt_double);
HWY_EXPORT(adapt_to_largest_float);
HWY_EXPORT(adapt_to_largest_double);
HWY_EXPORT(normalise_float);
HWY_EXPORT(normalise_double);

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
template <>
void adapt_to_largest(const Largest& options, const Update<float>& u) {
  HWY_DYNAMIC_DISPATCH(adapt_to_largest_float)(options, u);
}
template <>
void adapt_to_largest(const Largest& options, const Update<double>& u) {
  HWY_DYNAMIC_DISPATCH(adapt_to_largest_double)(options, u);
}
template <>
void normalise(const Squares& options, const Update<float>& u) {
  HWY_DYNAMIC_DISPATCH(normalise_float)(options, u);
}
template <>
void normalise(const Squares& options, const Update<double>& u) {
  HWY_DYNAMIC_DISPATCH(normalise_double)(options, u);
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

double penalise(Tensor& grad, const Tensor& value, double l1, double l2) {
  return dispatch_float(value.dtype(), [&]<class T>(T) {
    T* const g = detail::write<T>(grad);
    const T* const p = value.data<T>();
    const T sign_rate = static_cast<T>(l1), rate = static_cast<T>(l2);
    const FlushSubnormals flush;
    for_blocks(value.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const T sign = static_cast<T>(p[i] > 0) - static_cast<T>(p[i] < 0);
        g[i] += sign_rate * sign + rate * p[i];
      }
    });
    return lane_sum<double>(p, value.numel(),
                            [=](double x) { return l1 * std::abs(x) + l2 / 2 * x * x; });
  });
}

void approach(Tensor& average, const Tensor& value, double share) {
  dispatch_float(value.dtype(), [&]<class T>(T) {
    double* const a = detail::write<double>(average);
    const T* const x = value.data<T>();
    for_blocks(value.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        a[i] += share * (static_cast<double>(x[i]) - a[i]);
      }
    });
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
