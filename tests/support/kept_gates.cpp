#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/support/kept_gates.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <cstddef>

#include "../../core/recurrent/kept_gate_vectors-inl.h"
#include "../../core/simd/lanes-inl.h"
#include "kept_gates.h"

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

template <class D, class V>
HWY_INLINE Gate<V> sigmoid_of(D d, V a) {
  const Exponent<V> x[] = {sigmoid_exponent(d, a)};
  Exponential<V> e[1];
  exponentials(d, x, e);
  return sigmoid_gate(d, a, e[0]);
}
template <class D, class V>
HWY_INLINE Gate<V> tanh_of(D d, V a) {
  const Exponent<V> x[] = {tanh_exponent(d, a)};
  Exponential<V> e[1];
  exponentials(d, x, e);
  return tanh_gate(d, a, e[0]);
}

template <class T>
void sigmoids(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, sigmoid_of(d, load(d, x + j, lanes)).y, y + j, lanes);
  });
}
template <class T>
void kept_sigmoids(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, kept_sigmoid(d, sigmoid_of(d, load(d, x + j, lanes)).kept), y + j, lanes);
  });
}
template <class T>
void sigmoid_slopes(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, kept_sigmoid_slope(d, sigmoid_of(d, load(d, x + j, lanes)).kept), y + j, lanes);
  });
}
template <class T>
void tanhs(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes)
                        HWY_ATTR { store(d, tanh_of(d, load(d, x + j, lanes)).y, y + j, lanes); });
}
template <class T>
void kept_tanhs(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, kept_tanh(d, tanh_of(d, load(d, x + j, lanes)).kept), y + j, lanes);
  });
}
template <class T>
void tanh_slopes(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, kept_tanh_slope(d, tanh_of(d, load(d, x + j, lanes)).kept), y + j, lanes);
  });
}

void sigmoid_float(const float* x, float* y, std::size_t n) { sigmoids(x, y, n); }
void sigmoid_double(const double* x, double* y, std::size_t n) { sigmoids(x, y, n); }
void kept_sigmoid_float(const float* x, float* y, std::size_t n) { kept_sigmoids(x, y, n); }
void kept_sigmoid_double(const double* x, double* y, std::size_t n) { kept_sigmoids(x, y, n); }
void sigmoid_slope_float(const float* x, float* y, std::size_t n) { sigmoid_slopes(x, y, n); }
void sigmoid_slope_double(const double* x, double* y, std::size_t n) { sigmoid_slopes(x, y, n); }
void tanh_float(const float* x, float* y, std::size_t n) { tanhs(x, y, n); }
void tanh_double(const double* x, double* y, std::size_t n) { tanhs(x, y, n); }
void kept_tanh_float(const float* x, float* y, std::size_t n) { kept_tanhs(x, y, n); }
void kept_tanh_double(const double* x, double* y, std::size_t n) { kept_tanhs(x, y, n); }
void tanh_slope_float(const float* x, float* y, std::size_t n) { tanh_slopes(x, y, n); }
void tanh_slope_double(const double* x, double* y, std::size_t n) { tanh_slopes(x, y, n); }

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {
namespace {

HWY_EXPORT(sigmoid_float);
HWY_EXPORT(sigmoid_double);
HWY_EXPORT(kept_sigmoid_float);
HWY_EXPORT(kept_sigmoid_double);
HWY_EXPORT(sigmoid_slope_float);
HWY_EXPORT(sigmoid_slope_double);
HWY_EXPORT(tanh_float);
HWY_EXPORT(tanh_double);
HWY_EXPORT(kept_tanh_float);
HWY_EXPORT(kept_tanh_double);
HWY_EXPORT(tanh_slope_float);
HWY_EXPORT(tanh_slope_double);

}  // namespace
}  // namespace tapegrad::kernels

namespace tapegrad::testing {

using namespace kernels;

template <>
void gate_sigmoid(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sigmoid_float)(x, y, n);
}
template <>
void gate_sigmoid(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sigmoid_double)(x, y, n);
}
template <>
void kept_gate_sigmoid(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(kept_sigmoid_float)(x, y, n);
}
template <>
void kept_gate_sigmoid(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(kept_sigmoid_double)(x, y, n);
}
template <>
void gate_sigmoid_slope(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sigmoid_slope_float)(x, y, n);
}
template <>
void gate_sigmoid_slope(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sigmoid_slope_double)(x, y, n);
}
template <>
void gate_tanh(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_float)(x, y, n);
}
template <>
void gate_tanh(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_double)(x, y, n);
}
template <>
void kept_gate_tanh(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(kept_tanh_float)(x, y, n);
}
template <>
void kept_gate_tanh(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(kept_tanh_double)(x, y, n);
}
template <>
void gate_tanh_slope(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_slope_float)(x, y, n);
}
template <>
void gate_tanh_slope(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_slope_double)(x, y, n);
}

}  // namespace tapegrad::testing
#endif
