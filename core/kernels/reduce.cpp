#include "reduce.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "../dispatch-inl.h"
#include "../pool.h"
#include "../scratch-inl.h"
#include "../simd/in_double-inl.h"
#include "indexing.h"
#include "parallel-inl.h"

namespace tapegrad::kernels {
namespace {

/// Sums `sum(x, n)` of blocks of 1024, added in a balanced tree.
template <class T, class Sum>
double pairwise(const T* x, std::size_t n, Sum sum) {
  constexpr std::size_t block = 1024;
  if (n <= block) return sum(x, n);
  const std::size_t half = (n / block + 1) / 2 * block;
  return pairwise(x, half, sum) + pairwise(x + half, n - half, sum);
}

/// f(x[0]) + ... + f(x[n - 1]) in double, lanes within blocks. The error is that of about
/// 64 + log2(n / 1024) additions, also for float64.
template <class T, class F>
double pairwise_sum(const T* x, std::size_t n, F f) {
  return pairwise(
      x, n, [f](const T* block, std::size_t size) { return lane_sum<double>(block, size, f); });
}

constexpr auto identity = [](double v) { return v; };

/// to[j] = x[0][j] + ... + x[n - 1][j] for j < width; rows of x are `stride` apart. In double, runs
/// of 128 rows one after the other, and their sums one after the other.
constexpr std::size_t column_chunk = 128;
template <class T>
void sum_columns(const T* x, std::size_t n, std::size_t stride, std::size_t width, T* to) {
  constexpr std::size_t run = 128;
  std::array<double, column_chunk> total{};
  for (std::size_t begin = 0; begin < n; begin += run) {
    std::array<double, column_chunk> part{};
    for (std::size_t i = begin; i < std::min(n, begin + run); ++i) {
      const T* row = x + i * stride;
      for (std::size_t j = 0; j < width; ++j) part[j] += static_cast<double>(row[j]);
    }
    for (std::size_t j = 0; j < width; ++j) total[j] += part[j];
  }
  for (std::size_t j = 0; j < width; ++j) to[j] = static_cast<T>(total[j]);
}

/// x (outer, n, inner) -> (outer, inner).
template <class T>
void sum_axis(const T* x, const Axes& axes, T* to) {
  const auto [outer, n, inner] = axes;
  if (inner == 1) {
    for_blocks(outer, rows_per_block(n, cheap_block),
               [&, n = n](std::size_t begin, std::size_t end) {
                 for (std::size_t o = begin; o < end; ++o) {
                   to[o] = static_cast<T>(pairwise_sum(x + o * n, n, identity));
                 }
               });
    return;
  }
  const std::size_t chunks = (inner + column_chunk - 1) / column_chunk;  // of one `outer`
  for_blocks(outer * chunks, rows_per_block(n * column_chunk, cheap_block),
             [&, n = n, inner = inner](std::size_t begin, std::size_t end) {
               for (std::size_t i = begin; i < end; ++i) {
                 const std::size_t o = i / chunks, j = i % chunks * column_chunk;
                 sum_columns(x + o * n * inner + j, n, inner, std::min(column_chunk, inner - j),
                             to + o * inner + j);
               }
             });
}

/// to[j] = number of the first of x[0][j], ..., x[n - 1][j] that no other one beats.
template <class T, class Beats>
void first_columns(const T* x, std::size_t n, std::size_t stride, std::size_t width,
                   std::int32_t* to, Beats beats) {
  std::array<T, column_chunk> best{};
  std::copy_n(x, width, best.begin());
  std::fill_n(to, width, 0);
  for (std::size_t i = 1; i < n; ++i) {
    const T* row = x + i * stride;
    for (std::size_t j = 0; j < width; ++j) {
      const bool better = beats(row[j], best[j]);
      best[j] = better ? row[j] : best[j];
      to[j] = better ? static_cast<std::int32_t>(i) : to[j];
    }
  }
}

/// A NaN beats every number, so that it is seen.
template <class Before>
Tensor first_along(const Tensor& x, Axis axis, Before before) {
  Tensor result = Tensor::empty(x.shape().without(axis), DType::int32);
  if (result.numel() == 0) return result;
  const auto [outer, n, inner] = Axes::around(x.shape(), axis);
  dispatch_float(x.dtype(), [&, outer = outer, n = n, inner = inner]<class T>(T) {
    const T* from = x.data<T>();
    std::int32_t* to = result.mutable_data<std::int32_t>();
    const auto beats = [before](T a, T b) { return before(a, b) || (a != a && b == b); };
    for (std::size_t o = 0; o < outer; ++o) {
      for (std::size_t j = 0; j < inner; j += column_chunk) {
        first_columns(from + o * n * inner + j, n, inner, std::min(column_chunk, inner - j),
                      to + o * inner + j, beats);
      }
    }
  });
  return result;
}

/// to[0][j], ..., to[k - 1][j] = places of the k first of x[0][j], ..., x[n - 1][j] in the order of
/// `before`; rows are `stride` apart.
template <class T, class Before>
void first_k(const T* x, std::size_t n, std::size_t stride, std::size_t k, std::int32_t* to,
             Before before) {
  pool::Vector<std::int32_t> places(n);
  std::iota(places.begin(), places.end(), 0);
  const auto precedes = [=](std::int32_t i, std::int32_t j) {
    const T a = x[static_cast<std::size_t>(i) * stride],
            b = x[static_cast<std::size_t>(j) * stride];
    const bool a_is_nan = a != a, b_is_nan = b != b;
    if (a_is_nan != b_is_nan) return a_is_nan;
    if (before(a, b)) return true;
    return !before(b, a) && i < j;
  };
  const auto end = places.begin() + static_cast<std::ptrdiff_t>(k);
  std::partial_sort(places.begin(), end, places.end(), precedes);
  for (std::size_t i = 0; i < k; ++i) to[i * stride] = places[i];
}

/// to[i][j] = x[0][j] + ... + x[i][j], or from the end; rows are `stride` apart.
template <class T>
void running_columns(const T* x, std::size_t n, std::size_t stride, std::size_t width, T* to,
                     bool reverse) {
  std::array<double, column_chunk> total{};
  for (std::size_t k = 0; k < n; ++k) {
    const std::size_t row = (reverse ? n - 1 - k : k) * stride;
    for (std::size_t j = 0; j < width; ++j) {
      total[j] += static_cast<double>(x[row + j]);
      to[row + j] = static_cast<T>(total[j]);
    }
  }
}

Tensor sum_to_shape(const Tensor& x, const Axes& axes, const Shape& shape) {
  Tensor result = Tensor::empty(shape, x.dtype());
  if (result.numel() == 0) return result;
  dispatch_float(x.dtype(),
                 [&]<class T>(T) { sum_axis(x.data<T>(), axes, result.mutable_data<T>()); });
  return result;
}

/// x (outer, inner) -> (outer, n, inner).
Tensor repeat_to_shape(const Tensor& x, const Axes& axes, const Shape& shape) {
  Tensor result = Tensor::empty(shape, x.dtype());
  if (result.numel() == 0) return result;
  const auto [outer, n, inner] = axes;
  dispatch(x.dtype(), [&, outer = outer, n = n, inner = inner]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for (std::size_t o = 0; o < outer; ++o, from += inner) {
      if (inner == 1) {
        to = std::fill_n(to, n, *from);
      } else {
        for (std::size_t i = 0; i < n; ++i) to = std::copy_n(from, inner, to);
      }
    }
  });
  return result;
}

/// The leading axes of `shape` before its suffix `part`, as one.
Axes before(const Shape& shape, const Shape& part) {
  return {1, product(shape.dims().first(shape.rank() - part.rank())), part.numel()};
}

/// The sum of squares in the same order within blocks of `cheap_block`, and of these pairwise.
template <class T>
double squares_of(const T* x, std::size_t n) {
  if (n <= cheap_block) return pairwise(x, n, sum_of_squares<T>);
  const std::size_t blocks = (n + cheap_block - 1) / cheap_block;
  const Scratch<double> parts(blocks);
  for_blocks(n, cheap_block, [&](std::size_t begin, std::size_t end) {
    parts[begin / cheap_block] = pairwise(x + begin, end - begin, sum_of_squares<T>);
  });
  return pairwise_sum(parts.get(), blocks, identity);
}

/// For elements whose squares overflow or vanish: divided by the largest of them first.
double scaled_norm(const double* x, std::size_t n) {
  double largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
  if (largest == 0) return 0;
  return largest * std::sqrt(pairwise_sum(
                       x, n, [largest](double v) { return (v / largest) * (v / largest); }));
}

double norm_of(const float* x, std::size_t n) {
  return std::sqrt(squares_of(x, n));  // squares of floats fit a double easily
}

double norm_of(const double* x, std::size_t n) {
  const double squares = squares_of(x, n);
  // Above this bound, what squares may have lost below 2^-1074 is less than a rounding error.
  constexpr double enough = 0x1p-900;
  if (squares >= enough && squares <= std::numeric_limits<double>::max()) return std::sqrt(squares);
  if (std::isnan(squares)) return squares;
  if (std::any_of(x, x + n, [](double v) { return std::isinf(v); })) return squares;
  return scaled_norm(x, n);
}

}  // namespace

