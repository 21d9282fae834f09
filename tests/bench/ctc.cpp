// What the CTC loss costs, forward and backward, from logits. tests/peers/ctc_torch.py computes the
// same losses of the same numbers in PyTorch.
//
//   build/release/ctc [--threads 1] [--passes 40]
//
// A line for each size: result {json}, milliseconds, the median and the least.

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "bench.h"

using namespace tapegrad;

int main(int argc, char** argv) {
  std::size_t passes = 40, threads = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    const std::size_t value = std::strtoul(argv[i + 1], nullptr, 10);
    if (option == "--passes") passes = value;
    if (option == "--threads") threads = value;
  }
  set_threads(threads);
  struct Size {
    std::size_t steps, batch, classes, labels;
  };
  for (const auto& [T, B, C, S] : {Size{50, 16, 20, 10}, Size{150, 32, 30, 30},
                                   Size{500, 8, 100, 60}, Size{1000, 16, 5000, 60}}) {
    const std::vector<double> numbers = bench::numbers(bench::input_tensor, T * B * C, 2);
    Parameter logits(Tensor::from({T, B, C}, numbers).to(DType::float32));
    std::vector<std::int32_t> ids = bench::ids(bench::target_tensor, S * B, C - 1);
    for (std::int32_t& id : ids) ++id;  // 0 is the blank
    const Tensor targets = Tensor::from({S, B}, ids);
    std::vector<double> ms;
    double loss = 0;
    while (ms.size() < passes) {
      const auto begin = std::chrono::steady_clock::now();
      logits.zero_grad();
      Tape tape;
      const Var l = ctc_loss(tape.leaf(logits), targets, {}, {});
      tape.backward(l);
      loss = l.item();
      const auto end = std::chrono::steady_clock::now();
      ms.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
    }
    fmt::print(R"(result {{"T":{},"B":{},"C":{},"S":{},"loss":{:.5g},"ms":{:.3f},"best":{:.3f}}})"
               "\n",
               T, B, C, S, loss, bench::median(ms), std::ranges::min(ms));
  }
}
