#include "layer_norm.h"

#include <algorithm>
#include <cmath>

#include "../dispatch-inl.h"
#include "parallel-inl.h"

namespace tapegrad::kernels {
namespace {

/// As float64, so that loops over a row need no second form for what is undefined.
Tensor doubles_or(const Tensor& x, std::size_t size, double otherwise) {
  return x.defined() ? x.to(DType::float64) : Tensor::full({size}, otherwise, DType::float64);
}

/// Two passes. Distances from the first element are summed, not elements: what is far from 0 loses
/// nothing, and equal elements have exactly their value as mean, and variance 0. Of scale * x.
struct Moments {
  double mean, variance;
};
template <class T>
Moments moments(const T* x, std::size_t n, double scale = 1) {
  const auto count = static_cast<double>(n);
  const double first = scale * static_cast<double>(x[0]);
  const auto distances = [=](double v) { return scale * v - first; };
  const double mean = first + lane_sum<double>(x, n, distances) / count;
  const auto squares = [=](double v) { return (scale * v - mean) * (scale * v - mean); };
  return {mean, lane_sum<double>(x, n, squares) / count};
}

/// mean and 1 / sqrt(variance + epsilon) of a row. Of float64, squares may overflow: the row is then
/// scaled down first.
struct Row {
  double mean, inverse;
};
template <class T>
Row row_of(const T* x, std::size_t n, double epsilon) {
  const Moments m = moments(x, n);
  if (std::isfinite(m.variance)) return {m.mean, 1 / std::sqrt(m.variance + epsilon)};
  constexpr double scale = 0x1p-600;
  const Moments scaled = moments(x, n, scale);
  return {scaled.mean / scale, scale / std::sqrt(scaled.variance + epsilon * scale * scale)};
}

/// One row of the backward, with normal = (x - mean) inverse and d = dy gamma:
/// dx = inverse (d - mean of d - normal * mean of (d normal)).
template <class T>
void row_gradient(const T* dy, const double* gamma, const double* normal, std::size_t n,
                  double inverse, T* dx) {
  const auto count = static_cast<double>(n);
  const auto d = [=](std::size_t j) { return static_cast<double>(dy[j]) * gamma[j]; };
  const double mean = lane_sum_of<double>(n, d) / count;
  const double along =
      lane_sum_of<double>(n, [=](std::size_t j) { return d(j) * normal[j]; }) / count;
  for (std::size_t j = 0; j < n; ++j) {
    dx[j] = static_cast<T>(inverse * (d(j) - mean - normal[j] * along));
  }
}

/// Adds a row to dgamma = sum of dy normal and dbeta = sum of dy.
template <class T>
void add_row(const T* dy, const double* normal, std::size_t n, double* dgamma, double* dbeta) {
  for (std::size_t j = 0; j < n; ++j) {
    const auto d = static_cast<double>(dy[j]);
    dgamma[j] += d * normal[j];
    dbeta[j] += d;
  }
}

/// parts (blocks, 2, n) -> row `which` of all blocks, added one after the other.
Tensor sum_of_parts(const Tensor& parts, std::size_t which, DType dtype) {
  const std::size_t n = parts.size(2);
  Tensor total = Tensor::zeros({n}, DType::float64);
  const double* part = parts.data<double>();
  double* to = total.mutable_data<double>();
  for (std::size_t block = 0; block < parts.size(0); ++block) {
    const double* row = part + (block * 2 + which) * n;
    for (std::size_t j = 0; j < n; ++j) to[j] += row[j];
  }
  return total.to(dtype);
}

}  // namespace

LayerNorm layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double epsilon) {
  const std::size_t n = x.size(x.rank() - 1);
  const Shape rows = x.shape().without(x.rank() - 1);
  LayerNorm result{Tensor::empty(x.shape(), x.dtype()), Tensor::empty(rows, DType::float64),
                   Tensor::empty(rows, DType::float64)};
  const Tensor scale = doubles_or(gamma, n, 1), shift = doubles_or(beta, n, 0);
  double* const means = result.mean.mutable_data<double>();
  double* const inverses = result.inverse.mutable_data<double>();
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.y.mutable_data<T>();
    const double *g = scale.data<double>(), *b = shift.data<double>();
    for_blocks(rows.numel(), rows_per_block(n, costly_block),
               [=](std::size_t begin, std::size_t end) {
                 for (std::size_t row = begin; row < end; ++row) {
                   const auto [mean, inverse] = row_of(from + row * n, n, epsilon);
                   for (std::size_t j = 0; j < n; ++j) {
                     const auto v = static_cast<double>(from[row * n + j]);
                     to[row * n + j] = static_cast<T>((v - mean) * inverse * g[j] + b[j]);
                   }
                   means[row] = mean;
                   inverses[row] = inverse;
                 }
               });
  });
  return result;
}

LayerNormGradients layer_norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& mean,
                                       const Tensor& inverse, const Tensor& dy,
                                       LayerNormWanted wanted) {
  const std::size_t n = x.size(x.rank() - 1);
  const std::size_t rows = mean.numel();
  // Enough rows that the sums of a block are small beside the block.
  const std::size_t block = std::max<std::size_t>(32, rows_per_block(n, costly_block));
  const Tensor scale = doubles_or(gamma, n, 1);
  Tensor parts, normals = Tensor::empty({(rows + block - 1) / block, n}, DType::float64);
  LayerNormGradients result;
  if (wanted.x) result.x = Tensor::empty(x.shape(), x.dtype());
  if (wanted.parameters) parts = Tensor::zeros({normals.size(0), 2, n}, DType::float64);
  double* const normal_rows = normals.mutable_data<double>();
  double* const sums = wanted.parameters ? parts.mutable_data<double>() : nullptr;
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T *from = x.data<T>(), *d = dy.data<T>();
    T* dx = wanted.x ? result.x.mutable_data<T>() : nullptr;
    const double *g = scale.data<double>(), *means = mean.data<double>(),
                 *inverses = inverse.data<double>();
    for_blocks(rows, block, [=](std::size_t begin, std::size_t end) {
      double* const normal = normal_rows + begin / block * n;
      double* const dgamma = sums != nullptr ? sums + begin / block * 2 * n : nullptr;
      for (std::size_t row = begin; row < end; ++row) {
        for (std::size_t j = 0; j < n; ++j) {
          normal[j] = (static_cast<double>(from[row * n + j]) - means[row]) * inverses[row];
        }
        if (dx != nullptr) row_gradient(d + row * n, g, normal, n, inverses[row], dx + row * n);
        if (dgamma != nullptr) add_row(d + row * n, normal, n, dgamma, dgamma + n);
      }
    });
  });
  if (wanted.parameters) {
    result.gamma = sum_of_parts(parts, 0, x.dtype());
    result.beta = sum_of_parts(parts, 1, x.dtype());
  }
  return result;
}

}  // namespace tapegrad::kernels
