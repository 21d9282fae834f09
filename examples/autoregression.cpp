#include "autoregression.h"

#include <cmath>
#include <string>

namespace examples {
namespace {

/// Solves A w = b for a symmetric, positive definite A (n, n), by Cholesky's method.
std::vector<double> solve(std::vector<double> a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      for (std::size_t k = 0; k < j; ++k) a[i * n + j] -= a[i * n + k] * a[j * n + k];
      a[i * n + j] /= i == j ? std::sqrt(a[j * n + j]) : a[j * n + j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return b;
}

}  // namespace

Autoregression::Autoregression(std::span<const double> series, const tapegrad::Rows& rows,
                               std::size_t order) {
  if (rows.size() <= 2 * order + 1) {
    throw tapegrad::UsageError("[Autoregression] order " + std::to_string(order) + " takes " +
                               std::to_string(2 * order + 2) + " rows, but there are " +
                               std::to_string(rows.size()));
  }
  double mean = 0;  // is taken off, or the products would lose digits
  for (std::size_t t = rows.begin; t < rows.end; ++t) mean += series[t];
  mean /= static_cast<double>(rows.size());
  const std::size_t n = order + 1;
  std::vector<double> a(n * n), b(n), x(n);
  for (std::size_t t = rows.begin + order; t < rows.end; ++t) {
    x[0] = 1;
    for (std::size_t k = 1; k < n; ++k) x[k] = series[t - k] - mean;
    for (std::size_t i = 0; i < n; ++i) {
      b[i] += x[i] * (series[t] - mean);
      for (std::size_t j = 0; j < n; ++j) a[i * n + j] += x[i] * x[j];
    }
  }
  // A trace of ridge, far below what least squares can tell, for series that repeat themselves.
  for (std::size_t i = 0; i < n; ++i) a[i * n + i] *= 1 + 1e-10;
  weights_ = solve(std::move(a), std::move(b));
  double sum = 0;
  for (std::size_t k = 1; k < n; ++k) sum += weights_[k];
  weights_[0] += mean * (1 - sum);
}

std::vector<double> Autoregression::forecast(std::span<const double> series, std::size_t origin,
                                             std::size_t horizon) const {
  std::vector<double> values(series.begin() + static_cast<std::ptrdiff_t>(origin - order()),
                             series.begin() + static_cast<std::ptrdiff_t>(origin));
  for (std::size_t h = 0; h < horizon; ++h) {
    double next = weights_[0];
    for (std::size_t k = 1; k < weights_.size(); ++k)
      next += weights_[k] * values[values.size() - k];
    values.push_back(next);
  }
  return {values.end() - static_cast<std::ptrdiff_t>(horizon), values.end()};
}

std::vector<double> rmse_by_step(const Autoregression& model, std::span<const double> series,
                                 const tapegrad::Rows& part, std::size_t horizon) {
  std::vector<double> errors(horizon);
  double count = 0;
  for (std::size_t origin = part.begin; origin + horizon <= part.end; ++origin, ++count) {
    const std::vector<double> f = model.forecast(series, origin, horizon);
    for (std::size_t h = 0; h < horizon; ++h) errors[h] += std::pow(f[h] - series[origin + h], 2);
  }
  for (double& e : errors) e = std::sqrt(e / count);
  return errors;
}

}  // namespace examples
