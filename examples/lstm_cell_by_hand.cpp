// An LSTM cell that a user writes himself, from primitive operations and Parameters of his own. It
// is stepped over a short random sequence and compared with the library's LSTMCell and with its
// fused LSTM, which get the same weights: hidden states, cell states and the gradients of all
// weights agree to rounding in float64.
//
//   command:            build/release/lstm_cell_by_hand
//   expected last line: result {"program":"lstm_cell_by_hand", ..., "max_difference":4.4e-16, ...}
//   exit status:        1 if two of the three differ by more than 1e-12

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "program.h"

using namespace tapegrad;

namespace {

constexpr double bound = 1e-12;

/// The cell: three weights, and the equations of Hochreiter and Schmidhuber (1997) with the forget
/// gate of Gers et al. (2000). The rows of the weights are the gates i, f, g, o, H rows each.
struct MyCell {
  Parameter from_input;   // (4H, I)
  Parameter from_hidden;  // (4H, H)
  Parameter bias;         // (4H)

  MyCell(std::size_t inputs, std::size_t hidden, Rng& rng)
      : from_input(init::xavier_uniform({4 * hidden, inputs}, rng, DType::float64)),
        from_hidden(init::xavier_uniform({4 * hidden, hidden}, rng, DType::float64)),
        bias(init::uniform({4 * hidden}, 1.0, rng, DType::float64)) {}

  LSTMState operator()(Tape& tape, const Var& x, const LSTMState& before) const {
    const Var gates = matmul(x, tape.leaf(from_input), Transpose::no, Transpose::yes) +
                      matmul(before.h, tape.leaf(from_hidden), Transpose::no, Transpose::yes) +
                      tape.leaf(bias);
    const auto [i, f, g, o] = split<4>(gates, 1);
    const Var c = sigmoid(f) * before.c + sigmoid(i) * tanh(g);
    const Var h = sigmoid(o) * tanh(c);
    return {h, c};
  }

  void visit(auto&& v) {
    v("from_input", from_input);
    v("from_hidden", from_hidden);
    v("bias", bias);
  }
};

/// What is compared: the hidden states of all steps, the last cell state, and the gradients of the
/// mean square of the hidden states for the three weights.
using Outcome = std::vector<Tensor>;

Outcome outcome(Tape& tape, const Var& y, const Var& c, const Vars& weights) {
  Outcome all{y.value(), c.value()};
  for (const Var& gradient : tape.gradient(mean(square(y)), weights))
    all.push_back(gradient.value());
  return all;
}

/// Steps any cell over a sequence x (T, B, I).
template <class Cell>
Outcome stepped(const Cell& cell, const Tensor& x, LSTMState state,
                const std::vector<const Parameter*>& weights, bool print) {
  Tape tape;
  Vars hidden;
  for (const Var& x_t : unbind(x)) {
    state = cell(tape, x_t, state);
    hidden.push_back(state.h);
    if (print)
      examples::print(fmt::format("t = {}  h = {:+.5f}\n       c = {:+.5f}\n", hidden.size(),
                                  fmt::join(state.h.value().values<double>(), " "),
                                  fmt::join(state.c.value().values<double>(), " ")));
  }
  Vars leaves;
  for (const Parameter* weight : weights) leaves.push_back(tape.leaf(*weight));
  return outcome(tape, stack(hidden), state.c, leaves);
}

double max_difference(const Outcome& a, const Outcome& b) {
  double most = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const Tensor other = b[k].reshape(a[k].shape());
    for (std::size_t e = 0; e < other.numel(); ++e) {
      const double difference = std::fabs(a[k].at(e) - other.at(e));
      if (std::isnan(difference)) return difference;
      most = std::max(most, difference);
    }
  }
  return most;
}

struct Options {
  std::size_t steps = 5, batch = 1, inputs = 2, hidden = 3;
  examples::CommonOptions common;
};

int compare(const Options& options) {
  set_threads(options.common.threads);
  Rng rng(options.common.seed);
  const Tensor x = rng.normal({options.steps, options.batch, options.inputs}, 0, 1, DType::float64);
  MyCell mine(options.inputs, options.hidden, rng);

  // The library's layers are made with random weights of their own, and then given mine.
  LSTMCell cell({.input = options.inputs,
                 .hidden = options.hidden,
                 .bias = LSTMBias::one,
                 .dtype = DType::float64},
                rng);
  LSTM fused({.input = options.inputs,
              .hidden = options.hidden,
              .bias = LSTMBias::one,
              .dtype = DType::float64},
             rng);
  for (LSTMParameters* weights : {&cell.weights, &fused.layers[0]}) {
    weights->weight_ih.set_value(mine.from_input.value());
    weights->weight_hh.set_value(mine.from_hidden.value());
    weights->bias_ih.set_value(mine.bias.value());
  }

  const LSTMState zero = cell.zero_state(options.batch);
  const Outcome by_hand =
      stepped(mine, x, zero, {&mine.from_input, &mine.from_hidden, &mine.bias}, true);
  const LSTMParameters& own = cell.weights;
  const Outcome by_cell =
      stepped(cell, x, zero, {&own.weight_ih, &own.weight_hh, &own.bias_ih}, false);

  Tape tape;
  const auto [y, last] = fused(tape, x, fused.zero_state(options.batch));
  const LSTMParameters& layer = fused.layers[0];
  const Outcome by_lstm =
      outcome(tape, y, last.c,
              {tape.leaf(layer.weight_ih), tape.leaf(layer.weight_hh), tape.leaf(layer.bias_ih)});

  const double to_cell = max_difference(by_hand, by_cell);
  const double to_lstm = max_difference(by_hand, by_lstm);
  examples::print(fmt::format(
      "largest difference of states and gradients to LSTMCell: {:.1e}, to LSTM: {:.1e}\n", to_cell,
      to_lstm));
  const bool equal = to_cell <= bound && to_lstm <= bound;  // false for NaN too
  if (!equal) examples::print(fmt::format("they differ by more than {:.0e}\n", bound));
  examples::print_result({{"program", "lstm_cell_by_hand"},
                          {"steps", options.steps},
                          {"batch", options.batch},
                          {"inputs", options.inputs},
                          {"hidden", options.hidden},
                          {"max_difference", std::max(to_cell, to_lstm)},
                          {"bound", bound}});
  return equal ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  examples::CommandLine line(
      "Steps an LSTM cell written by hand, and compares it with the library's.",
      "lstm_cell_by_hand");
  line.footer("Example: lstm_cell_by_hand --steps 20 --hidden 4");
  line.option("--steps", options.steps, "Length of the sequence, T", 1, 1000);
  line.option("--batch", options.batch, "Sequences side by side, B", 1, 100);
  line.option("--inputs", options.inputs, "Numbers in a step, I", 1, 100);
  line.option("--hidden", options.hidden, "Hidden units, H", 1, 100);
  line.options(options.common);
  return line.run(argc, argv, [&] { return compare(options); });
}
