#pragma once

#include <cstddef>

/// y[i] = f(x[i]) as the fused LSTM makes it: from what it keeps of a gate, in the vectors of the
/// instruction set that has been chosen. T is float or double.
namespace tapegrad::testing {

template <class T>
void gate_sigmoid(const T* x, T* y, std::size_t n);
template <class T>
void gate_sigmoid_slope(const T* x, T* y, std::size_t n);
template <class T>
void gate_tanh(const T* x, T* y, std::size_t n);
template <class T>
void gate_tanh_slope(const T* x, T* y, std::size_t n);

}  // namespace tapegrad::testing
