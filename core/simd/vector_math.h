#pragma once

#include "../cxx20.h"

#include <cstddef>

/// y[i] = f(x[i]) with the machine's widest vectors (Google Highway, chosen at run time); x and y
/// may be the same. The result of an element does not depend on its place. NaN stays NaN. Subnormal
/// numbers are computed with.
///
/// Errors in units of the last place over the whole range, measured on SSSE3, SSE4, AVX2, AVX-512
/// and an emulated NEON (tests/neon.sh), and tested in test_vector_math.cpp.
namespace tapegrad::kernels {

/// Computes e^x.
/// Valid lane types: float, double
/// Max error: ULP = 1.5
/// Valid range: all; 0 below -104 (-745), inf above 88.7 (709.8)
template <class T>
void vector_exp(const T* x, T* y, std::size_t n);

/// Computes 1 / (1 + e^-x).
/// Valid lane types: float, double
/// Max error: ULP = 3
/// Valid range: all; sigmoid(inf) = 1, sigmoid(-inf) = 0
template <class T>
void vector_sigmoid(const T* x, T* y, std::size_t n);

/// Computes tanh x.
/// Valid lane types: float, double
/// Max error: ULP = 4
/// Valid range: all; tanh(+-inf) = +-1, tanh(+-0) = +-0
template <class T>
void vector_tanh(const T* x, T* y, std::size_t n);

/// Computes the derivative of sigmoid at x (not from its value), right in both tails:
///   sigmoid'(x) = sigmoid(x) sigmoid(-x)
/// Valid lane types: float, double
/// Max error: ULP = 4
/// Valid range: all; 0 at +-inf
template <class T>
void vector_sigmoid_slope(const T* x, T* y, std::size_t n);

/// Computes the derivative of tanh at x (not from its value), right in both tails:
///   tanh'(x) = 1 - tanh(x)^2 = 4 sigmoid'(2 x)
/// Valid lane types: float, double
/// Max error: ULP = 4
/// Valid range: all; 0 at +-inf
template <class T>
void vector_tanh_slope(const T* x, T* y, std::size_t n);

}  // namespace tapegrad::kernels