Tensor sum(const Tensor& x) { return sum_to(x, Shape{}); }

Tensor sum(const Tensor& x, Axis axis) {
  return sum_to_shape(x, Axes::around(x.shape(), axis), x.shape().without(axis));
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  return sum_to_shape(x, before(x.shape(), shape), shape);
}

Tensor repeat(const Tensor& x, Axis axis, std::size_t size) {
  const Shape shape = x.shape().inserted(axis, size);  // where the axis is as typed
  return repeat_to_shape(x, Axes::around(shape, axis), shape);
}

Tensor broadcast(const Tensor& x, const Shape& shape) {
  return repeat_to_shape(x, before(shape, x.shape()), shape);
}

Tensor argmax(const Tensor& x, Axis axis) {
  return first_along(x, axis, [](auto a, auto b) { return a > b; });
}
Tensor argmin(const Tensor& x, Axis axis) {
  return first_along(x, axis, [](auto a, auto b) { return a < b; });
}

Tensor topk(const Tensor& x, std::size_t k, Axis axis, bool largest) {
  Tensor result = Tensor::empty(x.shape().with(axis, k), DType::int32);
  if (result.numel() == 0) return result;
  const auto [outer, n, inner] = Axes::around(x.shape(), axis);
  dispatch_float(x.dtype(), [&, outer = outer, n = n, inner = inner]<class T>(T) {
    const T* from = x.data<T>();
    std::int32_t* to = result.mutable_data<std::int32_t>();
    for (std::size_t o = 0; o < outer; ++o, from += n * inner, to += k * inner) {
      for (std::size_t j = 0; j < inner; ++j) {
        if (largest) {
          first_k(from + j, n, inner, k, to + j, [](T a, T b) { return a > b; });
        } else {
          first_k(from + j, n, inner, k, to + j, [](T a, T b) { return a < b; });
        }
      }
    }
  });
  return result;
}

