// What vanishing gradients cost: backward of an LSTM whose loss is that of the last step only (many
// to one), beside a loss at every step. Gradients vanish on the way back, and on Intel processors
// arithmetic with subnormal numbers takes many times as long, unless they are flushed to 0. One line
// for the fused LSTM and one for the loop over lstm_cell(): result {json}, milliseconds, medians.
//
//   build/release/lstm_many_to_one [--steps 1000] [--batch 16] [--hidden 128] [--passes 9]

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "bench.h"

using namespace tapegrad;

namespace {

/// Milliseconds of one backward pass.
double backward_ms(LSTM& model, const Tensor& x, bool fused, bool last_step_only) {
  Tape tape = Tape::training({.seed = 1, .pass = 0});
  const LSTMState state = model.zero_state(x.size(1));
  const LSTMResult r = fused ? model(tape, x, state) : model.composed(tape, x, state);
  const Var loss = last_step_only ? sum(r.last.h) : sum(r.y);
  const auto begin = std::chrono::steady_clock::now();
  tape.backward(loss);
  const auto end = std::chrono::steady_clock::now();
  parameters(model).zero_grad();
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t steps = 1000, batch = 16, hidden = 128, passes = 9;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    const std::size_t value = std::strtoul(argv[i + 1], nullptr, 10);
    if (option == "--steps") steps = value;
    if (option == "--batch") batch = value;
    if (option == "--hidden") hidden = value;
    if (option == "--passes") passes = value;
  }
  Rng rng(1, "lstm_many_to_one");
  LSTM model({.input = hidden, .hidden = hidden}, rng);
  const Tensor x = rng.normal({steps, batch, hidden}, 0, 1, DType::float32);
  for (const bool fused : {true, false}) {
    std::vector<double> every, last;
    for (std::size_t pass = 0; pass < passes; ++pass) {  // alternating: the machine may be busy
      every.push_back(backward_ms(model, x, fused, false));
      last.push_back(backward_ms(model, x, fused, true));
    }
    fmt::print(R"(result {{"lstm":"{}","steps":{},"batch":{},"hidden":{},"every_step_ms":{:.2f},)"
               R"("last_step_ms":{:.2f},"ratio":{:.2f}}})"
               "\n",
               fused ? "fused" : "composed", steps, batch, hidden, bench::median(every),
               bench::median(last), bench::median(last) / bench::median(every));
  }
}
