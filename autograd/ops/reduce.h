#pragma once

#include <cstddef>

#include "../var.h"

/// Sums and means, and what undoes them. ShapeError for an axis that does not exist.
namespace tapegrad {

/// The sum of all elements: a scalar.
Var sum(const Var& x);
/// The sum over one axis, which disappears.
Var sum(const Var& x, std::size_t axis);
/// The mean; ShapeError if there is nothing to average.
Var mean(const Var& x);
Var mean(const Var& x, std::size_t axis);

/// The sum over leading axes until `shape`, a suffix of x's shape, is left.
Var sum_to(const Var& x, const Shape& shape);
/// x repeated along leading axes up to `shape`, of which x's shape is a suffix.
Var broadcast_to(const Var& x, const Shape& shape);
/// x repeated `size` times along a new axis, put before axis `axis`.
Var repeat(const Var& x, std::size_t axis, std::size_t size);

}  // namespace tapegrad
