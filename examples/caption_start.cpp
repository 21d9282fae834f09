// Sentences that begin with what is seen: a vector of features, as a picture has them behind a
// network of its own, tells an LSTM what to write. Where does one put it in? As the first state h0, as
// the cell's first state c0, or as a step of its own before the first word, x0 (Vinyals et al. 2015).
//
// The data are made, so that the best is known. One of K pictures is drawn, and its features are its
// place in space and some noise. Its sentence goes round the V words by a step of its own,
//
//   word t+1 = word t + step of the picture (mod V)   with probability 1 - e, else any word
//
// from any first word. Who sees the picture knows that step. Who does not must infer it from the words
// so far, by Bayes' rule. The nats a word of both are computed from the test sentences: a model can
// beat neither, and without features it cannot beat the second.
//
//   command:            build/release/caption_start
//   expected last line: result {"program":"caption_start",...,"starts":[{"start":"h0",...
//   exit status:        1 if a start with features is not within 3 % of the best that is possible

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

constexpr std::size_t pictures = 5, words = 11, features = 6;  // K, V, F
constexpr double slip = 0.2;                                   // e
constexpr double any = slip / words, right = 1 - slip + any;
constexpr double tolerance = 1.03;

struct Options {
  std::size_t steps = 8, hidden = 64, batch = 64, updates = 2000;
  double lr = 5e-3;
  CommonOptions common;
};

struct Batch {
  Tensor features;                    // (B, F)
  Tensor read, write;                 // (T, B): ids, and those one step later
  std::vector<std::size_t> pictures;  // (B)
};

/// The pictures' places in space are those of the seed.
class Pictures {
 public:
  explicit Pictures(std::uint64_t seed) : places_(pictures * features) {
    Rng rng(seed, "pictures");
    for (double& x : places_) x = rng.normal();
  }

  Batch draw(std::size_t steps, std::size_t batch, Rng& rng) const {
    Batch made{Tensor::zeros({batch, features}), Tensor::zeros({steps, batch}, DType::int32),
               Tensor::zeros({steps, batch}, DType::int32), std::vector<std::size_t>(batch)};
    float* const seen = made.features.mutable_data<float>();
    std::int32_t *const read = made.read.mutable_data<std::int32_t>(),
                        *const write = made.write.mutable_data<std::int32_t>();
    for (std::size_t b = 0; b < batch; ++b) {
      const std::size_t picture = made.pictures[b] = rng.below(pictures);
      for (std::size_t f = 0; f < features; ++f) {
        seen[b * features + f] =
            static_cast<float>(places_[picture * features + f] + 0.1 * rng.normal());
      }
      std::size_t word = rng.below(words);
      for (std::size_t t = 0; t < steps; ++t) {
        read[t * batch + b] = static_cast<std::int32_t>(word);
        word = rng.uniform() < slip ? rng.below(words) : (word + step(picture)) % words;
        write[t * batch + b] = static_cast<std::int32_t>(word);
      }
    }
    return made;
  }
  static std::size_t step(std::size_t picture) { return picture + 1; }

 private:
  std::vector<double> places_;  // (K, F)
};

/// Returns the nats a word of the best who sees the pictures, or who does not: Bayes' rule over their
/// steps.
double best_possible(const Batch& test, bool sees) {
  const std::size_t steps = test.read.size(0), batch = test.read.size(1);
  const auto read = test.read.values<std::int32_t>(), write = test.write.values<std::int32_t>();
  double nats = 0;
  for (std::size_t b = 0; b < batch; ++b) {
    std::vector<double> belief(pictures, sees ? 0.0 : 1.0 / pictures);
    if (sees) belief[test.pictures[b]] = 1;
    for (std::size_t t = 0; t < steps; ++t) {
      const auto from = static_cast<std::size_t>(read[t * batch + b]),
                 to = static_cast<std::size_t>(write[t * batch + b]);
      double p = 0;
      for (std::size_t k = 0; k < pictures; ++k) {
        belief[k] *= (from + Pictures::step(k)) % words == to ? right : any;
        p += belief[k];
      }
      for (double& x : belief) x /= p;
      nats -= std::log(p);
    }
  }
  return nats / static_cast<double>(steps * batch);
}

enum class Start { nothing, h0, c0, x0 };

/// Words and, at the start, features in; logits of the next word out.
struct Captioner {
  Start start;
  Embedding embed;
  LSTM lstm;
  Linear seen;  // features to the size of where they are put
  Linear head;

