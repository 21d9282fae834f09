#pragma once

#include <cstddef>

#pragma GCC visibility push(hidden)

/// Loops over numbers of either type T, float or double, whose arithmetic is in double, in the
/// machine's widest vectors. No product is fused with a sum: the bits do not depend on the
/// instruction set.
namespace tapegrad::kernels {

/// y[i] = x[i] numerator / denominator, rounded to T once, for 0 <= numerator <= denominator > 0; x
/// and y may be the same. Right also where the quotient is too small for a double.
template <class T>
[[gnu::visibility("hidden")]] void scale(const T* x, std::size_t n, double numerator,
                                         double denominator, T* y);

/// x[0] + ... + x[n - 1]: term i goes to lane i % 16, and the lanes are added in a tree.
template <class T>
[[gnu::visibility("hidden")]] double sum_in_double(const T* x, std::size_t n);
/// x[0]^2 + ... + x[n - 1]^2, likewise.
template <class T>
[[gnu::visibility("hidden")]] double sum_of_squares(const T* x, std::size_t n);

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
