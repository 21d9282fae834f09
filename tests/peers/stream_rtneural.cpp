// stream_step.cpp in RTNeural (static model, Eigen): the same cells, numbers, options and output. A
// pass is a block of 64 samples. compare.py compiles it against headers of RTNeural and Eigen.

#include <RTNeural/RTNeural.h>

#include <cmath>
#include <string>

#include "../bench/bench.h"

namespace {

/// Rows of a matrix (rows, columns) of the benchmark, transposed as RTNeural wants them.
std::vector<std::vector<float>> transposed(const std::vector<double>& matrix, std::size_t columns) {
  std::vector<std::vector<float>> x(columns);
  for (std::size_t k = 0; k < matrix.size(); ++k) x[k % columns].push_back(float(matrix[k]));
  return x;
}

template <int hidden>
void measure(const bench::Options& options, const bench::Cell& c) {
  RTNeural::ModelT<float, 1, 1, RTNeural::LSTMLayerT<float, 1, hidden>,
                   RTNeural::DenseT<float, hidden, 1>>
      model;
  std::uint32_t n = bench::first_parameter;
  const auto parameter = [&](std::size_t count) {
    return bench::numbers(n++, count, 1 / std::sqrt(double(hidden)));
  };
  auto& lstm = model.template get<0>();
  lstm.setWVals(transposed(parameter(4 * hidden), 1));
  lstm.setUVals(transposed(parameter(4 * hidden * hidden), hidden));
  const std::vector<double> bias_ih = parameter(4 * hidden), bias_hh = parameter(4 * hidden);
  std::vector<float> bias;
  for (std::size_t k = 0; k < bias_ih.size(); ++k) bias.push_back(float(bias_ih[k] + bias_hh[k]));
  lstm.setBVals(bias);
  auto& head = model.template get<1>();
  const std::vector<double> weight = parameter(hidden);
  head.setWeights(std::vector<std::vector<float>>{{weight.begin(), weight.end()}});
  const float head_bias = float(parameter(1)[0]);
  head.setBias(&head_bias);
  model.reset();

  constexpr std::size_t blocks = 64;
  const std::vector<double> numbers = bench::numbers(bench::input_tensor, blocks * c.steps, 1);
  const std::vector<float> x(numbers.begin(), numbers.end());
  std::size_t block = 0;
  bench::measure(options, c, [&] {
    const float* samples = &x[block++ % blocks * c.steps];
    float squares = 0;
    for (std::size_t t = 0; t < c.steps; ++t) {
      const float y = model.forward(samples + t);
      squares += y * y;
    }
    return double(squares) / double(c.steps);
  });
}

/// Sizes are known when this is compiled.
template <int... hidden>
void measure_any(const bench::Options& options, const bench::Cell& c) {
  const bool found = ((c.hidden == hidden && (measure<hidden>(options, c), true)) || ...);
  if (!found) bench::fail("no model of that size: " + c.name);
}

}  // namespace

int main(int argc, char** argv) {
  bench::Options options = bench::options(argc, argv, bench::stream_cells);
  options.mode = bench::Mode::forward;
  bench::print_head(options);
  for (const bench::Cell& c : options.cells) measure_any<8, 16, 24, 32, 40, 64, 512>(options, c);
}