Tensor cumsum(const Tensor& x, Axis axis, bool reverse) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  if (result.numel() == 0) return result;
  const auto [outer, n, inner] = Axes::around(x.shape(), axis);
  dispatch_float(x.dtype(), [&, outer = outer, n = n, inner = inner]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for (std::size_t o = 0; o < outer; ++o, from += n * inner, to += n * inner) {
      for (std::size_t j = 0; j < inner; j += column_chunk) {
        running_columns(from + j, n, inner, std::min(column_chunk, inner - j), to + j, reverse);
      }
    }
  });
  return result;
}

double norm(const Tensor& x) {
  return dispatch_float(x.dtype(), [&]<class T>(T) { return norm_of(x.data<T>(), x.numel()); });
}

Tensor norm(const Tensor& x, Axis axis) {
  Tensor result = Tensor::zeros(x.shape().without(axis), x.dtype());
  if (x.numel() == 0) return result;
  const auto [outer, n, inner] = Axes::around(x.shape(), axis);
  const Tensor rows = inner == 1 ? x : transpose(x.reshape({outer, n, inner}), 1, 2);
  dispatch_float(x.dtype(), [&, n = n]<class T>(T) {
    const T* from = rows.data<T>();
    T* to = result.mutable_data<T>();
    for_blocks(result.numel(), rows_per_block(n, cheap_block),
               [=](std::size_t begin, std::size_t end) {
                 for (std::size_t i = begin; i < end; ++i) {
                   to[i] = static_cast<T>(norm_of(from + i * n, n));
                 }
               });
  });
  return result;
}

}  // namespace tapegrad::kernels
