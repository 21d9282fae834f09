#pragma once

#include "../cxx20.h"

#include <cstddef>

/// y[i] = f(x[i]) with the machine's widest vectors (Google Highway, chosen at run time); x and y
/// may be the same. T is float or double. The result of an element does not depend on its place.
/// Errors are tested and stated in tests/core/test_vector_math.cpp. Special values: NaN stays NaN;
/// exp(inf) = inf, exp(-inf) = 0, exp overflows to inf; sigmoid(+-inf) = 1, 0; tanh(+-inf) = +-1;
/// tanh(+-0) = +-0.
namespace tapegrad::kernels {

template <class T>
void vector_exp(const T* x, T* y, std::size_t n);
template <class T>
void vector_sigmoid(const T* x, T* y, std::size_t n);
template <class T>
void vector_tanh(const T* x, T* y, std::size_t n);

}  // namespace tapegrad::kernels
