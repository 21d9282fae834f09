#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "../shape.h"
#include "../threads.h"

/// Common parts of kernels: a shape around an axis, blocks on several threads, a sum on several
/// lanes.
///
/// A shape with a size-0 axis may have another of size 2^50: a kernel returns early if there are no
/// elements.
namespace tapegrad::kernels {

inline std::size_t product(std::span<const std::size_t> dims) {
  std::size_t result = 1;
  for (const std::size_t size : dims) result *= size;
  return result;
}

/// A shape as (outer, n, inner): what is before an axis, the axis, and what one step along it
/// spans.
struct Axes {
  std::size_t outer;
  std::size_t n;
  std::size_t inner;

  static Axes around(const Shape& shape, Axis axis) {
    const std::span<const std::size_t> dims = shape.dims();
    const std::size_t i = shape.index(axis);
    return {product(dims.first(i)), dims[i], product(dims.subspan(i + 1))};
  }
};

/// Elements a block, for arithmetic and for exponentials and random bits. One block takes as long
/// as a sleeping thread takes to join (20 us measured), so what is smaller is better done alone.
inline constexpr std::size_t cheap_block = 131072;
inline constexpr std::size_t costly_block = 16384;

/// Calls f(begin, end) for [0, count) in blocks of `block`; the last one may be shorter.
template <class F>
void for_blocks(std::size_t count, std::size_t block, F&& f) {
  if (count == 0) return;
  if (count <= block) return f(std::size_t{0}, count);
  parallel_tasks((count + block - 1) / block,
                 [&](std::size_t i) { f(i * block, std::min(count, (i + 1) * block)); });
}

/// A block of whole rows of `columns` elements, with about `elements` elements.
inline std::size_t rows_per_block(std::size_t columns, std::size_t elements) {
  return std::max<std::size_t>(1, elements / std::max<std::size_t>(1, columns));
}

/// f(0) + ... + f(n - 1) in Sum's arithmetic. Term i goes to lane i % 16, and the lanes are added
/// in a tree: vectors of any width give the same bits, and the error grows with n / 16.
template <class Sum, class F>
Sum lane_sum_of(std::size_t n, F f) {
  constexpr std::size_t lanes = 16;
  std::array<Sum, lanes> sums{};
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (std::size_t l = 0; l < lanes; ++l) sums[l] += f(i + l);
  }
  for (std::size_t l = 0; i + l < n; ++l) sums[l] += f(i + l);
  for (std::size_t half = lanes / 2; half > 0; half /= 2) {
    for (std::size_t l = 0; l < half; ++l) sums[l] += sums[l + half];
  }
  return sums[0];
}

/// Sums the terms f(x[0]), ..., f(x[n - 1]).
template <class Sum, class T, class F>
Sum lane_sum(const T* x, std::size_t n, F f) {
  return lane_sum_of<Sum>(n, [=](std::size_t i) { return f(static_cast<Sum>(x[i])); });
}

}  // namespace tapegrad::kernels
