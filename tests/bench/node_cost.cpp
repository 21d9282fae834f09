// What one node costs: a chain of tiny operations, x = tanh(x w + b), recorded, differentiated and
// destroyed. One line: result {json}, nanoseconds a node, medians over passes. (w = 1 and b = 0, so
// that gradients neither vanish into subnormal numbers, which are slow, nor grow.)
//
//   build/release/node_cost [--size 1] [--nodes 3000] [--passes 400] [--mode training|inference]
//
// tests/bench/node_cost.sh runs it beside PyTorch's C++ eager mode on the same chain, and counts
// instructions with callgrind.

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "bench.h"

using namespace tapegrad;

namespace {

double now() {
  using clock = std::chrono::steady_clock;
  return std::chrono::duration<double, std::nano>(clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t size = 1, nodes = 3000, passes = 400;
  bool inference = false;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--size") size = std::stoul(argv[i + 1]);
    if (option == "--nodes") nodes = std::stoul(argv[i + 1]);
    if (option == "--passes") passes = std::stoul(argv[i + 1]);
    if (option == "--mode") inference = std::string_view(argv[i + 1]) == "inference";
  }
  const Parameter w(Tensor::full({size}, 1)), b(Tensor::zeros({size}));
  const Tensor x0 = Tensor::full({size}, 0.5);
  std::vector<double> forward, backward, whole;
  for (std::size_t pass = 0; pass < passes; ++pass) {
    const double begin = now();
    double recorded = 0, differentiated = 0;
    {
      Tape tape = inference ? Tape::inference() : Tape();
      const Var weight = tape.leaf(w), bias = tape.leaf(b);
      Var x = x0;
      for (std::size_t i = 0; i < nodes / 3; ++i) x = tanh(x * weight + bias);
      const Var loss = sum(x);
      recorded = now();
      if (!inference) tape.backward(loss);
      differentiated = now();
    }
    const double per_node = 1 / static_cast<double>(nodes);
    forward.push_back((recorded - begin) * per_node);
    backward.push_back((differentiated - recorded) * per_node);
    whole.push_back((now() - begin) * per_node);
  }
  fmt::print(
      "result {{\"program\":\"node_cost\",\"size\":{},\"nodes\":{},\"forward_ns\":{:.1f},"
      "\"backward_ns\":{:.1f},\"whole_ns\":{:.1f}}}\n",
      size, nodes, bench::median(forward), bench::median(backward), bench::median(whole));
}
