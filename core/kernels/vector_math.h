#pragma once

#include <cstddef>

/// Functions of whole arrays: y[i] = f(x[i]) with the machine's widest vectors (Google Highway,
/// chosen at run time). x and y may be the same. The result of an element does not depend on its
/// place. NaN stays NaN. Max Error is in units of the result's last place, the worst of SSSE3, SSE4,
/// AVX2 and AVX-512; tests/core/test_vector_math.cpp measures it.
namespace tapegrad::kernels {

/// e^x; inf where that overflows.
/// Valid Lane Types: float, double
/// Max Error: ULP = 1.5
/// Valid Range: all; subnormal results included, exp(-inf) = 0, exp(inf) = inf
template <class T>
void vector_exp(const T* x, T* y, std::size_t n);

/// 1 / (1 + e^-x)
/// Valid Lane Types: float, double
/// Max Error: ULP = 3
/// Valid Range: all; sigmoid(-inf) = 0, sigmoid(inf) = 1
template <class T>
void vector_sigmoid(const T* x, T* y, std::size_t n);

/// Valid Lane Types: float, double
/// Max Error: ULP = 4
/// Valid Range: all; tanh(+-0) = +-0, tanh(+-inf) = +-1
template <class T>
void vector_tanh(const T* x, T* y, std::size_t n);

/// The derivative of sigmoid at x (not from its value), right in both tails:
///   sigmoid'(x) = sigmoid(x) sigmoid(-x)
/// Valid Lane Types: float, double
/// Max Error: ULP = 4
/// Valid Range: all; 0 at +-inf
template <class T>
void vector_sigmoid_slope(const T* x, T* y, std::size_t n);

/// The derivative of tanh at x (not from its value), right in both tails:
///   tanh'(x) = 1 - tanh(x)^2 = 4 sigmoid'(2 x)
/// Valid Lane Types: float, double
/// Max Error: ULP = 4
/// Valid Range: all; 0 at +-inf
template <class T>
void vector_tanh_slope(const T* x, T* y, std::size_t n);

}  // namespace tapegrad::kernels
