#include "forecast_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <utility>

#include "../check-inl.h"
#include "../fail-inl.h"
#include "forecast_scores-inl.h"

namespace tapegrad {
namespace {

constexpr const char* name = "ForecastReport";
constexpr std::size_t fewest = 8;  // forecasts: of fewer no figure is worth its interval

/// Returns the values in float64, in memory of their own: a report is read later.
Tensor own(const Tensor& values) { return values.to(DType::float64).clone(); }

void check_shapes(const Tensor& series, const Tensor& forecasts,
                  const ForecastReportOptions& options) {
  check::defined(name, {{"series", series}, {"forecasts", forecasts}});
  if (series.rank() != 1)
    check::wrong_shape(name, "series", series.shape(), "(N), one value a row");
  if (forecasts.rank() != 2 || forecasts.size(1) == 0)
    check::wrong_shape(name, "forecasts", forecasts.shape(),
                       "(n, H), H >= 1 rows of each forecast");
  if (options.lower.defined() != options.upper.defined()) {
    fail<UsageError>(name, "there is only one bound of the prediction interval: give {} too",
                     options.lower.defined() ? "upper" : "lower");
  }
  if (!options.lower.defined()) return;
  check::equal_shapes(name, "lower", options.lower.shape(), "forecasts", forecasts.shape());
  check::equal_shapes(name, "upper", options.upper.shape(), "forecasts", forecasts.shape());
  if (!(options.level > 0 && options.level < 1))
    fail<UsageError>(name, "level is {}: it must be between 0 and 1, as 0.9", options.level);
}

void check_origins(const std::vector<std::size_t>& origins, std::size_t rows, std::size_t n,
                   std::size_t steps, std::size_t season) {
  if (origins.size() != n) {
    fail<UsageError>(name, "there are {} origins but forecasts has {} rows: one origin a row",
                     origins.size(), n);
  }
  if (n < fewest) {
    fail<UsageError>(name, "there are {} forecasts: at least {} are needed to say anything", n,
                     fewest);
  }
  for (std::size_t k = 1; k < n; ++k) {
    if (origins[k] <= origins[k - 1]) {
      fail<UsageError>(name, "origin {} is {} after {}: origins must increase", k, origins[k],
                       origins[k - 1]);
    }
  }
  if (origins[0] == 0) {
    fail<UsageError>(name,
                     "the first origin is 0: a row must be known before it; give the series "
                     "from its beginning on, not from the first forecast");
  }
  if (origins[0] < season) {
    fail<UsageError>(name,
                     "season is {} but before the first origin there are {} rows: there must "
                     "be a whole season; begin later, or leave season out",
                     season, origins[0]);
  }
  if (steps > rows) {
    fail<UsageError>(name,
                     "forecasts has {} steps but the series has {} rows: it must have the rows "
                     "that are forecast",
                     steps, rows);
  }
  if (origins.back() > rows - steps) {
    fail<UsageError>(name,
                     "origin {} is {}, and {} steps from there end behind the last of the {} "
                     "rows: what is forecast must be known; leave such forecasts out",
                     n - 1, origins.back(), steps, rows);
  }
}

void check_finite(std::string_view what, const Tensor& values) {
  const auto numbers = values.values<double>();
  const auto bad = std::ranges::find_if(numbers, [](double v) { return !std::isfinite(v); });
  if (bad == numbers.end()) return;
  const auto index = static_cast<std::size_t>(bad - numbers.begin());
  if (values.rank() == 1) {
    fail<NonFiniteError>(name, "{}[{}] is {}: every value must be finite; fill or cut gaps first",
                         what, index, *bad);
  }
  fail<NonFiniteError>(name, "{}[{}, {}] is {}: every value must be finite", what,
                       index / values.size(1), index % values.size(1), *bad);
}

void check_order(const Tensor& lower, const Tensor& upper) {
  for (std::size_t i = 0; i < lower.numel(); ++i) {
    if (lower.at(i) > upper.at(i)) {
      fail<UsageError>(name,
                       "lower[{0}, {1}] is {2}, above upper[{0}, {1}], {3}: exchange them; "
                       "quantile_interval() does so where quantiles cross",
                       i / lower.size(1), i % lower.size(1), lower.at(i), upper.at(i));
    }
  }
}

std::vector<std::size_t> consecutive(std::size_t first, const Tensor& forecasts) {
  std::vector<std::size_t> origins(forecasts.defined() && forecasts.rank() > 0 ? forecasts.size(0)
                                                                               : 0);
  std::iota(origins.begin(), origins.end(), first);
  return origins;
}

}  // namespace

ForecastReport::ForecastReport(const Tensor& series, std::size_t first_origin,
                               const Tensor& forecasts, const ForecastReportOptions& options)
    : ForecastReport(series, consecutive(first_origin, forecasts), forecasts, options) {}

ForecastReport::ForecastReport(const Tensor& series, std::vector<std::size_t> origins,
                               const Tensor& forecasts, const ForecastReportOptions& options)
    : origins_(std::move(origins)), options_(options), residuals_{} {
  check_shapes(series, forecasts, options);
  const std::size_t steps = forecasts.size(1);
  check_origins(origins_, series.numel(), forecasts.size(0), steps, options.season);
  check_finite("series", series_ = own(series));
  check_finite("forecasts", forecasts_ = own(forecasts));
  scores::Forecasts checked{.series = series_.values<double>(),
                            .origins = origins_,
                            .values = forecasts_.values<double>(),
                            .lower = {},
                            .upper = {},
                            .season = options.season,
                            .level = options.level};
  if (options.lower.defined()) {
    check_finite("lower", options_.lower = own(options.lower));
    check_finite("upper", options_.upper = own(options.upper));
    check_order(options_.lower, options_.upper);
    checked.lower = options_.lower.values<double>();
    checked.upper = options_.upper.values<double>();
  }
  for (std::size_t h = 0; h < steps; ++h) horizons_.push_back(scores::horizon(checked, h));
  residuals_ = scores::residuals(checked);
}

}  // namespace tapegrad
