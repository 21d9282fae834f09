// Forecasts the sunspots of the next twelve months, and reports what the forecasts are worth.
//
//   command:            build/release/short_sunspots monthly-sunspots.csv
//   expected output:    a report of forecasts that are better than persistence at all horizons

#include <fmt/core.h>
#include <tapegrad/tapegrad.h>

using namespace tapegrad;

constexpr std::size_t L = 36, H = 12;  // months that are read, months to forecast

struct Forecaster {
  LSTM lstm;
  Linear head;
  void visit(auto&& v) { v("lstm", lstm), v("head", head); }
  Var operator()(Tape& tape, const Tensor& x) const {  // (L, B, 1) -> (H, B, 1)
    const auto [y, last] = lstm(tape, x);
    const Var change = transpose(head(tape, lstm.last_output(last)));
    return reshape(change + x.row(L - 1).reshape({x.size(1)}), {H, x.size(1), 1});
  }
};

int main(int argc, char** argv) {
  if (argc != 2) return fmt::print(stderr, "short_sunspots FILE\n"), 2;
  const Tensor series = read_csv(argv[1]).column("Sunspots", {.dtype = DType::float32});
  const auto parts = split_in_time(series.size(0), {0.56, 0.14, 0.3});
  const Scaler scaler = StandardScaler().fit(series, parts[0]);
  const SeriesWindows all(scaler.transform(series), {.look_back = L, .horizon = H});
  const SeriesWindows train = all.inside(parts[0]);
  const auto [x_valid, y_valid] = all.targets_in(parts[1]).all();

  Rng rng(1);
  Forecaster model{{{.input = 1, .hidden = 32}, rng}, {32, H, rng}};
  Adam adam(parameters(model), {.lr = 3e-3});
  EarlyStopping best(parameters(model), {.patience = 5});
  Batches batches(train.size(), 32, {.shuffle = 1});
  while (batches.epoch() < 60) {
    for (const auto& places : batches) {
      const auto [x, y] = train.batch(places);
      Tape tape;
      const Var loss = mse(model(tape, x), y);
      adam.zero_grad();
      tape.backward(loss);
      adam.step({.clip_norm = 1});
    }
    Tape tape = Tape::inference();
    if (!best.add(mse(model(tape, x_valid), y_valid).item()).empty()) break;
  }
  best.restore();

  const Tensor x = all.targets_in(parts[2]).all().x;
  Tape tape = Tape::inference();
  const Tensor y = scaler.inverse(transpose(model(tape, x), 0, 1).value()).reshape({x.size(1), H});
  fmt::print("{}", ForecastReport(series, parts[2].begin, y, {.season = 132}).text());
}
