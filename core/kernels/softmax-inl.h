#pragma once

#include <algorithm>
#include <array>
#include <cmath>
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

/// The first of the largest elements, which no NaN is: where and what. n and -inf if there is none.
template <class T>
struct Largest {
  std::size_t at;
  T value;
};
template <class T>
Largest<T> largest_of(const T* x, std::size_t n) {
  constexpr std::size_t lanes = 16;
  std::array<T, lanes> most;
  most.fill(-std::numeric_limits<T>::infinity());
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (std::size_t l = 0; l < lanes; ++l) most[l] = x[i + l] > most[l] ? x[i + l] : most[l];
  }
  for (; i < n; ++i) most[0] = x[i] > most[0] ? x[i] : most[0];
  const T value = *std::max_element(most.begin(), most.end());
  if (value == -std::numeric_limits<T>::infinity()) return {n, value};
  return {static_cast<std::size_t>(std::find(x, x + n, value) - x), value};
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

/// y = exp(x - shift) unless y is null, and their sums. In chunks, so that y is summed while it is
/// in the cache.
template <class T>
RowSums<T> exponentials(const T* x, std::size_t n, T* y) {
  constexpr std::size_t chunk = 256;
  constexpr T inf = std::numeric_limits<T>::infinity();
  const auto [at, value] = largest_of(x, n);
  const bool finite = at < n && value != inf;
  RowSums<T> sums{at < n ? value : T{0}, finite ? at : n, finite ? 1.0 : 0.0, 0};
  std::array<T, chunk> scratch;
  for (std::size_t begin = 0; begin < n; begin += chunk) {
    const std::size_t size = std::min(chunk, n - begin);
    T* to = y != nullptr ? y + begin : scratch.data();
    for (std::size_t j = 0; j < size; ++j) to[j] = x[begin + j] - sums.shift;
    vector_exp(to, to, size);
    const bool here = sums.largest - begin < size;  // a difference below 0 wraps around
    if (here) to[sums.largest - begin] = 0;
    sums.rest += lane_sum<double>(to, size, identity);
    if (here) to[sums.largest - begin] = 1;
  }
  return sums;
}

/// y = softmax(x), 0 if every x is -inf.
template <class T>
RowSums<T> softmax_row(const T* x, std::size_t n, T* y) {
  const RowSums<T> sums = exponentials(x, n, y);
  if (const T total = static_cast<T>(sums.total()); total != 0) {
    for (std::size_t j = 0; j < n; ++j) y[j] /= total;
  }
  return sums;
}

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
