#pragma once

#include <cstddef>

/// y[i] = f(x[i]) as the fused LSTM makes it, in the vectors of the instruction set that has been
/// chosen; the kept ones and slopes from what it keeps of a gate. T is float or double.
namespace tapegrad::testing {

template <class T>
void gate_sigmoid(const T* x, T* y, std::size_t n);
template <class T>
void kept_gate_sigmoid(const T* x, T* y, std::size_t n);
template <class T>
void gate_sigmoid_slope(const T* x, T* y, std::size_t n);
template <class T>
void gate_tanh(const T* x, T* y, std::size_t n);
template <class T>
void kept_gate_tanh(const T* x, T* y, std::size_t n);
template <class T>
void gate_tanh_slope(const T* x, T* y, std::size_t n);

}  // namespace tapegrad::testing
