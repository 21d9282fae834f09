// Covers core/report/forecast_report: figures by hand, and verdicts on data whose answer is known.
// What is refused: test_forecast_report_refusals; text and picture: test_forecast_report_text.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <numbers>
#include <string>
#include <vector>

#include "../../core/report/forecast_report.h"
#include "../../core/rng.h"

using namespace tapegrad;

namespace {

using Series = std::vector<double>;

constexpr std::size_t rows = 500, first = 300, steps = 3;

Series noise(std::uint64_t seed, double sigma) {
  Rng rng(seed);
  const Tensor draws = rng.normal({rows}, 0, sigma).to(DType::float64);
  return {draws.values<double>().begin(), draws.values<double>().end()};
}

Series random_walk(std::uint64_t seed) {
  Series walk = noise(seed, 1);
  for (std::size_t t = 1; t < rows; ++t) walk[t] += walk[t - 1];
  return walk;
}

Series wave(double period, double height) {
  Series y(rows);
  for (std::size_t t = 0; t < rows; ++t)
    y[t] = height * std::sin(2 * std::numbers::pi * static_cast<double>(t) / period);
  return y;
}

Series sum(Series a, const Series& b) {
  for (std::size_t t = 0; t < rows; ++t) a[t] += b[t];
  return a;
}

/// A report on forecasts from each row of the series' end on: forecast(origin, row).
ForecastReport report_on(const Series& series,
                         const std::function<double(std::size_t, std::size_t)>& forecast,
                         const ForecastReportOptions& options = {}) {
  const std::size_t n = rows - first - steps + 1;
  Series forecasts;
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t h = 0; h < steps; ++h) forecasts.push_back(forecast(first + k, first + k + h));
  }
  return {Tensor::from({rows}, series), first, Tensor::from({n, steps}, forecasts), options};
}

bool says(const ForecastReport& report, const std::string& words) {
  return report.text().find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("forecast report: figures by hand") {
  const Tensor series = Tensor::from({12}, {1, 2, 4, 3, 5, 4, 6, 5, 7, 6, 8, 7});
  Tensor forecasts = Tensor::zeros({8, 2}, DType::float64);
  Tensor lower = Tensor::zeros({8, 2}, DType::float64), upper = lower.clone();
  for (std::size_t k = 0; k < 8; ++k) {
    for (std::size_t h = 0; h < 2; ++h) {
      const std::size_t i = 2 * k + h;
      const double truth = series.at(2 + k + h);
      forecasts.mutable_data<double>()[i] = truth + (h == 1 ? 1 : k == 5 ? 2 : -0.5);
      lower.mutable_data<double>()[i] = truth - 1 + (h == 0 && k < 3 ? 1.5 : 0);
      upper.mutable_data<double>()[i] = truth + 1;
    }
  }
  const ForecastReport report(series, 2, forecasts,
                              {.season = 2, .lower = lower, .upper = upper, .level = 0.8});
  const auto near = [](double value) { return doctest::Approx(value).epsilon(1e-12); };

  const HorizonScores& one = report.horizons().at(0);
  CHECK(one.steps == 1);
  CHECK(one.forecast.rmse == near(std::sqrt((7 * 0.25 + 4) / 8)));
  CHECK(one.forecast.mae == near(5.5 / 8));
  CHECK(one.persistence.rmse == near(std::sqrt(2.5)));  // steps of 2 and -1
  CHECK(one.persistence.mae == near(1.5));
  CHECK(one.seasonal->rmse == near(std::sqrt(2)));  // a step of 3, seven of 1
  CHECK(one.seasonal->mae == near(1.25));
  CHECK(one.over_persistence.value == near(1 - 5.75 / 8 / 2.5));
  CHECK(one.over_seasonal->value == near(1 - 5.75 / 8 / 2));
  CHECK(one.interval->coverage.value == 5.0 / 8);
  CHECK(one.interval->mean_width == near((3 * 0.5 + 5 * 2) / 8));
  CHECK(one.interval->winkler == near((3 * 0.5 + 5 * 2 + 3 * 10 * 0.5) / 8));

  const HorizonScores& two = report.horizons().at(1);
  CHECK(two.steps == 2);
  CHECK(two.forecast.rmse == 1);
  CHECK(two.persistence.rmse == 1);  // the row two before the row forecast
  CHECK(two.seasonal->rmse == 1);    // the same row
  CHECK(two.over_persistence.value == 0);
  CHECK(two.interval->coverage.value == 1);
  CHECK(two.interval->coverage.low < report.horizons()[0].interval->coverage.high);  // of 4 apart

  const ResidualScores& residuals = report.residuals();
  CHECK(residuals.mean.value == near(1.5 / 8));
  CHECK(residuals.deviation == near(std::sqrt(5.75 / 8 - std::pow(1.5 / 8, 2))));
  CHECK(residuals.largest_row == 7);
  CHECK(residuals.largest == -2);
  CHECK(residuals.autocorrelation.size() == 2);
}

TEST_CASE("forecast report: the last season repeated, beyond one season") {
  // Of period 3 but for a step before the origins: only the newest season is right.
  Series y(40);
  for (std::size_t t = 0; t < y.size(); ++t) y[t] = static_cast<double>(t % 3 + (t < 20 ? 100 : 0));
  const ForecastReport report(Tensor::from({40}, y), 23, Tensor::zeros({10, 8}), {.season = 3});
  for (const HorizonScores& h : report.horizons()) CHECK(h.seasonal->rmse == 0);
}

TEST_CASE("forecast report: a copy of a random walk's last value has no skill and comes late") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Series y = random_walk(seed), small = noise(100 + seed, 0.3);
    const ForecastReport report =
        report_on(y, [&](std::size_t o, std::size_t t) { return y[o - 1] + small[t]; });
    for (const HorizonScores& h : report.horizons()) {
      CHECK_FALSE(h.over_persistence.is_shown());
      CHECK(h.late);
      CHECK(h.best_lag == h.steps);
    }
    CHECK(says(report, "No skill: persistence is "));
    CHECK(says(report,
               "  Late: your forecast is the input shifted by 1: it follows the series a "
               "step late\n"));
    CHECK(says(report, "    Likewise at all horizons.\n"));
    CHECK_FALSE(says(report, "  Skill:"));
  }
}

