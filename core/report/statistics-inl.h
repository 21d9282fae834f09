#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "forecast_report.h"

#pragma GCC visibility push(hidden)

/// Statistics of short, autocorrelated series.
namespace tapegrad::statistics {

/// x with P(X <= x) = p, p in [0.5, 1], for X of the standard normal distribution.
double normal_quantile(double p);
/// t with P(T <= t) = p, for T of Student's distribution with `freedom` >= 1 degrees of freedom.
double student_quantile(double p, std::size_t freedom);
/// P(X > x) for X of the chi-squared distribution.
double chi_squared_above(double x, std::size_t freedom);

double mean(std::span<const double> x);
/// Root of the mean squared distance from the mean.
double deviation(std::span<const double> x);
/// Pearson's; 0 if x or y is constant.
double correlation(std::span<const double> x, std::span<const double> y);
/// At lags 1 to `lags`, over the variance of all of x; zeros if x is constant.
std::vector<double> autocorrelation(std::span<const double> x, std::size_t lags);
/// n (n + 2) sum_k r_k^2 / (n - k), r_k at lag k = 1, 2, ...
double ljung_box(std::span<const double> autocorrelation, std::size_t n);
/// Share and Wilson's 95 % interval; `n` may be less than there were, if they were not independent.
Estimate share(double value, double n);

/// Means and ratios of means of series of n numbers, with 95 % intervals that allow for
/// autocorrelation. The long-run variance of sqrt(n) mean(x) is the mean of L_j^2, j = 1 to
/// `freedom`,
///
///   L_j = sqrt(2 / n) sum_k x_k cos(pi j (k + 1/2) / n),   freedom = 0.4 n^(2/3)
///
/// and (mean(x) - mu) / its standard error is Student's t with that many degrees of freedom
/// (Lazarus, Lewis, Stock and Watson 2018). There are no more of them than n / overlap, the number
/// of forecasts that have no row in common, and no more than 64: those add time, not certainty.
class LongRunMeans {
 public:
  LongRunMeans(std::size_t n, std::size_t overlap);

  std::size_t freedom() const { return freedom_; }
  Estimate mean(std::span<const double> x) const;
  /// 1 - mean(x) / mean(y), of x, y >= 0. Its interval holds each s for which a t test does not
  /// reject mean(x - (1 - s) y) = 0; if mean(y) itself is not known to be above 0, it begins at
  /// -inf, and ends at 1 unless mean(x) is known to be. If x and y are 0 throughout, it is [0, 0].
  Skill gain(std::span<const double> x, std::span<const double> y) const;

 private:
  /// L_j / sqrt(n freedom), so that their squares sum to the variance of the mean.
  std::vector<double> coefficients(std::span<const double> x) const;

  std::size_t n_, freedom_;
  double quantile_;              // of Student's t, 0.975
  std::vector<double> cosines_;  // cos(pi i / 2n), of a whole turn
};

}  // namespace tapegrad::statistics

#pragma GCC visibility pop
