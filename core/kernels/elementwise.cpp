#include "elementwise.h"

#include <cmath>
#include <limits>

#include "../dispatch-inl.h"
#include "../simd/vector_math.h"
#include "maps-inl.h"
#include "parallel-inl.h"
#include "reduce.h"

namespace tapegrad::kernels {
namespace {

template <class F>
Tensor binary(const Tensor& a, const Tensor& b, F f, std::size_t block = cheap_block) {
  if (a.shape() == b.shape()) return zip(a, b, f, block);
  if (a.rank() > b.rank()) return zip_repeated(a, b, f, block);
  return zip_repeated(
      b, a, [f](auto y, auto x) { return f(x, y); }, block);
}

/// y = vector_f(x), a function of whole arrays from simd/vector_math.h.
template <class F>
Tensor map_arrays(const Tensor& x, F vector_f) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for_blocks(x.numel(), costly_block, [&](std::size_t begin, std::size_t end) {
      vector_f(from + begin, to + begin, end - begin);
    });
  });
  return result;
}

template <class T>
T positive_part(T v) {
  return v <= 0 ? T{0} : v;  // so that NaN stays NaN, and -0 becomes 0
}

template <class T>
bool is_nan(T v) {
  return v != v;
}

/// a's share of the gradient of a choice: 1 if a is the result, 1/2 if b is as well; NaNs win.
template <class T>
T gradient_share(bool a_wins, bool b_wins, T a, T b) {
  if (a_wins || b_wins) return a_wins ? T{1} : T{0};
  if (is_nan(a) != is_nan(b)) return is_nan(a) ? T{1} : T{0};
  return T{0.5};
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  return binary(a, b, [](auto x, auto y) { return x + y; });
}
Tensor sub(const Tensor& a, const Tensor& b) {
  return binary(a, b, [](auto x, auto y) { return x - y; });
}
Tensor mul(const Tensor& a, const Tensor& b) {
  return binary(a, b, [](auto x, auto y) { return x * y; });
}
Tensor div(const Tensor& a, const Tensor& b) {
  return binary(a, b, [](auto x, auto y) { return x / y; });
}
Tensor pow(const Tensor& a, const Tensor& b) {
  return binary(
      a, b, [](auto x, auto y) { return std::pow(x, y); }, costly_block);
}
Tensor maximum(const Tensor& a, const Tensor& b) {
  return binary(a, b, [](auto x, auto y) { return x > y || is_nan(x) ? x : y; });
}
Tensor minimum(const Tensor& a, const Tensor& b) {
  return binary(a, b, [](auto x, auto y) { return x < y || is_nan(x) ? x : y; });
}
Tensor maximum_share(const Tensor& a, const Tensor& b) {
  return binary(a, b, [](auto x, auto y) { return gradient_share(x > y, y > x, x, y); });
}
Tensor minimum_share(const Tensor& a, const Tensor& b) {
  return binary(a, b, [](auto x, auto y) { return gradient_share(x < y, y < x, x, y); });
}
Tensor is_flat_in_base(const Tensor& a, const Tensor& b) {
  return binary(a, b,
                []<class T>(T x, T y) { return y == 0 && !std::isfinite(1 / x) ? T{1} : T{0}; });
}
Tensor is_flat_in_exponent(const Tensor& a, const Tensor& b) {
  return binary(a, b, []<class T>(T x, T y) {
    return (x == 0 && y >= 0) || (x > std::numeric_limits<T>::max() && y < 0) ? T{1} : T{0};
  });
}
Tensor masked(const Tensor& x, const Tensor& factor) {
  return zip(x, factor, [](auto v, auto f) { return f == 0 ? f : v * f; });
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b, const Shape& shape) {
  const auto whole = [&](const Tensor& t) { return t.shape() == shape ? t : broadcast(t, shape); };
  const Tensor taken = whole(condition), yes = whole(a), no = whole(b);
  Tensor result = Tensor::empty(shape, a.dtype());
  dispatch_float(a.dtype(), [&]<class T>(T) {
    const std::int32_t* c = taken.data<std::int32_t>();
    const T* from_a = yes.data<T>();
    const T* from_b = no.data<T>();
    T* to = result.mutable_data<T>();
    for_blocks(shape.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) to[i] = c[i] != 0 ? from_a[i] : from_b[i];
    });
  });
  return result;
}

