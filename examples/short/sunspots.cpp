// Forecasts of the sunspots of the next twelve months, and what they are worth.
//
//   command:            build/release/short_sunspots monthly-sunspots.csv
//   expected last line: of a report, in which the forecasts have skill

#include <fmt/core.h>
#include <tapegrad/tapegrad.h>

using namespace tapegrad;

struct Forecaster {
  LSTM lstm;
  Linear head;
  void visit(auto&& v) { v("lstm", lstm), v("head", head); }
  Var operator()(Tape& tape, const Tensor& x) const {  // (L, B, 1) -> (H, B)
    const auto [y, last] = lstm(tape, x);
    const Var known = x.row(x.size(0) - 1).reshape({x.size(1)});
    return transpose(head(tape, lstm.last_output(last))) + known;
  }
  Var loss(Tape& tape, const SeriesBatch& batch) const {
    const Var y = (*this)(tape, batch.x);
    return mse(y, batch.y.reshape(y.shape()));
  }
};

int main(int /*argc*/, char** argv) {
  const Tensor series = read_csv(argv[1]).column("Sunspots", {.dtype = DType::float32});
  const auto parts = split_in_time(series.size(0), {0.56, 0.14, 0.3});
  StandardScaler scaler;
  scaler.fit(series, parts[0]);
  const SeriesWindows windows(scaler.transform(series), {.look_back = 36, .horizon = 12});
  const SeriesWindows train = windows.inside(parts[0]);
  const SeriesBatch valid = windows.targets_in(parts[1]).all(), test = windows.targets_in(parts[2]).all();

  Rng rng(1);
  Forecaster model{{{.input = 1, .hidden = 32}, rng}, {32, 12, rng}};
  Adam adam(parameters(model), {.lr = 3e-3});
  EarlyStopping best(parameters(model), {.patience = 5});
  Batches batches(train.size(), 32, {.shuffle = 1});
  const auto step = [&](const std::vector<std::size_t>& places) {
    Tape tape;
    const Var loss = model.loss(tape, train.batch(places));
    adam.zero_grad();
    tape.backward(loss);
    adam.step({.clip_norm = 1});
    return loss.item();
  };
  Tape look = Tape::inference();
  TrainingLoop().run(
      60, batches, step, [&] { return Figures{{"valid", model.loss(look, valid).item()}}; }, best);
  best.restore();

  const Tensor forecasts = scaler.inverse(transpose(model(look, test.x)).value());
  fmt::print("{}", ForecastReport(series, parts[2].begin, forecasts, {.season = 132}).text());
}
