#pragma once

#include <cstddef>

#include "../../core/tensor.h"

namespace tapegrad::testing {

/// Returns the numbers that the scripts for torch compute too: multiples of 2^-11, so both sides
/// have the same bits.
inline Tensor filled(const Shape& shape, std::size_t seed, double scale = 1, double shift = 0) {
  Tensor t = Tensor::empty(shape, DType::float64);
  for (std::size_t i = 0; double& v : t.mutable_values<double>()) {
    v = (static_cast<double>((i++ * 1103 + seed * 677) % 2003) - 1001) / 2048 * scale + shift;
  }
  return t;
}

}  // namespace tapegrad::testing
