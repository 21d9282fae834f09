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

template <class T>
void sigmoids(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, kept_sigmoid(d, keep_sigmoid(d, load(d, x + j, lanes))), y + j, lanes);
  });
}
template <class T>
void sigmoid_slopes(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, kept_sigmoid_slope(d, keep_sigmoid(d, load(d, x + j, lanes))), y + j, lanes);
  });
}
template <class T>
void tanhs(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, kept_tanh(d, keep_tanh(d, load(d, x + j, lanes))), y + j, lanes);
  });
}
template <class T>
void tanh_slopes(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    store(d, kept_tanh_slope(d, keep_tanh(d, load(d, x + j, lanes))), y + j, lanes);
  });
}

void sigmoid_float(const float* x, float* y, std::size_t n) { sigmoids(x, y, n); }
void sigmoid_double(const double* x, double* y, std::size_t n) { sigmoids(x, y, n); }
void sigmoid_slope_float(const float* x, float* y, std::size_t n) { sigmoid_slopes(x, y, n); }
void sigmoid_slope_double(const double* x, double* y, std::size_t n) { sigmoid_slopes(x, y, n); }
void tanh_float(const float* x, float* y, std::size_t n) { tanhs(x, y, n); }
void tanh_double(const double* x, double* y, std::size_t n) { tanhs(x, y, n); }
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
HWY_EXPORT(sigmoid_slope_float);
HWY_EXPORT(sigmoid_slope_double);
HWY_EXPORT(tanh_float);
HWY_EXPORT(tanh_double);
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
void gate_tanh_slope(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_slope_float)(x, y, n);
}
template <>
void gate_tanh_slope(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_slope_double)(x, y, n);
}

}  // namespace tapegrad::testing
#endif
