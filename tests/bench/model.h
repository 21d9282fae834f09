#pragma once

#include <tapegrad/tapegrad.h>

#include <cmath>

#include "bench.h"

namespace bench {

inline tapegrad::DType dtype(const Options& o) {
  return o.float64 ? tapegrad::DType::float64 : tapegrad::DType::float32;
}

/// Tensor `n` of a benchmark, in [-scale, scale).
inline tapegrad::Tensor numbers(const Options& o, std::uint32_t n, const tapegrad::Shape& shape,
                                double scale) {
  return tapegrad::Tensor::from(shape, numbers(n, shape.numel(), scale)).to(dtype(o));
}

/// Gives all parameters the numbers that a peer gives them, in +-1/sqrt(H), times --scale.
inline void set_parameters(const Options& o, const Cell& c,
                           const tapegrad::Parameters& parameters) {
  const double scale = (o.scale == 0 ? 1 : o.scale) / std::sqrt(static_cast<double>(c.hidden));
  std::uint32_t n = first_parameter;
  for (const tapegrad::NamedParameter& p : parameters) {
    p.set_value(numbers(o, n++, p.value().shape(), scale));
  }
}

}  // namespace bench
