#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>

#include "../var.h"

/// Taking values apart and putting them together. An axis is counted from the first, 0, or from the
/// last, -1. ShapeError for what does not fit, and for an axis that does not exist; UsageError for
/// no parts, DtypeError for parts of several dtypes. int32 may be taken by all but pad().
namespace tapegrad {

/// Reshapes: the elements in row-major order, in another shape.
Var reshape(const Var& x, const Shape& shape);
/// Axes `axis0` and `axis1` exchanged, copied: (..., M, ..., N, ...) -> (..., N, ..., M, ...).
Var transpose(const Var& x, Axis axis0, Axis axis1);
/// Transposes a matrix: (M, N) -> (N, M). ShapeError unless rank is 2: with more, say which axes.
Var transpose(const Var& x);
/// Elements [begin, end) along `axis`. In a loop over all steps use unbind(): a slice's gradient is
/// as large as x.
Var slice(const Var& x, Axis axis, std::size_t begin, std::size_t end);
/// Concatenates parts along `axis`; at least one part, all other axes equal.
Var concat(const Vars& parts, Axis axis);
/// Parts of equal shape along a new axis, which is axis `axis` of the result.
Var stack(const Vars& parts, Axis axis = 0);
/// Returns x[0], x[1], ... of the first axis, as one node.
Vars unbind(const Var& x);

/// Splits into N equal parts along `axis`, as one node: `auto [i, f, g, o] = split<4>(gates, 1);`
template <std::size_t N>
Owned<std::array<Var, N>> split(const Var& x, Axis axis);

/// Parts of these sizes along `axis`, as one node: `split(x, {2, 3}, 1)`. At least one part; the
/// sizes, of which some may be 0, sum to the axis's.
Vars split(const Var& x, std::span<const std::size_t> sizes, Axis axis);
inline Vars split(const Var& x, std::initializer_list<std::size_t> sizes, Axis axis) {
  return split(x, std::span(sizes.begin(), sizes.size()), axis);
}

/// Pads what slice() leaves out with zeros: x at [begin, begin + x.size(axis)) along `axis` of
/// size `size`.
Var pad(const Var& x, Axis axis, std::size_t begin, std::size_t size);

namespace detail {
void split_equally(const Var& x, Axis axis, std::span<Var> parts);
}

template <std::size_t N>
Owned<std::array<Var, N>> split(const Var& x, Axis axis) {
  Owned<std::array<Var, N>> parts;
  detail::split_equally(x, axis, parts);
  return parts;
}

}  // namespace tapegrad
