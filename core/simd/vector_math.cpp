#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/simd/vector_math.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <concepts>
#include <cstddef>

#include "lanes-inl.h"
#include "math-inl.h"
#include "vector_math.h"

#ifndef TAPEGRAD_CORE_SIMD_MATH_TABLE  // the same for all targets
#define TAPEGRAD_CORE_SIMD_MATH_TABLE
namespace tapegrad::kernels {
namespace {

/// The functions of one instruction set.
template <class T>
struct MathTable {
  void (*exp)(const T*, T*, std::size_t);
  void (*sigmoid)(const T*, T*, std::size_t);
  void (*tanh)(const T*, T*, std::size_t);
  void (*sigmoid_slope)(const T*, T*, std::size_t);
  void (*tanh_slope)(const T*, T*, std::size_t);
};

}  // namespace
}  // namespace tapegrad::kernels
#endif

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

const MathTable<float>& table_float() {
  static constexpr MathTable<float> table{exp_float, sigmoid_float, tanh_float, sigmoid_slope_float,
                                          tanh_slope_float};
  return table;
}
const MathTable<double>& table_double() {
  static constexpr MathTable<double> table{exp_double, sigmoid_double, tanh_double,
                                           sigmoid_slope_double, tanh_slope_double};
  return table;
}

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(table_float);
HWY_EXPORT(table_double);

namespace {

template <class T>
const MathTable<T>& table() {
  if constexpr (std::same_as<T, float>) {
    return HWY_DYNAMIC_DISPATCH(table_float)();
  } else {
    return HWY_DYNAMIC_DISPATCH(table_double)();
  }
}

}  // namespace

template <class T>
void vector_exp(const T* x, T* y, std::size_t n) {
  table<T>().exp(x, y, n);
}
template <class T>
void vector_sigmoid(const T* x, T* y, std::size_t n) {
  table<T>().sigmoid(x, y, n);
}
template <class T>
void vector_tanh(const T* x, T* y, std::size_t n) {
  table<T>().tanh(x, y, n);
}
template <class T>
void vector_sigmoid_slope(const T* x, T* y, std::size_t n) {
  table<T>().sigmoid_slope(x, y, n);
}
template <class T>
void vector_tanh_slope(const T* x, T* y, std::size_t n) {
  table<T>().tanh_slope(x, y, n);
}

template void vector_exp(const float*, float*, std::size_t);
template void vector_exp(const double*, double*, std::size_t);
template void vector_sigmoid(const float*, float*, std::size_t);
template void vector_sigmoid(const double*, double*, std::size_t);
template void vector_tanh(const float*, float*, std::size_t);
template void vector_tanh(const double*, double*, std::size_t);
template void vector_sigmoid_slope(const float*, float*, std::size_t);
template void vector_sigmoid_slope(const double*, double*, std::size_t);
template void vector_tanh_slope(const float*, float*, std::size_t);
template void vector_tanh_slope(const double*, double*, std::size_t);

}  // namespace tapegrad::kernels
#endif
