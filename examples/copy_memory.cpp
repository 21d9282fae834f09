// Copy memory (Hochreiter and Schmidhuber 1997; as Arjovsky, Shah and Bengio 2016 pose the task): ten
// symbols of eight, T blanks, the last of which says "now", and then the ten symbols are to be
// written down in order. Before that, blanks are. A network without memory does best by giving each
// symbol one eighth: a cross entropy of 10 ln 8 / (T + 20) a step. To be solved, the task takes
// half of that, so that symbols must have been remembered.
//
// LSTM, GRU, a tanh network and minGRU, each with the same number of units, see the same fresh
// sequences. minGRU's gates see its input alone, so that a layer of it cannot count how many symbols
// came before.
//
//   command:            build/release/copy_memory --steps 10
//   expected last line: result {"program":"copy_memory",...,"layers":[{"layer":"lstm",...
//   exit status:        1 if the LSTM or the GRU does not solve it

#include <tapegrad/tapegrad.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "memory_task.h"
#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

constexpr std::size_t symbols = 8, length = 10;
constexpr std::int32_t blank = symbols, now = symbols + 1;

struct Copying {
  std::size_t steps;  // T

  struct Batch {
    Tensor x;    // (T + 20, B, 10): one-hot
    Tensor ids;  // (T + 20, B)
  };
  static constexpr std::size_t input() { return symbols + 2; }
  static constexpr std::size_t output() { return symbols + 1; }
  std::size_t all_steps() const { return steps + 2 * length; }
  /// Returns the cross entropy of the best answer without memory.
  double baseline() const {
    return length * std::log(double{symbols}) / static_cast<double>(all_steps());
  }
  double bound() const { return baseline() / 2; }
  static constexpr const char* published =
      "at T = 1000 LSTM 0.0204, GRU 0.0197, tanh 0.0202, where 0.0204 is without memory (Bai, "
      "Kolter "
      "and Koltun 2018)";

  Batch draw(std::size_t batch, Rng& rng) const {
    Batch made{Tensor::zeros({all_steps(), batch, input()}),
               Tensor::full({all_steps(), batch}, blank, DType::int32)};
    float* const x = made.x.mutable_data<float>();
    std::int32_t* const ids = made.ids.mutable_data<std::int32_t>();
    for (std::size_t t = 0; t < all_steps(); ++t) {
      for (std::size_t b = 0; b < batch; ++b) {
        std::int32_t shown = t + 1 == length + steps ? now : blank;
        if (t < length) {
          shown = static_cast<std::int32_t>(rng.below(symbols));
          ids[(length + steps + t) * batch + b] = shown;
        }
        x[(t * batch + b) * input() + static_cast<std::size_t>(shown)] = 1;
      }
    }
    return made;
  }
  Var loss(Tape& tape, const auto& model, const Batch& batch) const {
    return cross_entropy(model(tape, batch.x, 0), batch.ids);
  }
};

}  // namespace

int main(int argc, char** argv) {
  ContestOptions options{.steps = 10, .hidden = 64, .batch = 50, .updates = 10'000, .lr = 1e-2};
  CommandLine line("Compares recurrent layers on copying symbols after a while.", "copy_memory");
  line.footer("Example: copy_memory --steps 30 --layer gru");
  add_options(line, options, 1);
  return line.run(argc, argv,
                  [&] { return compare("copy_memory", Copying{options.steps}, options); });
}
