#pragma once

#include <cstdint>

#include "../tensor.h"

namespace tapegrad::kernels {

/// Returns the inverted dropout mask (Srivastava et al. 2014): 0 with probability p, else 1 / (1 -
/// p). The shape is read as (t, row, column): the last axis is the column, the one before it the
/// row, the rest t. p in [0, 1); float32 or float64.
Tensor dropout_mask(const Shape& shape, double p, std::uint64_t key, DType dtype);

}  // namespace tapegrad::kernels
