// lstm_step.cpp in DyNet: the same cells, numbers, options and output, with the fastest of its LSTM
// builders. compare.py compiles it against DyNet's repository and the library built there.

#include <dynet/expr.h>
#include <dynet/init.h>
#include <dynet/lstm.h>
#include <dynet/training.h>

#include <cmath>

#include "../bench/bench.h"

namespace {

using dynet::ComputationGraph, dynet::Dim, dynet::Expression, dynet::Parameter;
using Floats = std::vector<float>;

/// A matrix whose columns lie one after the other, of one whose rows do.
Floats by_columns(const std::vector<double>& x, std::size_t columns) {
  const std::size_t rows = x.size() / columns;
  Floats y(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) y[k % columns * rows + k / columns] = float(x[k]);
  return y;
}
/// Rows of gates i, f, g, o in DyNet's order i, f, o, g.
std::vector<double> dynet_gates(std::vector<double> x) {
  const auto half = x.begin() + std::ptrdiff_t(x.size() / 2);
  std::rotate(half, half + std::ptrdiff_t(x.size() / 4), x.end());
  return x;
}

struct LSTMAndHead {
  dynet::ParameterCollection parameters;
  dynet::CompactVanillaLSTMBuilder lstm;
  std::vector<Parameter> bias_hh;  // DyNet has one bias
  Parameter weight, bias;

  explicit LSTMAndHead(const bench::Cell& c)
      : lstm(unsigned(c.layers), unsigned(c.input), unsigned(c.hidden), parameters),
        weight(parameters.add_parameters({unsigned(c.head), unsigned(c.hidden)})),
        bias(parameters.add_parameters({unsigned(c.head)})) {
    std::uint32_t n = bench::first_parameter;
    const auto numbers = [&](std::size_t count) {
      return bench::numbers(n++, count, 1 / std::sqrt(double(c.hidden)));
    };
    for (std::size_t l = 0; l < c.layers; ++l) {
      const std::size_t input = l == 0 ? c.input : c.hidden;
      lstm.params[l][0].set_value(by_columns(dynet_gates(numbers(4 * c.hidden * input)), input));
      lstm.params[l][1].set_value(
          by_columns(dynet_gates(numbers(4 * c.hidden * c.hidden)), c.hidden));
      Floats bias_ih = by_columns(dynet_gates(numbers(4 * c.hidden)), 1);
      // The builder adds 1 to what the gate f takes.
      for (std::size_t k = c.hidden; k < 2 * c.hidden; ++k) bias_ih[k] -= 1;
      lstm.params[l][2].set_value(bias_ih);
      bias_hh.push_back(parameters.add_parameters({unsigned(4 * c.hidden)}));
      bias_hh[l].set_value(by_columns(dynet_gates(numbers(4 * c.hidden)), 1));
    }
    weight.set_value(by_columns(numbers(c.head * c.hidden), c.hidden));
    bias.set_value(by_columns(numbers(c.head), 1));
  }

  /// What the head makes of all time steps, as a batch of T * B.
  Expression forward(ComputationGraph& graph, const std::vector<Floats>& x, const Dim& step) {
    lstm.new_graph(graph);
    for (std::size_t l = 0; l < bias_hh.size(); ++l) {
      lstm.param_vars[l][2] = lstm.param_vars[l][2] + dynet::parameter(graph, bias_hh[l]);
    }
    lstm.start_new_sequence();
    std::vector<Expression> h;
    for (const Floats& x_t : x) h.push_back(lstm.add_input(dynet::input(graph, step, &x_t)));
    return dynet::affine_transform({dynet::parameter(graph, bias), dynet::parameter(graph, weight),
                                    dynet::concatenate_to_batch(h)});
  }
};

/// Adam whose epsilon stands beside the corrected root, as in torch: DyNet's beside the raw one.
struct Adam : dynet::AdamTrainer {
  using AdamTrainer::AdamTrainer;

  void step() {
    epsilon = 1e-8f * std::sqrt(1 - std::pow(beta_2, float(++steps)));
    update();
  }
  int steps = 0;
};

void measure(const bench::Options& options, const bench::Cell& c) {
  LSTMAndHead model(c);
  Adam adam(model.parameters, 1e-3f);
  adam.clip_threshold = 5;
  const std::size_t rows = c.steps * c.batch, width = c.batch * c.input;
  const std::vector<double> numbers = bench::numbers(bench::input_tensor, c.steps * width, 1);
  std::vector<Floats> x;
  for (auto from = numbers.begin(); from != numbers.end(); from += std::ptrdiff_t(width)) {
    x.emplace_back(from, from + std::ptrdiff_t(width));
  }
  const std::vector<std::int32_t> ids = bench::ids(bench::target_tensor, rows, c.head);
  const std::vector<unsigned> classes(ids.begin(), ids.end());
  const Floats values = by_columns(bench::numbers(bench::target_tensor, rows, 1), 1);
  const Dim step({unsigned(c.input)}, unsigned(c.batch)), row({1}, unsigned(rows));

  const auto infer = [&] {
    ComputationGraph graph;
    return double(graph.forward(model.forward(graph, x, step)).v[0]);
  };
  const auto train = [&] {
    ComputationGraph graph;
    const Expression y = model.forward(graph, x, step);
    const Expression loss = dynet::mean_batches(
        c.head > 1 ? dynet::pickneglogsoftmax(y, &classes)
                   : dynet::squared_distance(y, dynet::input(graph, row, &values)));
    const double value = dynet::as_scalar(graph.forward(loss));
    graph.backward(loss);
    adam.step();
    return value;
  };
  bench::measure(options, c, infer, train);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Options options = bench::options(argc, argv, bench::lstm_cells);
  if (options.float64 || options.threads > 1 || options.mode == bench::Mode::composed) {
    bench::fail("DyNet has float32 and one thread");
  }
  dynet::DynetParams settings;
  settings.random_seed = 1;
  settings.mem_descriptor = "2048";  // MiB
  dynet::initialize(settings);
  bench::print_head(options);
  for (const bench::Cell& c : options.cells) measure(options, c);
}
