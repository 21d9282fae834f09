#pragma once

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "program.h"

/// A contest of recurrent layers: which of them learn a task whose data are drawn, and how fast?
namespace examples {

using namespace tapegrad;  // NOLINT(google-build-using-namespace): an example reads like a user

struct ContestOptions {
  std::size_t steps, hidden, batch, updates, check = 100;
  double lr, clip = 1;
  std::string layer = "all";
  CommonOptions common;
};

/// Adds the options of a contest to a command line, with the defaults that `o` has.
inline void add_options(CommandLine& line, ContestOptions& o, std::size_t least_steps) {
  line.option("--steps", o.steps, "Length of the task, T", least_steps, 2000);
  line.option("--layer", o.layer, "Layers that take part",
              {"all", "lstm", "gru", "tanh", "mingru"});
  line.option("--hidden", o.hidden, "Hidden units, H", 1, 1000);
  line.option("--batch", o.batch, "Sequences of an update, B", 1, 10'000);
  line.option("--updates", o.updates, "Updates after which a layer gives up", 1, 10'000'000);
  line.option("--check", o.check, "Updates from one test to the next", 1, 10'000'000);
  line.option("--lr", o.lr, "Learning rate of Adam", positive());
  line.option("--clip", o.clip, "Largest norm of the gradient", positive());
  line.options(o.common);
}

/// A recurrent layer, and a Linear over its output at every step.
template <class Layer>
struct Contestant {
  Layer layer;
  Linear head;

  Contestant(std::size_t input, std::size_t hidden, std::size_t output, Rng& rng)
      : layer(make(input, hidden, rng)), head(hidden, output, rng) {}
  void visit(auto&& v) {
    v("layer", layer);
    v("head", head);
  }
  /// x (T, B, I) -> (T - begin, B, O), without the first steps' output.
  Var operator()(Tape& tape, const Var& x, std::size_t begin) const {
    return head(tape, slice(layer(tape, x).y, 0, begin, x.size(0)));
  }

 private:
  static Layer make(std::size_t input, std::size_t hidden, Rng& rng) {
    if constexpr (std::same_as<Layer, MinGRU>) {
      return MinGRU(MinGRUCell({.input = input, .hidden = hidden}, rng));
    } else {
      return Layer({.input = input, .hidden = hidden}, rng);
    }
  }
};

/// What a layer has reached: `error` on sequences that it never learned from.
struct Outcome {
  std::string layer;
  bool solved;
  std::size_t updates;
  double error, seconds;
};

/// A task to learn, anything that has
///
///   input(), output()          features of a step, I and O
///   draw(batch, rng)           a batch of fresh sequences
///   loss(tape, model, batch)   what is to become small, by model(tape, x, begin)
///   baseline(), bound()        the best loss without memory; that below which the task is solved
///   published                  what others reached, in words
template <class Task>
class Contest {
 public:
  Contest(const Task& task, const ContestOptions& options, std::size_t test_size)
      : task_(task), o_(options) {
    Rng rng(o_.common.seed, "test");
    test_ = task_.draw(test_size, rng);
  }

  /// Runs the layers chosen, one after the other, and prints a line for each. Begins none after a
  /// signal.
  std::vector<Outcome> run() const {
    print(fmt::format("{:<7}{:>10}{:>12}{:>14}{:>10}\n", "", "updates", "sequences", "loss",
                      "seconds"));
    std::vector<Outcome> outcomes;
    const auto take = [&]<class Layer>(std::type_identity<Layer>, const char* name) {
      const bool chosen = o_.layer == "all" || o_.layer == name;
      if (chosen && SignalGuard::received() == 0) outcomes.push_back(learn<Layer>(name));
    };
    take(std::type_identity<LSTM>(), "lstm");
    take(std::type_identity<GRU>(), "gru");
    take(std::type_identity<RNN>(), "tanh");
    take(std::type_identity<MinGRU>(), "mingru");
    return outcomes;
  }

 private:
  template <class Layer>
  Outcome learn(const char* name) const {
    Rng rng(o_.common.seed), data(o_.common.seed, "train");
    Contestant<Layer> model(task_.input(), o_.hidden, task_.output(), rng);
    Adam adam(parameters(model), {.lr = o_.lr});
    Progress progress(o_.common.quiet);
    const Stopwatch clock;
    std::size_t update = 0;
    double error = 0;
    for (bool over = false; !over;) {
      Tape tape = Tape::training({.seed = o_.common.seed, .pass = update});
      const Var loss = task_.loss(tape, model, task_.draw(o_.batch, data));
      adam.zero_grad();
      tape.backward(loss);
      adam.step({.clip_norm = o_.clip});
      over = ++update == o_.updates || SignalGuard::received() != 0;
      if (over || update % o_.check == 0) {
        Tape inference = Tape::inference();
        error = task_.loss(inference, model, test_).item();
        over = over || error < task_.bound();
      }
      if (progress.due())
        progress.show(fmt::format("{}  update {}  loss {:.5f}", name, update, loss.item()));
    }
    progress.clear();
    const Outcome made{name, error < task_.bound(), update, error, clock.seconds()};
    print(fmt::format("{:<7}{:>10}{:>12}{:>14.6f}{:>10.1f}{:>10}\n", name, update,
                      update * o_.batch, error, made.seconds, made.solved ? "solved" : "not"));
    return made;
  }

  Task task_;
  ContestOptions o_;
  decltype(std::declval<Task>().draw(1, std::declval<Rng&>())) test_;
};

/// Runs a contest on 1000 sequences to test, prints its result, and returns the exit status: 1 if the
/// LSTM or the GRU took part without solving the task.
template <class Task>
int compare(const char* program, const Task& task, const ContestOptions& o) {
  set_threads(o.common.threads);
  print(fmt::format("T = {}; without memory {:.6f}, solved below {:.6f}\npublished: {}\n", o.steps,
                    task.baseline(), task.bound(), Task::published));
  const SignalGuard guard;
  std::string missed;
  std::vector<Json> layers;
  for (const Outcome& made : Contest(task, o, 1000).run()) {
    const bool expected = made.layer == "lstm" || made.layer == "gru";
    if (expected && !made.solved) missed += (missed.empty() ? "" : ", ") + made.layer;
    layers.push_back(Json::Fields{{"layer", made.layer},
                                  {"solved", made.solved ? 1 : 0},
                                  {"updates", made.updates},
                                  {"loss", made.error},
                                  {"seconds", made.seconds}});
  }
  if (!missed.empty())
    print(fmt::format("MISSED: not solved by {}; more --updates may help\n", missed));
  print_result({{"program", program},
                {"steps", o.steps},
                {"hidden", o.hidden},
                {"batch", o.batch},
                {"baseline", task.baseline()},
                {"bound", task.bound()},
                {"layers", layers},
                {"seed", o.common.seed}});
  return missed.empty() ? 0 : 1;
}

}  // namespace examples
