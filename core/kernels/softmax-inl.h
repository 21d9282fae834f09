#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "../simd/exponentials-inl.h"
#include "../simd/in_double-inl.h"
#include "../tensor.h"
#include "parallel-inl.h"

#pragma GCC visibility push(hidden)

/// Common parts of softmax and cross entropy: rows of a tensor, and the exponentials of a row.
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

/// The exponentials of a row: with shift, the largest element,
///   sum_j exp(x_j - shift) = 1 + rest,
/// where rest has every element but the largest one: log1p(rest) keeps what log(1 + rest) would
/// lose. Without a finite largest element, `certain` is 0, and so is shift for a row of -inf.
template <class T>
struct RowSums {
  T shift;
  std::size_t largest;  // where it is; n if there is none
  double certain;       // 1, or 0
  double rest;

  double total() const { return certain + rest; }
  /// log sum exp(x - shift); -inf if every x is -inf.
  double log_total() const { return certain != 0 ? std::log1p(rest) : std::log(rest); }
};

/// y = exp(x - shift) unless y is null, and their sums; x and y may be the same. In chunks, so that
/// y is summed while it is in the cache.
template <class T>
RowSums<T> exponentials(const T* x, std::size_t n, T* y) {
  constexpr std::size_t chunk = 1024;
  const std::size_t at = first_largest(x, n);
  const T shift = at < n ? x[at] : T{0};
  const bool finite = at < n && shift != std::numeric_limits<T>::infinity();
  RowSums<T> sums{shift, finite ? at : n, finite ? 1.0 : 0.0, 0};
  std::array<T, chunk> scratch;
  for (std::size_t begin = 0; begin < n; begin += chunk) {
    const std::size_t size = std::min(chunk, n - begin);
    T* const to = y != nullptr ? y + begin : scratch.data();
    shifted_exponentials(x + begin, size, shift, to);
    const bool here = sums.largest - begin < size;  // a difference below 0 wraps around
    if (here) to[sums.largest - begin] = 0;
    sums.rest += sum_in_double(to, size);
    if (here) to[sums.largest - begin] = 1;
  }
  return sums;
}

/// y = softmax(x), 0 if every x is -inf.
template <class T>
RowSums<T> softmax_row(const T* x, std::size_t n, T* y) {
  const RowSums<T> sums = exponentials(x, n, y);
  if (const T total = static_cast<T>(sums.total()); total != 0) divide_in_place(y, n, total);
  return sums;
}

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
