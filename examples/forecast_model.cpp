#include "forecast_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace examples {

using namespace tapegrad;

Forecaster::Forecaster(std::size_t columns, const ForecastSettings& settings, Rng& rng)
    : lstm({.input = columns, .hidden = settings.hidden}, rng),
      dropout{settings.dropout},
      head(settings.hidden, 3 * settings.horizon, rng) {}

Forecast Forecaster::operator()(Tape& tape, const Tensor& x) const {
  const auto [y, last] = lstm(tape, x);
  const Var out = transpose(head(tape, dropout(tape, lstm.last_output(last))));  // (3H, B)
  const std::size_t horizon = out.size(0) / 3, batch = out.size(1);
  const auto third = [&](std::size_t k) { return slice(out, 0, k * horizon, (k + 1) * horizon); };
  const Var known = reshape(slice(x.row(x.size(0) - 1), 1, 0, 1), {batch});
  const Var mean = third(0) + known;
  return {mean, mean - softplus(third(1)), mean + softplus(third(2))};
}

Var forecast_loss(const Forecast& forecast, const Tensor& y, double level) {
  const Tensor target = y.reshape({y.size(0), y.size(1)});
  const Var ends = stack({forecast.lower, forecast.upper}, -1);
  const double q = (1 - level) / 2;
  return mse(forecast.mean, target) + quantile_loss(ends, target, {q, 1 - q});
}

ForecastTable forecasts_in(const TrainedForecaster& trained, const Tensor& series,
                           const Rows& part) {
  const ForecastSettings& s = trained.settings;
  const SeriesWindows windows =
      SeriesWindows(trained.scaler.transform(series).to(DType::float32),
                    {.look_back = s.look_back, .horizon = s.horizon, .target = {0}})
          .targets_in(part);
  std::vector<std::size_t> places(windows.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  Tape tape = Tape::inference();
  const Forecast f = trained.model(tape, windows.batch(places).x);
  const auto table = [&](const Var& v) {
    return trained.scaler.inverse(transpose(v).value().to(DType::float64), {0});
  };
  return {windows.targets(0).begin, table(f.mean), table(f.lower), table(f.upper)};
}

double rmse_of(const ForecastTable& table, const Tensor& series) {
  double sum = 0;
  const std::size_t n = table.mean.size(0), horizon = table.mean.size(1);
  for (std::size_t k = 0; k < n; ++k) {
    for (std::size_t h = 0; h < horizon; ++h) {
      const double truth = series.at((table.first_row + k + h) * series.size(1));
      sum += std::pow(table.mean.at(k * horizon + h) - truth, 2);
    }
  }
  return std::sqrt(sum / static_cast<double>(n * horizon));
}

}  // namespace examples