Tensor neg(const Tensor& x) {
  return map(x, [](auto v) { return -v; });
}
Tensor scale(const Tensor& x, double factor) {
  return map(x, [factor](auto v) { return v * static_cast<decltype(v)>(factor); });
}
Tensor add_scalar(const Tensor& x, double summand) {
  return map(x, [summand](auto v) { return v + static_cast<decltype(v)>(summand); });
}
Tensor exp(const Tensor& x) {
  return map_arrays(x,
                    []<class T>(const T* from, T* to, std::size_t n) { vector_exp(from, to, n); });
}
Tensor log(const Tensor& x) {
  return map(
      x, [](auto v) { return std::log(v); }, costly_block);
}
Tensor log1p(const Tensor& x) {
  return map(
      x, [](auto v) { return std::log1p(v); }, costly_block);
}
Tensor expm1(const Tensor& x) {
  return map(
      x, [](auto v) { return std::expm1(v); }, costly_block);
}
Tensor pow(const Tensor& x, double exponent) {
  return map(
      x,
      [exponent](auto v) {
        return static_cast<decltype(v)>(std::pow(static_cast<double>(v), exponent));
      },
      costly_block);
}
Tensor softplus(const Tensor& x) {
  return map(
      x, [](auto v) { return log1p_exp(v); }, costly_block);
}
Tensor abs(const Tensor& x) {
  return map(x, [](auto v) { return std::abs(v); });
}
Tensor sign(const Tensor& x) {
  return map(x, [](auto v) {
    using T = decltype(v);
    return v > 0 ? T{1} : v < 0 ? T{-1} : is_nan(v) ? v : T{0};
  });
}
Tensor clamp(const Tensor& x, double low, double high) {
  return map(x, [low, high](auto v) {
    const auto least = static_cast<decltype(v)>(low), most = static_cast<decltype(v)>(high);
    return v < least ? least : v > most ? most : v;  // NaN stays NaN
  });
}
Tensor beyond(const Tensor& x, double low, double high) {
  return map(x, [low, high]<class T>(T v) {
    return v < static_cast<T>(low) ? T{-1} : v > static_cast<T>(high) ? T{1} : T{0};
  });
}
Tensor sqrt(const Tensor& x) {
  return map(x, [](auto v) { return std::sqrt(v); });
}
Tensor square(const Tensor& x) {
  return map(x, [](auto v) { return v * v; });
}
Tensor sigmoid(const Tensor& x) {
  return map_arrays(
      x, []<class T>(const T* from, T* to, std::size_t n) { vector_sigmoid(from, to, n); });
}
Tensor tanh(const Tensor& x) {
  return map_arrays(x,
                    []<class T>(const T* from, T* to, std::size_t n) { vector_tanh(from, to, n); });
}
Tensor relu(const Tensor& x) {
  return map(x, [](auto v) { return positive_part(v); });
}

Tensor sigmoid_slope(const Tensor& x) {
  return map_arrays(
      x, []<class T>(const T* from, T* to, std::size_t n) { vector_sigmoid_slope(from, to, n); });
}
Tensor tanh_slope(const Tensor& x) {
  return map_arrays(
      x, []<class T>(const T* from, T* to, std::size_t n) { vector_tanh_slope(from, to, n); });
}

namespace {
/// slope *= dy, in the memory of `slope`.
Tensor times(Tensor slope, const Tensor& dy) {
  dispatch_float(dy.dtype(), [&]<class T>(T) {
    const T* from = dy.data<T>();
    T* to = slope.mutable_data<T>();
    for_blocks(dy.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) to[i] *= from[i];
    });
  });
  return slope;
}
}  // namespace

Tensor sigmoid_backward(const Tensor& x, const Tensor& dy) { return times(sigmoid_slope(x), dy); }
Tensor tanh_backward(const Tensor& x, const Tensor& dy) { return times(tanh_slope(x), dy); }
Tensor relu_backward(const Tensor& y, const Tensor& dy) {
  return zip(y, dy, [](auto v, auto d) { return v <= 0 ? decltype(d){0} : d; });
}
Tensor is_positive(const Tensor& x) {
  return map(x, [](auto v) { return v <= 0 ? decltype(v){0} : decltype(v){1}; });
}

void accumulate(Tensor& total, const Tensor& x) {
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = total.mutable_data<T>();
    for_blocks(x.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) to[i] += from[i];
    });
  });
}

}  // namespace tapegrad::kernels
