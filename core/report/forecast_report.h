#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "../tensor.h"

/// Reports of what forecasts of a series are worth: beside forecasts that cost nothing, with
/// intervals, and with a warning where a forecast is the input, shifted.
namespace tapegrad {

/// A figure and its 95 % interval.
struct Estimate {
  double value, low, high;
};

struct ErrorSize {
  double rmse, mae;  // root mean squared error, mean absolute error, in the series' unit
};

/// Skill of forecasts, 1 - MSE / MSE of a baseline: 1 is perfect, 0 no better than the baseline.
///
/// The interval holds the values that a Diebold-Mariano test does not reject, whose long-run
/// variance is a mean of squared cosine coefficients: the interval stays honest where errors are
/// autocorrelated, as those of overlapping forecasts are, and where forecasts are few. If the
/// baseline's own error is not determined, the interval begins at -inf; it is (-inf, 1] if the
/// forecasts' is not, either, and ends at -inf where the baseline alone has no error at all.
///
/// Diebold and Mariano 1995; Lazarus, Lewis, Stock and Watson 2018 (the variance and its degrees of
/// freedom); Coroneo and Iacone 2020 (such tests of few forecasts); Fieller 1954 (intervals of
/// ratios).
struct Skill : Estimate {
  /// Returns true if the skill is beyond chance and rounding: the interval is above 0.001.
  bool is_shown() const { return low > 1e-3; }
};

/// Quality of prediction intervals [lower, upper] at one horizon.
struct IntervalScores {
  Estimate coverage;  // share of rows inside; Wilson's interval for forecasts that do not overlap
  double mean_width;
  double winkler;  // mean of width + 2 / (1 - level) times the distance outside: smaller is better
};

/// Scores of forecasts `steps` ahead; the first row forecast is one step ahead.
struct HorizonScores {
  std::size_t steps;
  ErrorSize forecast;
  ErrorSize persistence;              // the last value known, repeated
  std::optional<ErrorSize> seasonal;  // the last season known, repeated; if there is a season
  Skill over_persistence;
  std::optional<Skill> over_seasonal;

  /// Correlations of the forecasts with the series 0, 1, 2, ... rows before the rows forecast;
  /// empty if the forecasts are constant.
  std::vector<double> lag_correlations;
  /// Lag of the largest correlation, of equal ones the smallest; 0 unless the forecasts are closer
  /// in shape to the series that many rows before than to the rows forecast, beyond chance.
  std::size_t best_lag;
  bool late;      // best_lag > 0, and no skill over persistence is shown
  bool constant;  // the forecasts vary by less than 1 % of what the series does

  std::optional<IntervalScores> interval;
};

/// Residuals, series less forecast, one step ahead, in the order of the origins.
struct ResidualScores {
  Estimate mean;  // bias, if 0 is not in the interval, which is made as that of Skill
  double deviation;
  std::size_t largest_row;              // of the series
  double largest;                       // there
  std::vector<double> autocorrelation;  // at lags 1 to min(24, n / 4), in forecasts
  double ljung_box, p_value;            // over these lags (Ljung and Box 1978)
};

struct ForecastReportOptions {
  std::size_t season = 0;  // rows of a season; 0: none
  std::string name = "series", unit = "";
  Tensor lower = {}, upper = {};          // (n, H) prediction interval; both or neither
  double level = 0.9;                     // that the interval promises, in (0, 1)
  std::vector<std::string> leakage = {};  // warnings, a line each, printed first
};

/// An honest account of n forecasts, each of H rows of a series, as figures, text and picture.
///
///     const ForecastReport report(series, origin, forecasts, {.season = 12, .name = "sunspots"});
///     std::cout << report.text();
///     write_file_atomically("report.html", report.html());
class ForecastReport {
 public:
  /// Computes the scores of `forecasts` (n, H) of `series` (N), both in original units and of any
  /// dtype: forecasts[k, h] is of row origins[k] + h, made from the rows before origins[k].
  /// `origins` increase, and before the first there is a row, and a season. At least 8 forecasts.
  ///
  /// Throws ShapeError for shapes that do not fit, NonFiniteError for a number that is not finite,
  /// UsageError for origins, options or intervals that cannot be.
  ForecastReport(const Tensor& series, std::vector<std::size_t> origins, const Tensor& forecasts,
                 const ForecastReportOptions& options = {});
  /// Computes the scores of forecasts from each row `first_origin`, first_origin + 1, ... on.
  ForecastReport(const Tensor& series, std::size_t first_origin, const Tensor& forecasts,
                 const ForecastReportOptions& options = {});

  /// Returns the scores of 1, 2, ... H steps.
  const std::vector<HorizonScores>& horizons() const { return horizons_; }
  const ResidualScores& residuals() const { return residuals_; }

  /// Returns the report in plain English, about 40 lines of at most 100 columns.
  std::string text() const;
  /// Returns a picture: the end of the series with its forecasts, errors by horizon,
  /// autocorrelation of residuals, and correlations by lag.
  std::string svg() const;
  /// Returns a page with the text and the picture in it, which needs no other file.
  std::string html() const;

 private:
  Tensor series_, forecasts_;  // float64, of our own, as those of the options
  std::vector<std::size_t> origins_;
  ForecastReportOptions options_;
  std::vector<HorizonScores> horizons_;
  ResidualScores residuals_;
};

}  // namespace tapegrad