  Captioner(Start s, std::size_t hidden, Rng& rng)
      : start(s),
        embed(words, hidden, rng),
        lstm({.input = hidden, .hidden = hidden}, rng),
        seen(features, hidden, rng),
        head(hidden, words, rng) {
    if (start == Start::nothing) parameters(seen).freeze();
  }
  void visit(auto&& v) {
    v("embed", embed);
    v("lstm", lstm);
    v("seen", seen);
    v("head", head);
  }
  Var loss(Tape& tape, const Batch& batch) const {
    const std::size_t steps = batch.read.size(0), rows = batch.read.size(1);
    Var x = embed(tape, batch.read);
    LSTMState state = lstm.zero_state(rows);
    if (start != Start::nothing) {
      const Var at_start =
          reshape(seen(tape, batch.features), {1, rows, head.weight.value().size(1)});
      if (start == Start::h0) state.h = tanh(at_start);
      if (start == Start::c0) state.c = at_start;
      if (start == Start::x0) x = concat({at_start, x}, 0);
    }
    const Var y = lstm(tape, x, state).y;
    return cross_entropy(head(tape, slice(y, 0, y.size(0) - steps, y.size(0))), batch.write);
  }
};

double learn(const Options& o, Start start, const char* name, const Pictures& data,
             const Batch& test) {
  Rng rng(o.common.seed), fresh(o.common.seed, "train");
  Captioner model(start, o.hidden, rng);
  Adam adam(parameters(model));
  Progress progress(o.common.quiet);
  for (std::size_t update = 0; update < o.updates && SignalGuard::received() == 0; ++update) {
    Tape tape = Tape::training({.seed = o.common.seed, .pass = update});
    const Var loss = model.loss(tape, data.draw(o.steps, o.batch, fresh));
    adam.zero_grad();
    tape.backward(loss);
    // Falls to nothing, so that no noise of the last batches is left.
    const double left = 1 - static_cast<double>(update) / static_cast<double>(o.updates);
    adam.set_learning_rate(o.lr * left);
    adam.step({.clip_norm = 1});
    if (progress.due())
      progress.show(fmt::format("{}  update {}  loss {:.4f}", name, update, loss.item()));
  }
  progress.clear();
  Tape tape = Tape::inference();
  return model.loss(tape, test).item();
}

int compare(const Options& o) {
  set_threads(o.common.threads);
  const Pictures data(o.common.seed);
  Rng rng(o.common.seed, "test");
  const Batch test = data.draw(o.steps, 4000, rng);
  const double seeing = best_possible(test, true), blind = best_possible(test, false);
  print(fmt::format("nats a word: best who sees the picture {:.4f}, best who does not {:.4f}\n",
                    seeing, blind));
  const SignalGuard guard;
  std::vector<Json> results;
  bool missed = false;
  for (const auto& [start, name] : {std::pair(Start::nothing, "nothing"),
                                    {Start::h0, "h0"},
                                    {Start::c0, "c0"},
                                    {Start::x0, "x0"}}) {
    if (SignalGuard::received() != 0) break;
    const Stopwatch clock;
    const double nats = learn(o, start, name, data, test), seconds = clock.seconds();
    const double best = start == Start::nothing ? blind : seeing;
    print(fmt::format("{:<8}{:>8.4f}  {:>5.1f} % above its best  {:.1f} s\n", name, nats,
                      100 * (nats / best - 1), seconds));
    missed = missed || (start != Start::nothing && !(nats <= tolerance * seeing));  // nor if NaN
    results.push_back(
        Json::Fields{{"start", name}, {"nats", nats}, {"best", best}, {"seconds", seconds}});
  }
  if (missed) print("MISSED: features are to bring it within 3 % of the best\n");
  print_result({{"program", "caption_start"},
                {"seeing", seeing},
                {"blind", blind},
                {"starts", results},
                {"seed", o.common.seed}});
  return missed ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CommandLine line("Writes sentences about pictures whose features are h0, c0 or x0 of an LSTM.",
                   "caption_start");
  line.footer("Example: caption_start --steps 12");
  line.option("--steps", options.steps, "Words of a sentence, T", 1, 1000);
  line.option("--hidden", options.hidden, "Hidden units, H", 1, 1000);
  line.option("--batch", options.batch, "Sentences of an update, B", 1, 10'000);
  line.option("--updates", options.updates, "Updates", 1, 10'000'000);
  line.option("--lr", options.lr, "Learning rate of Adam at the start", positive());
  line.options(options.common);
  return line.run(argc, argv, [&] { return compare(options); });
}
