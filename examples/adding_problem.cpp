// The adding problem (Hochreiter and Schmidhuber 1997): which recurrent layers can carry a number
// over many steps? A sequence has T steps of two numbers, a value in [0, 1) and a marker, which is 1
// at one step of either half, else 0. Asked for at the end: the sum of the two marked values. Its
// variance, 1/6, is the mean square error of the best constant answer; a layer has solved the
// problem when its own, on 1000 sequences that it never learns from, is below a hundredth of that.
//
// LSTM, GRU and a tanh network, each with the same number of units, see the same fresh sequences.
//
//   command:            build/release/adding_problem --steps 100
//   expected last line: result {"program":"adding_problem",...,"layers":[{"layer":"LSTM",...
//   exit status:        1 if the LSTM or the GRU does not solve it

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <string>
#include <vector>

#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

constexpr double variance = 1.0 / 6, bound = variance / 100;

struct Options {
  std::size_t steps = 100, hidden = 64, batch = 50, updates = 10'000, check = 100;
  double lr = 2e-3, clip = 1;
  CommonOptions common;
};

struct Task {
  Tensor x;       // (T, B, 2)
  Tensor target;  // (B, 1)
};

Task draw(std::size_t steps, std::size_t batch, Rng& rng) {
  Task task{Tensor::zeros({steps, batch, 2}), Tensor::zeros({batch, 1})};
  float *const x = task.x.mutable_data<float>(), *const target = task.target.mutable_data<float>();
  for (std::size_t k = 0; k < steps * batch; ++k) x[2 * k] = static_cast<float>(rng.uniform());
  for (std::size_t b = 0; b < batch; ++b) {
    const std::size_t half = steps / 2, first = rng.below(half);
    for (const std::size_t t : {first, half + rng.below(steps - half)}) {
      float* const step = x + 2 * (t * batch + b);
      step[1] = 1;
      target[b] += step[0];
    }
  }
  return task;
}

/// A recurrent layer, and a number at the end of each sequence.
template <class Layer>
struct Adder {
  Layer layer;
  Linear head;

  Adder(std::size_t hidden, Rng& rng)
      : layer({.input = 2, .hidden = hidden}, rng), head(hidden, 1, rng) {}
  void visit(auto&& v) {
    v("layer", layer);
    v("head", head);
  }
  Var loss(Tape& tape, const Task& task) const {
    const auto [y, last] = layer(tape, task.x);
    return mse(head(tape, layer.last_output(last)), task.target);
  }
};

struct Outcome {
  bool solved;
  Json result;
};

template <class Layer>
Outcome learn(const Options& o, const char* name) {
  Rng rng(o.common.seed), data(o.common.seed, "train"), held_out(o.common.seed, "test");
  const Task test = draw(o.steps, 1000, held_out);
  Adder<Layer> model(o.hidden, rng);
  Adam adam(parameters(model), {.lr = o.lr});
  Progress progress(o.common.quiet);
  const Stopwatch clock;
  std::size_t update = 0;
  double error = 0;
  do {
    Tape tape = Tape::training({.seed = o.common.seed, .pass = update});
    const Var loss = model.loss(tape, draw(o.steps, o.batch, data));
    adam.zero_grad();
    tape.backward(loss);
    adam.step({.clip_norm = o.clip});
    if (++update % o.check == 0 || update == o.updates) {
      Tape inference = Tape::inference();
      error = model.loss(inference, test).item();
      if (error < bound) break;
    }
    if (progress.due())
      progress.show(
          fmt::format("{}  update {}  mean square error {:.5f}", name, update, loss.item()));
  } while (update < o.updates);
  progress.clear();
  const bool solved = error < bound;
  const double seconds = clock.seconds();
  print(fmt::format("{:<5}{:>10}{:>12}{:>14.6f}{:>10.1f}{:>10}\n", name, update, update * o.batch,
                    error, seconds, solved ? "solved" : "not"));
  return {solved, Json::Fields{{"layer", name},
                               {"solved", solved ? 1 : 0},
                               {"updates", update},
                               {"mse", error},
                               {"seconds", seconds}}};
}

int compare(const Options& o) {
  set_threads(o.common.threads);
  print(fmt::format("T = {}; variance {:.6f}, solved below {:.6f}\n", o.steps, variance, bound));
  print(
      fmt::format("{:<5}{:>10}{:>12}{:>14}{:>10}\n", "", "updates", "sequences", "MSE", "seconds"));
  const Outcome lstm = learn<LSTM>(o, "LSTM"), gru = learn<GRU>(o, "GRU"),
                rnn = learn<RNN>(o, "tanh");
  const bool solved = lstm.solved && gru.solved;
  if (!solved) print("MISSED: LSTM and GRU are to solve it; more --updates help\n");
  print_result({{"program", "adding_problem"},
                {"steps", o.steps},
                {"hidden", o.hidden},
                {"batch", o.batch},
                {"baseline", variance},
                {"bound", bound},
                {"layers", std::vector<Json>{lstm.result, gru.result, rnn.result}},
                {"seed", o.common.seed}});
  return solved ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CommandLine line("Compares LSTM, GRU and tanh network on the adding problem.", "adding_problem");
  line.footer("Example: adding_problem --steps 200");
  line.option("--steps", options.steps, "Length of the sequences, T", 2, 1000);
  line.option("--hidden", options.hidden, "Hidden units, H", 1, 1000);
  line.option("--batch", options.batch, "Sequences of an update, B", 1, 10'000);
  line.option("--updates", options.updates, "Updates after which a layer gives up", 1, 10'000'000);
  line.option("--check", options.check, "Updates from one test to the next", 1, 10'000'000);
  line.option("--lr", options.lr, "Learning rate of Adam", positive());
  line.option("--clip", options.clip, "Largest norm of the gradient", positive());
  line.options(options.common);
  return line.run(argc, argv, [&] { return compare(options); });
}
