#pragma once

#include "../core/rng.h"

/// Initial values of weights, drawn from an Rng in row-major order. A matrix is (out, in).
namespace tapegrad::init {

/// Draws uniformly from [-bound, bound).
Tensor uniform(const Shape& shape, double bound, Rng& rng, DType dtype = DType::float32);
/// Draws from a normal distribution of mean 0.
Tensor normal(const Shape& shape, double deviation, Rng& rng, DType dtype = DType::float32);
/// Draws uniformly with bound sqrt(6 / (in + out)) (Glorot and Bengio 2010, eq. 16). Throws
/// ShapeError unless rank is 2.
Tensor xavier_uniform(const Shape& shape, Rng& rng, DType dtype = DType::float32);
/// Rows (or, if there are more rows than columns, columns) orthonormal: a random rotation (Saxe et
/// al. 2014). Throws ShapeError unless rank is 2.
Tensor orthogonal(const Shape& shape, Rng& rng, DType dtype = DType::float32);

}  // namespace tapegrad::init
