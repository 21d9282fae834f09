#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include "../simd/vector_math.h"
#include "../tensor.h"
#include "parallel-inl.h"

#pragma GCC visibility push(hidden)

/// What softmax and cross entropy share: rows of a tensor, and the exponentials of a row.
namespace tapegrad::kernels {

inline constexpr auto identity = [](auto v) { return v; };

inline std::size_t columns_of(const Tensor& x) { return x.size(x.rank() - 1); }
inline std::size_t rows_of(const Tensor& x) {
  return x.shape().with(x.rank() - 1, 1).numel();  // right without columns, too
}

/// Calls f(row, its first element's index) for every row of x; rows do not depend on each other.
template <class F>
void for_rows(const Tensor& x, F f) {
  const std::size_t columns = columns_of(x);
  for_blocks(rows_of(x), rows_per_block(columns, costly_block),
             [&](std::size_t begin, std::size_t end) {
               for (std::size_t row = begin; row < end; ++row) f(row, row * columns);
             });
}

/// What is subtracted before exponentials are taken: the largest element, or 0 if all are -inf. A
/// NaN may be passed over: it makes the sum of exponentials NaN later.
template <class T>
T row_shift(const T* x, std::size_t n) {
  constexpr std::size_t lanes = 16;
  std::array<T, lanes> largest;
  largest.fill(-std::numeric_limits<T>::infinity());
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (std::size_t l = 0; l < lanes; ++l)
      largest[l] = x[i + l] > largest[l] ? x[i + l] : largest[l];
  }
  for (; i < n; ++i) largest[0] = std::max(largest[0], x[i]);
  const T maximum = *std::max_element(largest.begin(), largest.end());
  return maximum == -std::numeric_limits<T>::infinity() ? T{0} : maximum;
}

/// y = exp(x - shift); returns the sum of y. In chunks, so that y is summed while it is in the
/// cache. With y = null only the sum is wanted.
template <class T>
T exponentials(const T* x, std::size_t n, T shift, T* y) {
  constexpr std::size_t chunk = 256;
  std::array<T, chunk> scratch;
  T total = 0;
  for (std::size_t begin = 0; begin < n; begin += chunk) {
    const std::size_t size = std::min(chunk, n - begin);
    T* to = y != nullptr ? y + begin : scratch.data();
    for (std::size_t j = 0; j < size; ++j) to[j] = x[begin + j] - shift;
    vector_exp(to, to, size);
    total += lane_sum<T>(to, size, identity);
  }
  return total;
}

/// y = softmax(x) (unless null); returns what log softmax needs. The total is 0 only if every x is
/// -inf; y is then 0, too.
template <class T>
struct RowSums {
  T shift;
  T total;  // of exp(x - shift)
};
template <class T>
RowSums<T> softmax_row(const T* x, std::size_t n, T* y) {
  const T shift = row_shift(x, n);
  const T total = exponentials(x, n, shift, y);
  if (y != nullptr && total != 0) {
    for (std::size_t j = 0; j < n; ++j) y[j] /= total;
  }
  return {shift, total};
}

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
