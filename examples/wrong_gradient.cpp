// A gradient written by hand, and its test: a tanh network over T steps, on plain arrays, without a
// tape. `--mistake` puts one of four classical mistakes into its backward pass; the checker finds it
// and says what kind it is.
//
//   command:            build/release/wrong_gradient --mistake averaged
//   expected last line: result {"program":"wrong_gradient", ..., "verdict":"FAIL", ...
//   exit status:        1 if a right gradient fails or a wrong one passes

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "program.h"

using namespace tapegrad;

namespace {

struct Options {
  std::size_t steps = 20, hidden = 3;
  std::string mistake = "averaged";
  examples::CommonOptions common;
};

/// h_t = tanh(x_t + W h_{t-1}), and the loss: the mean over the steps of 1/2 |h_t|^2.
struct Network {
  std::size_t steps, hidden;
  std::vector<double> x, W;  // (T, H) and (H, H)

  std::vector<double> states() const {  // (T + 1, H), from h_0 = 0 on
    std::vector<double> h((steps + 1) * hidden, 0.0);
    for (std::size_t t = 1; t <= steps; ++t) {
      for (std::size_t i = 0; i < hidden; ++i) {
        double a = x[(t - 1) * hidden + i];
        for (std::size_t j = 0; j < hidden; ++j) a += W[i * hidden + j] * h[(t - 1) * hidden + j];
        h[t * hidden + i] = std::tanh(a);
      }
    }
    return h;
  }

  double loss() const {
    double sum = 0;
    for (const double h : states()) sum += h * h / 2;
    return sum / static_cast<double>(steps);
  }

  /// dW, right unless a mistake is named.
  std::vector<double> backward(const std::string& mistake) const {
    const std::vector<double> h = states();
    std::vector<double> dW(W.size(), 0.0), carried(hidden, 0.0);
    for (std::size_t t = steps; t >= 1; --t) {
      std::vector<double> da(hidden), next(hidden, 0.0);
      for (std::size_t i = 0; i < hidden; ++i) {
        const double h_i = h[t * hidden + i];
        da[i] = (h_i / static_cast<double>(steps) + carried[i]) * (1 - h_i * h_i);
      }
      for (std::size_t i = 0; i < hidden; ++i) {
        for (std::size_t j = 0; j < hidden; ++j) {
          const double share = da[i] * h[(t - 1) * hidden + j];
          double& sum = dW[mistake == "transposed" ? j * hidden + i : i * hidden + j];
          sum = mistake == "assigned" ? share : sum + share;
          next[j] += W[i * hidden + j] * da[i];
        }
      }
      carried = next;
    }
    const double factor = mistake == "averaged"  ? 1 / static_cast<double>(steps)
                          : mistake == "negated" ? -1
                                                 : 1;
    for (double& d : dW) d *= factor;
    return dW;
  }
};

int show(const Options& options) {
  Network net{options.steps, options.hidden, {}, {}};
  Rng rng(options.common.seed);
  const auto random = [&](std::size_t rows, double deviation) {
    const Tensor numbers = rng.normal({rows, options.hidden}, 0, deviation, DType::float64);
    const auto values = numbers.values<double>();
    return std::vector<double>(values.begin(), values.end());
  };
  net.x = random(options.steps, 0.5);
  net.W = random(options.hidden, 0.5);

  const std::vector<double> dW = net.backward(options.mistake);
  const GradcheckReport report = gradcheck(
      [&] { return net.loss(); }, {grad_block("W", net.W, dW, {options.hidden, options.hidden})},
      {.sizes = {{"T", options.steps}, {"H", options.hidden}}});
  fmt::print("{}\n", report.text());
  const bool right = options.mistake == "none";
  examples::print_result({{"program", "wrong_gradient"},
                          {"mistake", options.mistake},
                          {"verdict", to_string(report.verdict)},
                          {"diagnosis", report.blocks[0].diagnosis}});
  return report.verdict == (right ? Verdict::pass : Verdict::fail) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  examples::CommandLine line("Checks a gradient written by hand, with or without a mistake in it.",
                             "wrong_gradient");
  line.footer("Example: wrong_gradient --mistake assigned --steps 5");
  line.option("--steps", options.steps, "Length of the sequence, T", 2, 1000);
  line.option("--hidden", options.hidden, "Hidden units, H", 2, 20);
  line.option("--mistake", options.mistake,
              "none; averaged: divided by T; assigned: = for +=; transposed; negated",
              {"none", "averaged", "assigned", "transposed", "negated"});
  line.options(options.common);
  return line.run(argc, argv, [&] { return show(options); });
}
