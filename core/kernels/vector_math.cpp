#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/vector_math.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include "vector_math-inl.h"
#include "vector_math.h"

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

struct Exp {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return exp(d, x);
  }
};
struct Sigmoid {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return sigmoid(d, x);
  }
};
struct Tanh {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return tanh(d, x);
  }
};
struct SigmoidSlope {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return sigmoid_slope(d, x);
  }
};
struct TanhSlope {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return tanh_slope(d, x);
  }
};

template <class Function, class T>
struct Map {
  const T* x;
  T* y;

  template <class D, class Lanes>
  HWY_INLINE void operator()(D d, std::size_t j, Lanes lanes) const {
    store(d, Function()(d, load(d, x + j, lanes)), y + j, lanes);
  }
};

template <class Function, class T>
HWY_INLINE void map(const T* x, T* y, std::size_t n) {
  for_vectors<T>(n, Map<Function, T>{x, y});
}

void exp_float(const float* x, float* y, std::size_t n) { map<Exp>(x, y, n); }
void exp_double(const double* x, double* y, std::size_t n) { map<Exp>(x, y, n); }
void sigmoid_float(const float* x, float* y, std::size_t n) { map<Sigmoid>(x, y, n); }
void sigmoid_double(const double* x, double* y, std::size_t n) { map<Sigmoid>(x, y, n); }
void tanh_float(const float* x, float* y, std::size_t n) { map<Tanh>(x, y, n); }
void tanh_double(const double* x, double* y, std::size_t n) { map<Tanh>(x, y, n); }
void sigmoid_slope_float(const float* x, float* y, std::size_t n) { map<SigmoidSlope>(x, y, n); }
void sigmoid_slope_double(const double* x, double* y, std::size_t n) { map<SigmoidSlope>(x, y, n); }
void tanh_slope_float(const float* x, float* y, std::size_t n) { map<TanhSlope>(x, y, n); }
void tanh_slope_double(const double* x, double* y, std::size_t n) { map<TanhSlope>(x, y, n); }

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(exp_float);
HWY_EXPORT(exp_double);
HWY_EXPORT(sigmoid_float);
HWY_EXPORT(sigmoid_double);
HWY_EXPORT(tanh_float);
HWY_EXPORT(tanh_double);
HWY_EXPORT(sigmoid_slope_float);
HWY_EXPORT(sigmoid_slope_double);
HWY_EXPORT(tanh_slope_float);
HWY_EXPORT(tanh_slope_double);

template <>
void vector_exp(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(exp_float)(x, y, n);
}
template <>
void vector_exp(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(exp_double)(x, y, n);
}
template <>
void vector_sigmoid(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sigmoid_float)(x, y, n);
}
template <>
void vector_sigmoid(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sigmoid_double)(x, y, n);
}
template <>
void vector_tanh(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_float)(x, y, n);
}
template <>
void vector_tanh(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_double)(x, y, n);
}
template <>
void vector_sigmoid_slope(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sigmoid_slope_float)(x, y, n);
}
template <>
void vector_sigmoid_slope(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sigmoid_slope_double)(x, y, n);
}
template <>
void vector_tanh_slope(const float* x, float* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_slope_float)(x, y, n);
}
template <>
void vector_tanh_slope(const double* x, double* y, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(tanh_slope_double)(x, y, n);
}

}  // namespace tapegrad::kernels
#endif