TEST_CASE("forecast report: scaled, the last value is late as well; exact, it equals persistence") {
  const Series y = random_walk(1);
  const auto last = [&](std::size_t o, std::size_t) { return y[o - 1]; };
  const ForecastReport exact = report_on(y, last);
  CHECK(exact.horizons()[0].over_persistence.value == 0);
  CHECK(exact.horizons()[0].late);
  CHECK(says(exact, "No skill: persistence is as good at all horizons.\n"));
  const ForecastReport scaled =
      report_on(y, [&](std::size_t o, std::size_t) { return 0.5 * y[o - 1] + 3; });
  CHECK(scaled.horizons()[0].late);
  CHECK(says(scaled, "No skill: persistence is better at all horizons.\n"));
}

TEST_CASE("forecast report: the mean of a noisy sine has skill and is not accused") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Series mean = wave(25, 5), y = sum(mean, noise(seed, 1));
    const ForecastReport report = report_on(y, [&](std::size_t, std::size_t t) { return mean[t]; });
    for (const HorizonScores& h : report.horizons()) {
      CHECK(h.over_persistence.is_shown());
      CHECK(h.best_lag == 0);
      CHECK_FALSE(h.late);
      CHECK_FALSE(h.constant);
    }
    CHECK(says(report, "  Skill: better than persistence at all horizons.\n"));
    CHECK_FALSE(says(report, "Late"));
  }
}

TEST_CASE("forecast report: of a smooth series, forecasts with errors are not late, a copy is") {
  // One step is 0.2 at most: all correlations with the series a few rows before are near 1.
  const Series y = wave(157, 5);
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (const double sigma : {0.02, 0.2, 2.0}) {
      const Series errors = noise(seed, sigma);
      const auto wrong = [&](std::size_t, std::size_t t) { return y[t] + errors[t]; };
      const ForecastReport report = report_on(y, wrong);
      const std::vector<double>& r = report.horizons()[0].lag_correlations;
      CHECK(r.at(0) - r.at(1) < 0.01);
      CHECK_FALSE(report.horizons()[0].late);
      CHECK(report.horizons()[0].over_persistence.is_shown() == (sigma < 0.1));
    }
    const Series errors = noise(seed, 0.02);
    const auto late = [&](std::size_t o, std::size_t t) { return y[o - 1] + errors[t]; };
    CHECK(report_on(y, late).horizons()[0].best_lag == 1);
    CHECK(report_on(y, late).horizons()[0].late);
  }
}

TEST_CASE("forecast report: the last season has skill over persistence, none over itself") {
  const Series y = sum(wave(12, 5), noise(1, 0.5));
  const auto season = [&](std::size_t, std::size_t t) { return y[t - 12]; };
  const ForecastReport report = report_on(y, season, {.season = 12});
  for (const HorizonScores& h : report.horizons()) {
    CHECK(h.over_persistence.is_shown());
    CHECK(h.over_seasonal->value == 0);
    CHECK_FALSE(h.over_seasonal->is_shown());
    CHECK(h.best_lag == 12);
    CHECK_FALSE(h.late);
  }
  CHECK(says(report, "No skill: seasonal-naive is as good at all horizons.\n"));
  CHECK_FALSE(says(report, "  Skill:"));
}

