#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "statistics-inl.h"

namespace tapegrad::statistics {
namespace {

/// The x >= 0 at which an increasing function reaches p.
template <class Function>
double where(Function increasing, double p) {
  double low = 0, high = 1;
  while (increasing(high) < p) high *= 2;
  for (double middle = 0.5; middle > low && middle < high; middle = low + (high - low) / 2)
    (increasing(middle) < p ? low : high) = middle;
  return high;
}

/// P(T <= t), t >= 0: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
double student_below(double t, std::size_t freedom) {
  const double angle = std::atan(t / std::sqrt(static_cast<double>(freedom)));
  const double cosine = std::cos(angle), sine = std::sin(angle);
  const std::size_t odd = freedom % 2;
  double term = odd == 1 ? cosine : 1, sum = 0;
  for (std::size_t k = odd; k + 1 < freedom; k += 2) {
    sum += term;
    term *= cosine * cosine * static_cast<double>(k + 1) / static_cast<double>(k + 2);
  }
  const double inside = odd == 1 ? 2 / std::numbers::pi * (angle + sine * sum) : sine * sum;
  return (1 + inside) / 2;
}

double dot(std::span<const double> x, std::span<const double> y) {
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

/// Distances from the mean.
std::vector<double> centred(std::span<const double> x) {
  const double middle = mean(x);
  std::vector<double> distances(x.size());
  std::ranges::transform(x, distances.begin(), [&](double v) { return v - middle; });
  return distances;
}

}  // namespace

double normal_quantile(double p) {
  return where([](double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }, p);
}

double student_quantile(double p, std::size_t freedom) {
  return where([&](double t) { return student_below(t, freedom); }, p);
}

double chi_squared_above(double x, std::size_t freedom) {
  // Q(a + 1, y) = Q(a, y) + y^a e^-y / Gamma(a + 1), from a = 1/2 or 1 on.
  const double y = x / 2;
  double a = freedom % 2 == 1 ? 0.5 : 1;
  double q = freedom % 2 == 1 ? std::erfc(std::sqrt(y)) : std::exp(-y);
  for (; 2 * a < static_cast<double>(freedom); a += 1)
    q += std::exp(a * std::log(y) - y - std::lgamma(a + 1));
  return q;
}

double mean(std::span<const double> x) {
  // Distances from the first are summed, so that equal numbers have this mean exactly.
  double sum = 0;
  for (const double v : x) sum += v - x[0];
  return x[0] + sum / static_cast<double>(x.size());
}

double deviation(std::span<const double> x) {
  const std::vector<double> d = centred(x);
  return std::sqrt(dot(d, d) / static_cast<double>(x.size()));
}

double correlation(std::span<const double> x, std::span<const double> y) {
  const std::vector<double> a = centred(x), b = centred(y);
  const double scale = std::sqrt(dot(a, a)) * std::sqrt(dot(b, b));
  return scale > 0 ? std::clamp(dot(a, b) / scale, -1.0, 1.0) : 0;
}

std::vector<double> autocorrelation(std::span<const double> x, std::size_t lags) {
  const std::vector<double> d = centred(x);
  const std::span<const double> all = d;
  const double whole = dot(d, d);
  std::vector<double> r(lags);
  for (std::size_t k = 1; k <= lags; ++k)
    r[k - 1] = whole > 0 ? dot(all.subspan(k), all.first(d.size() - k)) / whole : 0;
  return r;
}

double ljung_box(std::span<const double> autocorrelation, std::size_t n) {
  const auto count = static_cast<double>(n);
  double sum = 0, left = count;
  for (const double r : autocorrelation) sum += r * r / --left;
  return count * (count + 2) * sum;
}

Estimate share(double value, double n) {
  const double z = normal_quantile(0.975), z2 = z * z / n;
  const double middle = (value + z2 / 2) / (1 + z2);
  const double half = z / (1 + z2) * std::sqrt(value * (1 - value) / n + z2 / (4 * n));
  return {value, std::max(middle - half, 0.0), std::min(middle + half, 1.0)};
}

LongRunMeans::LongRunMeans(std::size_t n, std::size_t overlap)
    : n_(n),
      freedom_(std::clamp<std::size_t>(
          static_cast<std::size_t>(0.4 *
                                   std::cbrt(static_cast<double>(n) * static_cast<double>(n))),
          1, std::clamp<std::size_t>(n / overlap, 1, 64))),
      quantile_(student_quantile(0.975, freedom_)),
      cosines_(4 * n) {
  for (std::size_t i = 0; i < cosines_.size(); ++i)
    cosines_[i] =
        std::cos(std::numbers::pi * static_cast<double>(i) / (2 * static_cast<double>(n)));
}

std::vector<double> LongRunMeans::coefficients(std::span<const double> x) const {
  const double scale = std::sqrt(2.0 / static_cast<double>(freedom_)) / static_cast<double>(n_);
  std::vector<double> L(freedom_);
  for (std::size_t j = 1; j <= freedom_; ++j) {
    for (std::size_t k = 0; k < n_; ++k) L[j - 1] += x[k] * cosines_[j * (2 * k + 1) % (4 * n_)];
    L[j - 1] *= scale;
  }
  return L;
}

Estimate LongRunMeans::mean(std::span<const double> x) const {
  const std::vector<double> L = coefficients(x);
  const double value = statistics::mean(x), half = quantile_ * std::sqrt(dot(L, L));
  return {value, value - half, value + half};
}

Skill LongRunMeans::gain(std::span<const double> x, std::span<const double> y) const {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const double mx = statistics::mean(x), my = statistics::mean(y);
  const double value = mx == my ? 0 : 1 - mx / my;
  const double scale = std::max(mx, my);  // so that no unit is too small or too large for a square
  if (scale == 0) return {{0, 0, 0}};
  const auto scaled = [&](std::span<const double> z) {
    std::vector<double> L = coefficients(z);
    for (double& v : L) v *= quantile_ / scale;
    return L;
  };
  // The ratios r >= 0 with (mx - r my)^2 <= t^2 Var(mx - r my):  a r^2 - 2 b r + c <= 0.
  const std::vector<double> X = scaled(x), Y = scaled(y);
  const double p = mx / scale, q = my / scale;
  const double a = q * q - dot(Y, Y), b = p * q - dot(X, Y), c = p * p - dot(X, X);
  const double half = std::sqrt(std::max(b * b - a * c, 0.0));
  if (a <= 0) return {{value, -inf, c > 0 ? 1 - c / (b + half) : 1}};
  return {{value, 1 - (b + half) / a, std::min(1 - (b - half) / a, 1.0)}};
}

}  // namespace tapegrad::statistics
