#pragma once

#include <cstddef>

#pragma GCC visibility push(hidden)

/// Parts of a softmax, in the machine's widest vectors; T is float or double.
namespace tapegrad::kernels {

/// Returns the place of the first of the largest elements, none of which is NaN; n if every element
/// is -inf or NaN.
template <class T>
[[gnu::visibility("hidden")]] std::size_t first_largest(const T* x, std::size_t n);

/// y[i] = exp(x[i] - shift) as vector_exp() has it; x and y may be the same.
template <class T>
[[gnu::visibility("hidden")]] void shifted_exponentials(const T* x, std::size_t n, T shift, T* y);

/// x[i] = x[i] / divisor.
template <class T>
[[gnu::visibility("hidden")]] void divide_in_place(T* x, std::size_t n, T divisor);

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
