#pragma once

#include <tapegrad/tapegrad.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "program.h"

/// A network that forecasts a series of numbers, with an interval: how it learns, and what it says.
namespace examples {

struct ForecastSettings {
  std::size_t look_back = 36, horizon = 12;  // rows that are read, rows to forecast
  std::size_t hidden = 64, batch = 32;
  std::size_t epochs = 60, patience = 10;
  double lr = 3e-3, dropout = 0.1, clip = 1;
  double level = 0.9;  // share of the rows that the interval is to hold
};

/// Forecasts of windows, (H, B) each.
struct Forecast {
  tapegrad::Var mean, lower, upper;
};

/// An LSTM over the rows that are read; a Linear makes of its last state how far the next H rows are
/// from the last one known.
struct Forecaster {
  tapegrad::LSTM lstm;
  tapegrad::Dropout dropout;
  tapegrad::Linear head;

  Forecaster() = default;
  Forecaster(std::size_t columns, const ForecastSettings& settings, tapegrad::Rng& rng);
  void visit(auto&& v) {
    v("lstm", lstm);
    v("dropout", dropout);
    v("head", head);
  }
  /// x (L, B, F), the target its first column.
  Forecast operator()(tapegrad::Tape& tape, const tapegrad::Tensor& x) const;
};

/// A forecaster that has learnt, and the scaler that goes with it.
struct TrainedForecaster {
  ForecastSettings settings;
  Forecaster model;
  tapegrad::StandardScaler scaler = tapegrad::StandardScaler();
  std::uint64_t epochs = 0;  // that the best weights had
};

/// Learns from `train`, with the weights that are best in `valid`, the rows behind. series (n, F)
/// float64, the target its first column. `callback` sees the training.
template <class... Callbacks>
TrainedForecaster train_forecaster(const tapegrad::Tensor& series, const tapegrad::Rows& train,
                                   const tapegrad::Rows& valid, const ForecastSettings& settings,
                                   std::uint64_t seed, Callbacks&... callbacks);

/// Forecasts in the series' own unit, made in each row from which all H rows are in a part: (n, H).
struct ForecastTable {
  std::size_t first_row;  // of the first forecast
  tapegrad::Tensor mean, lower, upper;
};
ForecastTable forecasts_in(const TrainedForecaster& trained, const tapegrad::Tensor& series,
                           const tapegrad::Rows& part);

/// Root mean squared error of forecasts over all their rows.
double rmse_of(const ForecastTable& table, const tapegrad::Tensor& series);

// --- how it learns ---

/// Mean squared error of the mean, and the pinball losses of the interval's ends.
tapegrad::Var forecast_loss(const Forecast& forecast, const tapegrad::Tensor& y, double level);

template <class... Callbacks>
TrainedForecaster train_forecaster(const tapegrad::Tensor& series, const tapegrad::Rows& train,
                                   const tapegrad::Rows& valid, const ForecastSettings& settings,
                                   std::uint64_t seed, Callbacks&... callbacks) {
  using namespace tapegrad;  // NOLINT(google-build-using-namespace): an example reads like a user
  TrainedForecaster trained{.settings = settings};
  trained.scaler.fit(series, train);
  const SeriesWindows windows(  // scaled before it is rounded: it may be far from 0
      trained.scaler.transform(series).to(DType::float32),
      {.look_back = settings.look_back, .horizon = settings.horizon, .target = {0}});
  const SeriesWindows learnt = windows.inside(train), checked = windows.targets_in(valid);

  Rng rng(seed);
  Forecaster& model = trained.model = Forecaster(series.size(1), settings, rng);
  Adam adam(parameters(model), {.lr = settings.lr});
  LearningRate lr(adam, schedule::cosine(static_cast<double>(settings.epochs)),
                  ScheduleTime::epochs);
  EarlyStopping best(parameters(model), {.patience = settings.patience});
  Batches batches(learnt.size(), settings.batch, {.shuffle = seed});
  std::vector<std::size_t> all(checked.size());
  for (std::size_t k = 0; k < all.size(); ++k) all[k] = k;
  const auto [x_valid, y_valid] = checked.batch(all);

  TrainingLoop loop;
  const auto step = [&](const std::vector<std::size_t>& places) {
    const auto [x, y] = learnt.batch(places);
    Tape tape = Tape::training({.seed = seed, .pass = loop.step()});
    const Var loss = forecast_loss(model(tape, x), y, settings.level);
    adam.zero_grad();
    tape.backward(loss);
    adam.step({.clip_norm = settings.clip});
    return StepLoss(loss.item(), static_cast<double>(places.size()));
  };
  const auto evaluate = [&, &x = x_valid, &y = y_valid] {
    Tape tape = Tape::inference();
    return Figures{{"valid", forecast_loss(model(tape, x), y, settings.level).item()}};
  };
  const TrainingEnd end =
      loop.run(settings.epochs, batches, step, evaluate, lr, best, callbacks...);
  check_end(end);
  if (!best.has_best())
    throw NonFiniteError("[forecast] no epoch ended with a validation loss that is a number; " +
                         (end.why.empty() ? "a lower --lr helps" : end.why));
  best.restore();
  trained.epochs = best.best_epoch();
  return trained;
}

}  // namespace examples
