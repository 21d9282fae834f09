#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/simd/exponentials.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <limits>

#include "exponentials-inl.h"
#include "lanes-inl.h"
#include "math-inl.h"

#ifndef TAPEGRAD_CORE_SIMD_EXPONENTIALS_TABLE  // the same for all targets
#define TAPEGRAD_CORE_SIMD_EXPONENTIALS_TABLE
namespace tapegrad::kernels {
namespace {

/// The functions of one instruction set.
template <class T>
struct ExponentialsTable {
  std::size_t (*first_largest)(const T*, std::size_t);
  void (*shifted)(const T*, std::size_t, T, T*);
  void (*divide)(T*, std::size_t, T);
};

}  // namespace
}  // namespace tapegrad::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

template <class T>
HWY_INLINE std::size_t find_first_largest(const T* x, std::size_t n) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr T least = -std::numeric_limits<T>::infinity();
  const std::size_t width = hn::Lanes(d);
  const auto larger = [](V a, V b) HWY_ATTR { return hn::IfThenElse(hn::Gt(b, a), b, a); };
  V most[4];  // a comparison takes some cycles: four at a time
  for (V& m : most) m = hn::Set(d, least);
  std::size_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width) {
    for (std::size_t k = 0; k < 4; ++k) most[k] = larger(most[k], hn::LoadU(d, x + i + k * width));
  }
  for (; i + width <= n; i += width) most[0] = larger(most[0], hn::LoadU(d, x + i));
  HWY_ALIGN T lanes[hn::MaxLanes(hn::ScalableTag<T>())];
  hn::Store(larger(larger(most[0], most[1]), larger(most[2], most[3])), d, lanes);
  T value = *std::max_element(lanes, lanes + width);
  for (std::size_t j = i; j < n; ++j) value = x[j] > value ? x[j] : value;
  if (value == least) return n;

  const V wanted = hn::Set(d, value);
  for (i = 0; i + width <= n; i += width) {
    const auto same = hn::Eq(hn::LoadU(d, x + i), wanted);
    if (!hn::AllFalse(d, same)) return i + static_cast<std::size_t>(hn::FindFirstTrue(d, same));
  }
  return static_cast<std::size_t>(std::find(x + i, x + n, value) - x);
}

template <class T>
HWY_INLINE void exponentials_of(const T* x, std::size_t n, T shift, T* y) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    const auto difference = hn::Sub(load(d, x + j, lanes), hn::Set(d, shift));
    store(d, exp(d, others_0(d, difference, lanes)), y + j, lanes);
  });
}

template <class T>
HWY_INLINE void divide_all(T* x, std::size_t n, T divisor) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, hn::Div(load(d, x + j, lanes), hn::Set(d, divisor)), x + j, lanes);
  });
}

std::size_t largest_float(const float* x, std::size_t n) { return find_first_largest(x, n); }
std::size_t largest_double(const double* x, std::size_t n) { return find_first_largest(x, n); }
void shifted_float(const float* x, std::size_t n, float shift, float* y) {
  exponentials_of(x, n, shift, y);
}
void shifted_double(const double* x, std::size_t n, double shift, double* y) {
  exponentials_of(x, n, shift, y);
}
void divide_float(float* x, std::size_t n, float divisor) { divide_all(x, n, divisor); }
void divide_double(double* x, std::size_t n, double divisor) { divide_all(x, n, divisor); }

const ExponentialsTable<float>& exponentials_float() {
  static constexpr ExponentialsTable<float> table{largest_float, shifted_float, divide_float};
  return table;
}
const ExponentialsTable<double>& exponentials_double() {
  static constexpr ExponentialsTable<double> table{largest_double, shifted_double, divide_double};
  return table;
}

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(exponentials_float);
HWY_EXPORT(exponentials_double);

namespace {

template <class T>
const ExponentialsTable<T>& table() {
  if constexpr (std::same_as<T, float>) {
    return HWY_DYNAMIC_DISPATCH(exponentials_float)();
  } else {
    return HWY_DYNAMIC_DISPATCH(exponentials_double)();
  }
}

}  // namespace

template <class T>
std::size_t first_largest(const T* x, std::size_t n) {
  return table<T>().first_largest(x, n);
}
template <class T>
void shifted_exponentials(const T* x, std::size_t n, T shift, T* y) {
  table<T>().shifted(x, n, shift, y);
}
template <class T>
void divide_in_place(T* x, std::size_t n, T divisor) {
  table<T>().divide(x, n, divisor);
}

template std::size_t first_largest(const float*, std::size_t);
template std::size_t first_largest(const double*, std::size_t);
template void shifted_exponentials(const float*, std::size_t, float, float*);
template void shifted_exponentials(const double*, std::size_t, double, double*);
template void divide_in_place(float*, std::size_t, float);
template void divide_in_place(double*, std::size_t, double);

}  // namespace tapegrad::kernels
#endif
