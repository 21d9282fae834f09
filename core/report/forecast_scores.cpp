#include <algorithm>
#include <cmath>
#include <functional>

#include "forecast_scores-inl.h"
#include "statistics-inl.h"

namespace tapegrad {
namespace {

constexpr double least_spread = 1e-2;  // of constant forecasts, in deviations of the series
constexpr double equal_shapes = 1e-9;  // correlations that differ by less are of exact copies

using Column = std::vector<double>;

double square(double x) { return x * x; }

Column difference(const Column& x, const Column& y) {
  Column d(x.size());
  std::ranges::transform(x, y, d.begin(), std::minus<>());
  return d;
}

Column squares(const Column& x) {
  Column y(x.size());
  std::ranges::transform(x, y.begin(), square);
  return y;
}

Column magnitudes(const Column& x) {
  Column y(x.size());
  std::ranges::transform(x, y.begin(), [](double v) { return std::abs(v); });
  return y;
}

ErrorSize size_of_errors(const Column& errors) {
  return {std::sqrt(statistics::mean(squares(errors))), statistics::mean(magnitudes(errors))};
}

/// Returns the largest number of origins within `rows` rows.
std::size_t overlap(std::span<const std::size_t> origins, std::size_t rows) {
  std::size_t most = 1;
  for (std::size_t first = 0, last = 0; last < origins.size(); ++last) {
    while (origins[last] - origins[first] >= rows) ++first;
    most = std::max(most, last - first + 1);
  }
  return most;
}

/// Returns the squared residuals of x about its regression on y, of which neither is constant:
/// their mean is Var(x) (1 - correlation^2).
Column unexplained(const Column& x, const Column& y) {
  const double slope =
      statistics::correlation(x, y) * statistics::deviation(x) / statistics::deviation(y);
  const double x_mean = statistics::mean(x), y_mean = statistics::mean(y);
  Column left(x.size());
  std::ranges::transform(x, y, left.begin(), [&](double a, double b) {
    return square(a - x_mean - slope * (b - y_mean));
  });
  return left;
}

/// Fills in what the forecasts look like: the series itself, or the series some rows before.
///
/// To compare correlations alone would not do: those of a smooth series are all near 1. What a
/// regression on the series leaves unexplained is compared forecast by forecast, where what both
/// lags have in common cancels.
void compare_lags(const scores::Forecasts& f, std::size_t h, const Column& forecast,
                  const Column& truth, const statistics::LongRunMeans& means,
                  HorizonScores& scores) {
  scores.constant = statistics::deviation(forecast) <= least_spread * statistics::deviation(truth);
  if (scores.constant) return;
  const std::size_t most = std::min(f.origins[0], std::max({f.steps(), f.season, std::size_t{10}}));
  std::vector<double>& r = scores.lag_correlations;
  for (std::size_t lag = 0; lag <= most; ++lag)
    r.push_back(statistics::correlation(forecast, f.truth(h, lag)));
  const double best = *std::ranges::max_element(r);
  const auto found = std::ranges::find_if(r, [&](double v) { return v >= best - equal_shapes; });
  const auto lag = static_cast<std::size_t>(found - r.begin());
  if (lag == 0 || best <= 0 || statistics::deviation(truth) == 0) return;
  const Column shifted = unexplained(forecast, f.truth(h, lag));
  if (!means.gain(shifted, unexplained(forecast, truth)).is_shown()) return;
  scores.best_lag = lag;
  scores.late = !scores.over_persistence.is_shown();
}

IntervalScores interval_scores(const scores::Forecasts& f, std::size_t h, const Column& truth) {
  const Column lower = f.column(f.lower, h), upper = f.column(f.upper, h);
  const double outside = 2 / (1 - f.level);
  double inside = 0, width = 0, winkler = 0;
  for (std::size_t k = 0; k < truth.size(); ++k) {
    const double below = std::max(lower[k] - truth[k], 0.0);
    const double above = std::max(truth[k] - upper[k], 0.0);
    if (below == 0 && above == 0) ++inside;
    width += upper[k] - lower[k];
    winkler += upper[k] - lower[k] + outside * (below + above);
  }
  const auto n = static_cast<double>(truth.size());
  const double apart = n / static_cast<double>(overlap(f.origins, h + 1));
  return {statistics::share(inside / n, apart), width / n, winkler / n};
}

}  // namespace

namespace scores {

std::vector<double> Forecasts::column(std::span<const double> table, std::size_t h) const {
  std::vector<double> values_of_h(origins.size());
  for (std::size_t k = 0; k < origins.size(); ++k) values_of_h[k] = table[k * steps() + h];
  return values_of_h;
}

std::vector<double> Forecasts::truth(std::size_t h, std::size_t back) const {
  std::vector<double> rows(origins.size());
  std::ranges::transform(origins, rows.begin(),
                         [&](std::size_t o) { return series[o + h - back]; });
  return rows;
}

HorizonScores horizon(const Forecasts& f, std::size_t h) {
  const Column truth = f.truth(h), forecast = f.column(f.values, h);
  const Column errors = difference(truth, forecast), squared = squares(errors);
  const statistics::LongRunMeans means(f.origins.size(), overlap(f.origins, h + 1));
  const Column persistence = difference(truth, f.truth(h, h + 1));
  HorizonScores scores{.steps = h + 1,
                       .forecast = size_of_errors(errors),
                       .persistence = size_of_errors(persistence),
                       .seasonal = {},
                       .over_persistence = means.gain(squared, squares(persistence)),
                       .over_seasonal = {},
                       .lag_correlations = {},
                       .best_lag = 0,
                       .late = false,
                       .constant = false,
                       .interval = {}};
  if (f.season > 0) {
    const std::size_t back = f.season * (h / f.season + 1);
    const Column seasonal = difference(truth, f.truth(h, back));
    scores.seasonal = size_of_errors(seasonal);
    scores.over_seasonal = means.gain(squared, squares(seasonal));
  }
  compare_lags(f, h, forecast, truth, means, scores);
  if (!f.lower.empty()) scores.interval = interval_scores(f, h, truth);
  return scores;
}

ResidualScores residuals(const Forecasts& f) {
  const std::size_t n = f.origins.size();
  const Column errors = difference(f.truth(0), f.column(f.values, 0));
  const auto largest = std::ranges::max_element(errors, {}, [](double e) { return std::abs(e); });
  ResidualScores scores{
      .mean = statistics::LongRunMeans(n, 1).mean(errors),
      .deviation = statistics::deviation(errors),
      .largest_row = f.origins[static_cast<std::size_t>(largest - errors.begin())],
      .largest = *largest,
      .autocorrelation = statistics::autocorrelation(errors, std::min<std::size_t>(24, n / 4)),
      .ljung_box = 0,
      .p_value = 0};
  scores.ljung_box = statistics::ljung_box(scores.autocorrelation, n);
  scores.p_value = statistics::chi_squared_above(scores.ljung_box, scores.autocorrelation.size());
  return scores;
}

}  // namespace scores
}  // namespace tapegrad
