// Forecasts of a series in a CSV file, and an honest report of what they are worth: an LSTM reads the
// last rows and says the next ones, with an interval.
//
// The rows are cut in time: the first to learn from, then some to validate (when to stop), the last to
// test. The scaler is fitted on the first alone. The floor is persistence, the last value repeated;
// beside the LSTM stands an autoregression by least squares whose order is the best in validation, and
// which is then fitted on all rows before the test.
//
//   command:            build/release/forecast sunspots.csv --target Sunspots --season 132
//   expected last line: result {"program":"forecast","rmse":..., ...}
//   exit status:        1 if the forecasts are not better than persistence

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "autoregression.h"
#include "forecast_data.h"
#include "forecast_model.h"
#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

struct Options {
  SeriesFile file;
  ForecastSettings model;
  std::size_t season = 0, order = 0;
  std::string report;
  CommonOptions common;
};

double rms(const std::vector<double>& errors) {
  double sum = 0;
  for (const double e : errors) sum += e * e;
  return std::sqrt(sum / static_cast<double>(errors.size()));
}

/// The autoregression of the order that is best in validation, fitted on all rows before the test.
Autoregression best_autoregression(const std::vector<double>& series,
                                   const std::vector<Rows>& parts, std::size_t horizon) {
  const Rows known{0, parts[2].begin};
  std::size_t best = 1;
  double least = std::numeric_limits<double>::infinity();
  for (const std::size_t order : {1U, 2U, 3U, 6U, 9U, 12U, 18U, 24U, 36U, 48U}) {
    if (2 * order + 1 >= parts[0].size()) break;
    const double error =
        rms(rmse_by_step(Autoregression(series, parts[0], order), series, parts[1], horizon));
    if (error < least) least = error, best = order;
  }
  return {series, known, best};
}

int run(Options o) {
  set_threads(o.common.threads);
  const Tensor series = read_series(o.file);  // (n, F) float64
  const std::string in_file = o.file.path + ": ";
  const std::vector<Rows> parts = given_by_user(
      [&] {
        return split_in_time(series.size(0), {0.7 * (1 - o.file.valid), 0.7 * o.file.valid, 0.3});
      },
      in_file);
  std::vector<double> values(series.size(0));  // of the target
  for (std::size_t t = 0; t < values.size(); ++t) values[t] = series.at(t * series.size(1));
  const Tensor target = Tensor::from<double>({values.size()}, values);
  const Autoregression linear = given_by_user(
      [&] {
        if (o.order == 0) return best_autoregression(values, parts, o.model.horizon);
        return Autoregression(values, {0, parts[2].begin}, o.order);
      },
      in_file);
  const auto [learnt, tested] = given_by_user(
      [&] {
        const SeriesWindows all(series,
                                {.look_back = o.model.look_back, .horizon = o.model.horizon});
        const SeriesWindows test = all.targets_in(parts[2]);
        // What a report of any forecasts would refuse is refused before the training.
        ForecastReport(target, test.targets(0).begin, Tensor::zeros({test.size(), o.model.horizon}),
                       {.season = o.season});
        return std::pair(all.inside(parts[0]), test);
      },
      in_file);
  Progress progress(o.common.quiet);
  const SignalGuard guard;
  const Stopwatch clock;
  const TrainedForecaster trained = given_by_user(
      [&] {
        return train_forecaster(series, parts[0], parts[1], o.model, o.common.seed, progress,
                                guard);
      },
      in_file);
  const double seconds = clock.seconds();
  const ForecastTable table = forecasts_in(trained, series, parts[2]);

  const std::vector<double> linear_errors = rmse_by_step(linear, values, parts[2], o.model.horizon);

  const ForecastReport report(target, table.first_row, table.mean,
                              {.season = o.season,
                               .name = o.file.target,
                               .lower = table.lower,
                               .upper = table.upper,
                               .level = o.model.level,
                               .leakage = leakage({.train = {0, parts[1].end},
                                                   .test = parts[2],
                                                   .scaler = &trained.scaler,
                                                   .train_windows = &learnt,
                                                   .test_windows = &tested})});
  print(report.text());

  std::vector<double> errors, persistence;
  for (const HorizonScores& h : report.horizons()) {
    errors.push_back(h.forecast.rmse);
    persistence.push_back(h.persistence.rmse);
  }
  const bool wins = rms(errors) < rms(linear_errors), reached = rms(errors) < rms(persistence);
  print(fmt::format(
      "\n{} rows to learn from, {} to validate, {} to test; {} weights, best after {} epochs, "
      "{:.1f} s\n"
      "autoregression of order {} by least squares, RMSE at 1 and {} steps: {:.4g}, {:.4g}; LSTM: "
      "{:.4g}, {:.4g}: {} wins over all steps\n",
      parts[0].size(), parts[1].size(), parts[2].size(), parameters(trained.model).count(),
      trained.epochs, seconds, linear.order(), o.model.horizon, linear_errors.front(),
      linear_errors.back(), errors.front(), errors.back(),
      wins ? "the LSTM" : "the autoregression"));
  if (!reached) print("MISSED: the forecasts are not better than the last value, repeated\n");
  print_result({{"program", "forecast"},
                {"rmse", rms(errors)},
                {"rmse_by_step", errors},
                {"baseline", rms(persistence)},
                {"autoregression", rms(linear_errors)},
                {"autoregression_by_step", linear_errors},
                {"epochs", static_cast<std::size_t>(trained.epochs)},
                {"seconds", seconds},
                {"seed", o.common.seed}});
  if (!o.report.empty()) write_file_atomically(o.report, report.html(), "forecast");
  return reached ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CommandLine line("Forecasts a series, and says what the forecasts are worth.", "forecast");
  line.footer("Example: forecast monthly-sunspots.csv --season 132 --report sunspots.html");
  add_options(line, options.file);
  add_options(line, options.model);
  line.option("--hidden", options.model.hidden, "Units of the LSTM", 1, 100'000);
  line.option("--lr", options.model.lr, "Learning rate of Adam at first", positive());
  line.option("--dropout", options.model.dropout,
              "Probability that a feature is dropped in training", below_one());
  line.option("--season", options.season, "Rows of a season, for the seasonal baseline; 0: none");
  line.option("--order", options.order,
              "Order of the autoregression beside; 0: the best in validation", 0, 1000);
  line.output("--report", options.report, "Page to write: the report with a picture");
  line.options(options.common);
  return line.run(argc, argv, [&] { return run(options); });
}
