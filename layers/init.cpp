#include "init.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "../core/check-inl.h"

namespace tapegrad::init {

Tensor uniform(const Shape& shape, double bound, Rng& rng, DType dtype) {
  return rng.uniform(shape, -bound, bound, dtype);
}

Tensor normal(const Shape& shape, double deviation, Rng& rng, DType dtype) {
  return rng.normal(shape, 0, deviation, dtype);
}

Tensor xavier_uniform(const Shape& shape, Rng& rng, DType dtype) {
  if (shape.rank() != 2)
    check::wrong_shape("xavier_uniform", "the weight", shape, "a matrix (out, in)");
  return uniform(shape, std::sqrt(6.0 / static_cast<double>(shape[0] + shape[1])), rng, dtype);
}

Tensor orthogonal(const Shape& shape, Rng& rng, DType dtype) {
  if (shape.rank() != 2)
    check::wrong_shape("orthogonal", "the weight", shape, "a matrix (out, in)");
  const std::size_t count = std::min(shape[0], shape[1]);
  const std::size_t length = std::max(shape[0], shape[1]);
  // Gram and Schmidt on normal vectors, each made orthogonal twice, which is enough in floating
  // point (Giraud et al. 2005): the result is uniform over rotations.
  std::vector<std::vector<double>> basis;
  while (basis.size() < count) {
    std::vector<double> v(length);
    for (double& e : v) e = rng.normal();
    for (int twice = 0; twice < 2; ++twice) {
      for (const std::vector<double>& u : basis) {
        const double along = std::inner_product(u.begin(), u.end(), v.begin(), 0.0);
        for (std::size_t k = 0; k < length; ++k) v[k] -= along * u[k];
      }
    }
    const double norm = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
    for (double& e : v) e /= norm;
    basis.push_back(std::move(v));
  }
  std::vector<double> values(shape.numel());
  for (std::size_t row = 0; row < shape[0]; ++row) {
    for (std::size_t column = 0; column < shape[1]; ++column) {
      values[row * shape[1] + column] =
          shape[0] <= shape[1] ? basis[row][column] : basis[column][row];
    }
  }
  return Tensor::from<double>(shape, values).to(dtype);
}

}  // namespace tapegrad::init