TEST_CASE("forecast report: a constant is called one") {
  const Series y = noise(3, 1);
  const ForecastReport report = report_on(y, [](std::size_t, std::size_t) { return 0.01; });
  CHECK(report.horizons()[0].constant);
  CHECK(report.horizons()[0].lag_correlations.empty());
  CHECK(says(report,
             "Constant: the forecasts hardly vary at all horizons: they can know the mean, "
             "and no more."));
  // Nothing varies at all.
  const ForecastReport still =
      report_on(Series(rows, 0.1), [](std::size_t, std::size_t) { return 0.1; });
  CHECK(still.horizons()[0].constant);
  CHECK(still.horizons()[0].over_persistence.value == 0);
  CHECK_FALSE(still.horizons()[0].over_persistence.is_shown());
  // Forecasts that vary where the series does not are not late.
  const Series errors = noise(4, 1);
  CHECK_FALSE(report_on(Series(rows, 0.1), [&](std::size_t, std::size_t t) { return errors[t]; })
                  .horizons()[0]
                  .late);
}

TEST_CASE("forecast report: bias and what residuals still tell are found") {
  const Series e = noise(5, 1);
  const auto zero = [](std::size_t, std::size_t) { return 0.0; };
  const ForecastReport fair = report_on(e, zero);
  CHECK(says(fair, ": no bias found\n"));
  CHECK(says(fair, "no more than chance (Ljung-Box p = "));
  Series shifted(rows), remembered(rows);
  for (std::size_t t = 1; t < rows; ++t) {
    shifted[t] = e[t] + 0.5;
    remembered[t] = e[t] + 0.7 * remembered[t - 1];
  }
  CHECK(says(report_on(shifted, zero), ": the forecasts are too low\n"));
  CHECK(says(report_on(shifted, [](auto, auto) { return 2.0; }), ": the forecasts are too high\n"));
  CHECK(says(report_on(remembered, zero), "more than chance: something is left to learn"));
}

TEST_CASE("forecast report: intervals are too narrow, right, too wide") {
  const Series y = noise(6, 1);
  const std::size_t n = rows - first;
  const auto verdict = [&](double z) {
    const Tensor half = Tensor::full({n, 1}, z, DType::float64);
    const Tensor minus = Tensor::full({n, 1}, -z, DType::float64);
    return ForecastReport(Tensor::from({rows}, y), first, Tensor::zeros({n, 1}),
                          {.lower = minus, .upper = half, .level = 0.9});
  };
  CHECK(says(verdict(1), "Verdict, as far as 200 forecasts tell (95 % confidence)\n"));
  CHECK(says(verdict(1), "  Intervals too narrow at horizon 1: they hold 6"));
  CHECK(says(verdict(1.645), "  Intervals: they hold the 90 % that they promise.\n"));
  CHECK(says(verdict(3), "  Intervals too wide at horizon 1: they hold 100 %, not 90 %.\n"));
}

TEST_CASE("forecast report: origins may be apart, and overlap less then") {
  const Series y = random_walk(2);
  std::vector<std::size_t> apart;
  for (std::size_t o = 100; o + 3 <= rows; o += 3) apart.push_back(o);
  const ForecastReport report(Tensor::from({rows}, y), apart, Tensor::zeros({apart.size(), 3}));
  CHECK(report.horizons()[2].persistence.rmse > report.horizons()[0].persistence.rmse);
  double squares = 0;
  for (const std::size_t o : apart) squares += std::pow(y[o + 2] - y[o - 1], 2);
  CHECK(report.horizons()[2].persistence.rmse ==
        doctest::Approx(std::sqrt(squares / static_cast<double>(apart.size()))));
  // The same interval at every horizon: no two forecasts share a row.
  const Tensor far = Tensor::full({apart.size(), 3}, 1e3),
               near = Tensor::full({apart.size(), 3}, -1e3);
  const ForecastReport sure(Tensor::from({rows}, y), apart, Tensor::zeros({apart.size(), 3}),
                            {.lower = near, .upper = far});
  CHECK(sure.horizons()[2].interval->coverage.low == sure.horizons()[0].interval->coverage.low);
}

TEST_CASE("forecast report: keeps its numbers when the caller's change") {
  Tensor series = Tensor::from({20}, std::vector<double>(20, 1)),
         forecasts = Tensor::zeros({8, 1}, DType::float64);
  const ForecastReport report(series, 10, forecasts);
  const std::string before = report.svg();
  series.fill(7);
  forecasts.fill(9);
  CHECK(report.svg() == before);
}
