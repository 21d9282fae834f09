// stream_step.cpp in RTNeural (static model, Eigen): the same cells, numbers, options and output. A
// pass is a block of 64 samples. compare.py compiles it against headers of RTNeural and Eigen.

#include <RTNeural/RTNeural.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "../bench/bench.h"

namespace {

/// Rows of a matrix (rows, columns) of the benchmark, transposed as RTNeural wants them. A GRU's
/// first two of three blocks change places: r, z, n here, z, r, n there.
std::vector<std::vector<float>> transposed(std::vector<double> matrix, std::size_t columns,
                                           bool gru) {
  const auto block = static_cast<std::ptrdiff_t>(matrix.size() / 3);
  if (gru) std::swap_ranges(matrix.begin(), matrix.begin() + block, matrix.begin() + block);
  std::vector<std::vector<float>> x(columns);
  for (std::size_t k = 0; k < matrix.size(); ++k) x[k % columns].push_back(float(matrix[k]));
  return x;
}

template <int hidden, bool gru>
void measure(const bench::Options& options, const bench::Cell& c) {
  using Layer = std::conditional_t<gru, RTNeural::GRULayerT<float, 1, hidden>,
                                   RTNeural::LSTMLayerT<float, 1, hidden>>;
  constexpr std::size_t rows = (gru ? 3 : 4) * hidden;
  RTNeural::ModelT<float, 1, 1, Layer, RTNeural::DenseT<float, hidden, 1>> model;
  std::uint32_t n = bench::first_parameter;
  const auto parameter = [&](std::size_t count) {
    return bench::numbers(n++, count, 1 / std::sqrt(double(hidden)));
  };
  auto& recurrent = model.template get<0>();
  recurrent.setWVals(transposed(parameter(rows), 1, gru));
  recurrent.setUVals(transposed(parameter(rows * hidden), hidden, gru));
  const auto bias_ih = transposed(parameter(rows), 1, gru)[0];
  const auto bias_hh = transposed(parameter(rows), 1, gru)[0];
  if constexpr (gru) {
    recurrent.setBVals({bias_ih, bias_hh});
  } else {
    std::vector<float> bias(rows);
    std::transform(bias_ih.begin(), bias_ih.end(), bias_hh.begin(), bias.begin(), std::plus());
    recurrent.setBVals(bias);
  }
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
template <bool gru, int... hidden>
void measure_any(const bench::Options& options, const bench::Cell& c) {
  const bool found = ((c.hidden == hidden && (measure<hidden, gru>(options, c), true)) || ...);
  if (!found) bench::fail("no model of that size: " + c.name);
}

}  // namespace

int main(int argc, char** argv) {
  bench::Options options = bench::options(argc, argv, bench::stream_cells, {"lstm", "gru"});
  options.mode = bench::Mode::forward;
  bench::print_head(options);
  for (const bench::Cell& c : options.cells) {
    options.layer == "gru" ? measure_any<true, 8, 16, 24, 32, 40, 64, 512>(options, c)
                           : measure_any<false, 8, 16, 24, 32, 40, 64, 512>(options, c);
  }
}
