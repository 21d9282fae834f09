// The adding problem (Hochreiter and Schmidhuber 1997): which recurrent layers can carry a number
// over many steps? A sequence has T steps of two numbers, a value in [0, 1) and a marker, which is 1
// at one step of either half, else 0. Asked for at the end: the sum of the two marked values. Its
// variance, 1/6, is the mean square error of the best constant answer; a layer has solved the
// problem when its own, on 1000 sequences that it never learns from, is below a hundredth of that.
//
// LSTM, GRU, a tanh network and minGRU, each with the same number of units, see the same fresh
// sequences.
//
//   command:            build/release/adding_problem --steps 100
//   expected last line: result {"program":"adding_problem",...,"layers":[{"layer":"lstm",...
//   exit status:        1 if the LSTM or the GRU does not solve it

#include <tapegrad/tapegrad.h>

#include "memory_task.h"
#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

struct Adding {
  std::size_t steps;  // T

  struct Batch {
    Tensor x;       // (T, B, 2)
    Tensor target;  // (1, B, 1)
  };
  static constexpr std::size_t input() { return 2; }
  static constexpr std::size_t output() { return 1; }
  static constexpr double baseline() { return 1.0 / 6; }
  static constexpr double bound() { return baseline() / 100; }
  static constexpr const char* published =
      "LSTM solves T = 200 and 300, fails at 400 (RIN paper, 100 units); at T = 600 GRU 5e-5, LSTM "
      "0.164 (TCN paper)";

  Batch draw(std::size_t batch, Rng& rng) const {
    Batch made{Tensor::zeros({steps, batch, 2}), Tensor::zeros({1, batch, 1})};
    float *const x = made.x.mutable_data<float>(), *const sum = made.target.mutable_data<float>();
    for (std::size_t k = 0; k < steps * batch; ++k) x[2 * k] = static_cast<float>(rng.uniform());
    for (std::size_t b = 0; b < batch; ++b) {
      const std::size_t half = steps / 2, first = rng.below(half);
      for (const std::size_t t : {first, half + rng.below(steps - half)}) {
        float* const step = x + 2 * (t * batch + b);
        step[1] = 1;
        sum[b] += step[0];
      }
    }
    return made;
  }
  Var loss(Tape& tape, const auto& model, const Batch& batch) const {
    return mse(model(tape, batch.x, steps - 1), batch.target);
  }
};

}  // namespace

int main(int argc, char** argv) {
  ContestOptions options{.steps = 100, .hidden = 64, .batch = 50, .updates = 10'000, .lr = 2e-3};
  CommandLine line("Compares recurrent layers on the adding problem.", "adding_problem");
  line.footer("Example: adding_problem --steps 200");
  add_options(line, options, 2);
  return line.run(argc, argv,
                  [&] { return compare("adding_problem", Adding{options.steps}, options); });
}
