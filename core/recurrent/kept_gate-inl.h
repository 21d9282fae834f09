#pragma once

#include <cmath>
#include <limits>

#pragma GCC visibility push(hidden)

// How forward keeps a gate y for backward: one number k, from which y and its slope y' follow to a
// few units of the last place. y alone does not do: a sigmoid near 1 or a tanh near +-1 is rounded,
// so that y (1 - y) and 1 - y^2 are 0 in float32 from |a| = 17 and 9 on, where the slopes are still
// 4e-8 and 6e-8.
//
//   sigmoid:  k = y            y' = |k| (1 - |k|)           where a < 0
//             k = -(1 - y)                                  where a >= 0
//
//   tanh:     k = y            y' = 1 - k^2                 where |y| <= 1/2
//             k = +-u / least  y' = u (2 - u), u = 1 - |y|  elsewhere; then |k| >= 1
//
// `least` is the smallest normal number, so that k stays a number down to where u vanishes. A NaN
// stays NaN. kept_gate_vectors-inl.h has the same for vectors.
namespace tapegrad::kernels {

template <class T>
T keep_sigmoid(T a) {
  const T e = std::exp(-std::abs(a));
  const T distance = e / (1 + e);  // min(y, 1 - y)
  return a < 0 ? distance : -distance;
}
template <class T>
T kept_sigmoid(T k) {
  return std::signbit(k) ? 1 + k : k;
}
template <class T>
T kept_sigmoid_slope(T k) {
  const T distance = std::abs(k);
  return distance * (1 - distance);
}

/// tanh |a| = e / (e + 2) with e = e^(2|a|) - 1, and u = 2 / (e + 2).
template <class T>
T keep_tanh(T a) {
  constexpr T least = std::numeric_limits<T>::min();
  constexpr T most = sizeof(T) == 4 ? 88 : 709;  // u is `least` there
  const T x = 2 * std::abs(a);
  const T e = std::expm1(x > most ? most : x);
  return std::copysign((e > 2 ? 2 / least : e) / (e + 2), a);
}
template <class T>
T kept_tanh(T k) {
  constexpr T least = std::numeric_limits<T>::min();
  return std::abs(k) >= 1 ? std::copysign(1 - std::abs(k) * least, k) : k;
}
template <class T>
T kept_tanh_slope(T k) {
  const T u = std::abs(k) * std::numeric_limits<T>::min();
  return std::abs(k) >= 1 ? u * (2 - u) : 1 - k * k;
}

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
