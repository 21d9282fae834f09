// What sequences of a recurrent layer cost beside each other, forward and backward, float32: a batch
// whose lengths leave half its steps as padding beside the full one; both directions beside one
// layer that is run twice; minGRU beside LSTM. One line each: result {json}, milliseconds, medians
// of passes that alternate, and the ratio of the first to the second.
//
//   build/release/sequences [--steps 100] [--batch 32] [--hidden 128] [--passes 31] [--threads 1]

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "bench.h"

using namespace tapegrad;

namespace {

struct Sizes {
  std::size_t steps = 100, batch = 32, hidden = 128, passes = 31;
};

using Pass = std::function<Var(Tape&)>;  // to what is summed as the loss

double milliseconds(const Pass& pass, const Parameters& parameters) {
  const auto begin = std::chrono::steady_clock::now();
  {
    Tape tape = Tape::training({.seed = 1, .pass = 0});
    tape.backward(sum(pass(tape)));
  }
  const auto end = std::chrono::steady_clock::now();
  parameters.zero_grad();
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

void compare(std::string_view what, const Sizes& s, const Pass& first, const Pass& second,
             const Parameters& parameters) {
  std::vector<double> a, b;
  for (std::size_t k = 0; k < s.passes + 2; ++k) {
    const double x = milliseconds(first, parameters), y = milliseconds(second, parameters);
    if (k >= 2) a.push_back(x), b.push_back(y);
  }
  fmt::print(R"(result {{"compared":"{}","steps":{},"batch":{},"hidden":{},"first_ms":{:.4f},)"
             R"("second_ms":{:.4f},"ratio":{:.3f}}})"
             "\n",
             what, s.steps, s.batch, s.hidden, bench::median(a), bench::median(b),
             bench::median(a) / bench::median(b));
}

struct Layers {
  LSTM lstm, both;
  MinGRU min_gru;

  void visit(auto&& v) {
    v("lstm", lstm);
    v("both", both);
    v("min_gru", min_gru);
  }
};

}  // namespace

int main(int argc, char** argv) {
  Sizes s;
  set_threads(1);
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    const std::size_t value = std::strtoul(argv[i + 1], nullptr, 10);
    if (option == "--steps") s.steps = value;
    if (option == "--batch") s.batch = value;
    if (option == "--hidden") s.hidden = value;
    if (option == "--passes") s.passes = value;
    if (option == "--threads") set_threads(value);
  }
  Rng rng(1, "sequences");
  const std::size_t H = s.hidden;
  Layers layers{LSTM({.input = H, .hidden = H}, rng),
                LSTM({.input = H, .hidden = H, .bidirectional = true}, rng),
                MinGRU(MinGRUCell({.input = H, .hidden = H}, rng))};
  const Parameters all = parameters(layers);
  const Tensor x = rng.normal({s.steps, s.batch, H}, 0, 1, DType::float32);
  // Lengths from 1 to T, so that half of all steps are valid, in no order.
  Tensor lengths = Tensor::zeros({s.batch}, DType::int32);
  for (std::size_t b = 0; b < s.batch; ++b) {
    const std::size_t place = b * 7 % s.batch;  // a permutation unless 7 divides B
    lengths.mutable_data<std::int32_t>()[b] = static_cast<std::int32_t>(
        std::clamp<std::size_t>((2 * place + 1) * s.steps / (2 * s.batch), 1, s.steps));
  }

  const LSTMState zero = layers.lstm.zero_state(s.batch);
  const Pass once = [&](Tape& tape) { return layers.lstm(tape, x).y; };
  compare(
      "full batch, half of it padding", s, once,
      [&](Tape& tape) { return layers.lstm(tape, x, zero, lengths).y; }, all);
  compare(
      "both directions, one layer twice", s, [&](Tape& tape) { return layers.both(tape, x).y; },
      [&](Tape& tape) {
        return concat({once(tape), once(tape)}, 2);
      },
      all);
  compare(
      "LSTM, minGRU", s, once, [&](Tape& tape) { return layers.min_gru(tape, x).y; }, all);
}
