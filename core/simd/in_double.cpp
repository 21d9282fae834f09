#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/simd/in_double.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>

#include "in_double-inl.h"
#include "lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

// Loads and stores of doubles, from and to memory of either type.

template <class D, class Lanes>
HWY_INLINE hn::Vec<D> load_double(D d, const float* from, Lanes lanes) {
  return hn::PromoteTo(d, load(hn::Rebind<float, D>(), from, lanes));
}
template <class D, class Lanes>
HWY_INLINE hn::Vec<D> load_double(D d, const double* from, Lanes lanes) {
  return load(d, from, lanes);
}
template <class D, class Lanes>
HWY_INLINE void store_double(D, hn::Vec<D> v, float* to, Lanes lanes) {
  const hn::Rebind<float, D> narrow;
  store(narrow, hn::DemoteTo(narrow, v), to, lanes);
}
template <class D, class Lanes>
HWY_INLINE void store_double(D d, hn::Vec<D> v, double* to, Lanes lanes) {
  store(d, v, to, lanes);
}

template <class T>
HWY_INLINE void scale_all(const T* x, std::size_t n, double numerator, double denominator, T* y) {
  // Where a subnormal denominator counts as 0, so does all of x, of which it is the norm.
  const double quotient = denominator == 0 ? 0 : numerator / denominator;
  const bool direct = numerator == 0 || std::isnormal(quotient);
  for_vectors<double>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    const auto v = load_double(d, x + j, lanes);
    const auto scaled = direct
                            ? hn::Mul(v, hn::Set(d, quotient))
                            : hn::Mul(hn::Div(v, hn::Set(d, denominator)), hn::Set(d, numerator));
    store_double(d, scaled, y + j, lanes);
  });
}

constexpr std::size_t sums = 16;

/// f(x[0]) + ... + f(x[n - 1]) on `sums` lanes.
template <class T, class F>
HWY_INLINE double sum_of(const T* x, std::size_t n, F f) {
  const hn::CappedTag<double, sums> d;
  constexpr std::size_t vectors = sums / hn::MaxLanes(d);
  const std::size_t width = hn::Lanes(d);
  hn::Vec<decltype(d)> sum[vectors];
  for (auto& s : sum) s = hn::Zero(d);
  const auto add = [&](std::size_t k, const T* from, auto lanes)
                       HWY_ATTR { sum[k] = hn::Add(sum[k], f(load_double(d, from, lanes))); };
  std::size_t i = 0;
  for (; i + sums <= n; i += sums) {
    for (std::size_t k = 0; k < vectors; ++k) add(k, x + i + k * width, AllLanes{});
  }
  for (std::size_t k = 0; i < n; ++k, i += width) {
    if (i + width <= n) {
      add(k, x + i, AllLanes{});
    } else {
      add(k, x + i, FirstLanes{n - i});
    }
  }
  std::array<double, sums> total;
  for (std::size_t k = 0; k < vectors; ++k) hn::StoreU(sum[k], d, total.data() + k * width);
  for (std::size_t half = sums / 2; half > 0; half /= 2) {
    for (std::size_t l = 0; l < half; ++l) total[l] += total[l + half];
  }
  return total[0];
}

void scale_float(const float* x, std::size_t n, double numerator, double denominator, float* y) {
  scale_all(x, n, numerator, denominator, y);
}
void scale_double(const double* x, std::size_t n, double numerator, double denominator, double* y) {
  scale_all(x, n, numerator, denominator, y);
}
struct Itself {
  template <class V>
  HWY_INLINE V operator()(V v) const {
    return v;
  }
};
struct Square {
  template <class V>
  HWY_INLINE V operator()(V v) const {
    return hn::Mul(v, v);
  }
};
double sum_float(const float* x, std::size_t n) { return sum_of(x, n, Itself()); }
double sum_double(const double* x, std::size_t n) { return sum_of(x, n, Itself()); }
double squares_float(const float* x, std::size_t n) { return sum_of(x, n, Square()); }
double squares_double(const double* x, std::size_t n) { return sum_of(x, n, Square()); }

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(scale_float);
HWY_EXPORT(scale_double);
HWY_EXPORT(sum_float);
HWY_EXPORT(sum_double);
HWY_EXPORT(squares_float);
HWY_EXPORT(squares_double);

template <class T>
void scale(const T* x, std::size_t n, double numerator, double denominator, T* y) {
  if constexpr (std::same_as<T, float>) {
    HWY_DYNAMIC_DISPATCH(scale_float)(x, n, numerator, denominator, y);
  } else {
    HWY_DYNAMIC_DISPATCH(scale_double)(x, n, numerator, denominator, y);
  }
}

template <class T>
double sum_in_double(const T* x, std::size_t n) {
  if constexpr (std::same_as<T, float>) {
    return HWY_DYNAMIC_DISPATCH(sum_float)(x, n);
  } else {
    return HWY_DYNAMIC_DISPATCH(sum_double)(x, n);
  }
}

template <class T>
double sum_of_squares(const T* x, std::size_t n) {
  if constexpr (std::same_as<T, float>) {
    return HWY_DYNAMIC_DISPATCH(squares_float)(x, n);
  } else {
    return HWY_DYNAMIC_DISPATCH(squares_double)(x, n);
  }
}

template void scale(const float*, std::size_t, double, double, float*);
template void scale(const double*, std::size_t, double, double, double*);
template double sum_in_double(const float*, std::size_t);
template double sum_in_double(const double*, std::size_t);
template double sum_of_squares(const float*, std::size_t);
template double sum_of_squares(const double*, std::size_t);

}  // namespace tapegrad::kernels
#endif
