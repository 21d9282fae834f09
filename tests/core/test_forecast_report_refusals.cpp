// Covers core/report/forecast_report: what is refused, with whole messages.

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "../../core/error.h"
#include "../../core/report/forecast_report.h"
#include "../support/message.h"

using namespace tapegrad;
using testing::message_of;

TEST_CASE("forecast report: what cannot be is refused") {
  const Tensor series = Tensor::zeros({20}), forecasts = Tensor::zeros({8, 2});
  const auto message = [&](const Tensor& y, const std::vector<std::size_t>& origins,
                           const Tensor& f, const ForecastReportOptions& options = {}) {
    return message_of([&] { (void)ForecastReport(y, origins, f, options); });
  };
  const std::vector<std::size_t> good = {3, 4, 5, 6, 7, 8, 9, 18};
  CHECK(message(series, good, forecasts) == "nothing was thrown");
  const Tensor undefined;
  CHECK(message(undefined, good, forecasts) ==
        "[ForecastReport] series is undefined: give it a value first");
  CHECK(message_of([&] { (void)ForecastReport(series, 3, undefined); }) ==
        "[ForecastReport] forecasts is undefined: give it a value first");
  CHECK(message(Tensor::zeros({20, 1}), good, forecasts) ==
        "[ForecastReport] series has shape (20, 1): it must be (N), one value a row");
  CHECK(
      message(series, good, Tensor::zeros({8})) ==
      "[ForecastReport] forecasts has shape (8): it must be (n, H), H >= 1 rows of each forecast");
  CHECK(message(series, {3, 4}, forecasts) ==
        "[ForecastReport] there are 2 origins but forecasts has 8 rows: one origin a row");
  CHECK(message(series, {3, 4}, Tensor::zeros({2, 2})) ==
        "[ForecastReport] there are 2 forecasts: at least 8 are needed to say anything");
  CHECK(message(series, {3, 4, 4, 6, 7, 8, 9, 10}, forecasts) ==
        "[ForecastReport] origin 2 is 4 after 4: origins must increase");
  CHECK(
      message(series, {0, 4, 5, 6, 7, 8, 9, 10}, forecasts) ==
      "[ForecastReport] the first origin is 0: a row must be known before it; give the series from "
      "its beginning on, not from the first forecast");
  CHECK(
      message(series, good, forecasts, {.season = 4}) ==
      "[ForecastReport] season is 4 but before the first origin there are 3 rows: there must be a "
      "whole season; begin later, or leave season out");
  CHECK(message(series, good, Tensor::zeros({8, 21})) ==
        "[ForecastReport] forecasts has 21 steps but the series has 20 rows: it must have the rows "
        "that are forecast");
  CHECK(
      message(series, {3, 4, 5, 6, 7, 8, 9, 19}, forecasts) ==
      "[ForecastReport] origin 7 is 19, and 2 steps from there end behind the last of the 20 rows: "
      "what is forecast must be known; leave such forecasts out");
  CHECK(
      message_of([&] { (void)ForecastReport(series, 12, forecasts); }) ==
      "[ForecastReport] origin 7 is 19, and 2 steps from there end behind the last of the 20 rows: "
      "what is forecast must be known; leave such forecasts out");
  CHECK_THROWS_AS(ForecastReport(series, SIZE_MAX, forecasts), UsageError);

  Tensor gap = series.clone();
  gap.mutable_data<float>()[4] = std::numeric_limits<float>::quiet_NaN();
  CHECK(message(gap, good, forecasts) ==
        "[ForecastReport] series[4] is nan: every value must be finite; fill or cut gaps first");
  Tensor endless = forecasts.clone();
  endless.mutable_data<float>()[5] = std::numeric_limits<float>::infinity();
  CHECK(message(series, good, endless) ==
        "[ForecastReport] forecasts[2, 1] is inf: every value must be finite");
  CHECK(message(series, good, forecasts, {.lower = forecasts, .upper = endless}) ==
        "[ForecastReport] upper[2, 1] is inf: every value must be finite");

  CHECK(message(series, good, forecasts, {.lower = forecasts}) ==
        "[ForecastReport] there is only one bound of the prediction interval: give upper too");
  CHECK(message(series, good, forecasts, {.upper = forecasts}) ==
        "[ForecastReport] there is only one bound of the prediction interval: give lower too");
  CHECK_THROWS_AS(ForecastReport(series, good, forecasts, {.lower = series, .upper = forecasts}),
                  ShapeError);
  CHECK(message(series, good, forecasts, {.lower = forecasts, .upper = forecasts, .level = 90}) ==
        "[ForecastReport] level is 90: it must be between 0 and 1, as 0.9");
  Tensor high = forecasts.clone();
  high.mutable_data<float>()[3] = 2;
  CHECK(
      message(series, good, forecasts, {.lower = high, .upper = forecasts}) ==
      "[ForecastReport] lower[1, 1] is 2, above upper[1, 1], 0: exchange them; quantile_interval() "
      "does so where quantiles cross");
}
