// Polyphonic music: which of 88 keys sound in the next frame of a Bach chorale? A recurrent network
// with 88 sigmoid outputs, chorales of different lengths in one batch, the loss masked behind the
// end of each (Boulanger-Lewandowski, Bengio and Vincent 2012).
//
// Reported is the negative log likelihood a frame, in nats: the sum over the keys, the mean over all
// frames of the test chorales but their first, with the weights of the best validation. Published
// are those of Bai, Kolter and Koltun 2018 (arXiv:1803.01271); the baseline takes each key's
// frequency in training for its probability.
//
//   command:            build/release/jsb_chorales --data jsb-chorales-quarter.json --layer lstm
//   expected last line: result {"program":"jsb_chorales","layer":"lstm","nll_test":8.4..., ...}
//   exit status:        1 if that is more than 3 % above the published one

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "data.h"
#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

constexpr std::size_t keys = 88, lowest = 21;
constexpr const char* source =
    "the file jsb-chorales-quarter.json of https://github.com/czhuang/JSB-Chorales-dataset";

struct Options {
  std::string data, layer = "lstm";
  std::size_t hidden = 200, batch = 8, epochs = 80;
  double lr = 5e-3, dropout = 0.3, clip = 1;
  CommonOptions common;
};

/// Returns the chorales of a part, each a piano roll (T, 88) of 0 and 1.
std::vector<Tensor> piano_rolls(FrameLists& parts, const std::string& part,
                                const std::string& path) {
  std::vector<Tensor> rolls;
  for (const auto& frames : parts[part]) {
    Tensor roll = Tensor::zeros({frames.size(), keys});
    for (std::size_t t = 0; t < frames.size(); ++t) {
      Tensor frame = roll.row(t);
      for (const double note : frames[t]) {
        if (!(note >= lowest && note < lowest + keys && note == std::floor(note)))
          throw WrongUse(fmt::format("{}: {} is no MIDI note in [21, 108]", path, note));
        frame.mutable_data<float>()[static_cast<std::size_t>(note) - lowest] = 1;
      }
    }
    if (frames.size() < 2)
      throw WrongUse(fmt::format("{}: a chorale of \"{}\" has fewer than 2 frames", path, part));
    rolls.push_back(roll);
  }
  if (rolls.empty()) throw WrongUse(fmt::format("{}: has no chorales \"{}\"", path, part));
  return rolls;
}

/// What a network reads, all frames but the last, and what it is to predict, all but the first.
struct Batch {
  PaddedSequences inputs;
  Tensor targets;  // (T, B, 88)
};
Batch make_batch(const std::vector<Tensor>& rolls, const std::vector<std::size_t>& chosen) {
  std::vector<Tensor> inputs, targets;
  for (const std::size_t k : chosen) {
    inputs.push_back(rolls[k].slice(0, rolls[k].size(0) - 1));
    targets.push_back(rolls[k].slice(1, rolls[k].size(0)));
  }
  return {pad_sequences(inputs), pad_sequences(targets).values};
}

template <class Layer>
struct Model {
  Dropout dropout;
  Layer layer;
  Linear head;

  Model() = default;
  Model(const Options& o, Rng& rng)
      : dropout{o.dropout},
        layer({.input = keys, .hidden = o.hidden}, rng),
        head(o.hidden, keys, rng) {}
  void visit(auto&& v) {
    v("dropout", dropout);
    v("layer", layer);
    v("head", head);
  }

  /// Returns the negative log likelihood a frame.
  Var loss(Tape& tape, const Batch& batch) const {
    const auto& [x, lengths] = batch.inputs;
    const auto first = layer.zero_state(lengths.numel());
    const auto [y, last] = layer(tape, x, first, lengths);
    const Var logits = head(tape, dropout(tape, y));
    return keys * bce_with_logits(logits, batch.targets,
                                  {.weights = valid_steps(lengths, logits.shape())});
  }
};

template <class Layer>
double evaluate(const Model<Layer>& model, const std::vector<Tensor>& rolls) {
  Tape tape = Tape::inference();
  Batches all(rolls.size(), rolls.size());
  return model.loss(tape, make_batch(rolls, *all.begin())).item();
}

/// The loss of the keys' frequencies in training, where each has one count of either kind more.
double baseline(const std::vector<Tensor>& train, const std::vector<Tensor>& test) {
  const auto counted = [](const std::vector<Tensor>& rolls, std::vector<double>& on) {
    double frames = 0;
    for (const Tensor& roll : rolls) {
      for (std::size_t k = keys; k < roll.numel(); ++k) on[k % keys] += roll.at(k);
      frames += static_cast<double>(roll.size(0) - 1);
    }
    return frames;
  };
  std::vector<double> on_train(keys), on_test(keys);
  const double n_train = counted(train, on_train), n_test = counted(test, on_test);
  double loss = 0;
  for (std::size_t k = 0; k < keys; ++k) {
    const double p = (on_train[k] + 1) / (n_train + 2), on = on_test[k] / n_test;
    loss -= on * std::log(p) + (1 - on) * std::log1p(-p);
  }
  return loss;
}

template <class Layer>
int learn(const Options& o, double published) {
  set_threads(o.common.threads);
  FrameLists lists = parse_frame_lists(read_data(o.data, source), o.data);
  const std::vector<Tensor> train = piano_rolls(lists, "train", o.data),
                            valid = piano_rolls(lists, "valid", o.data),
                            test = piano_rolls(lists, "test", o.data);
  Rng rng(o.common.seed);
  Model<Layer> model(o, rng);
  Adam adam(parameters(model), {.lr = o.lr});
  LearningRate lr(adam, schedule::polynomial(static_cast<double>(o.epochs)), ScheduleTime::epochs);
  EarlyStopping best(parameters(model));
  Batches batches(train.size(), o.batch, {.shuffle = o.common.seed});
  Progress progress(o.common.quiet);
  const Stopwatch clock;
  TrainingLoop loop;
  const auto step = [&](const std::vector<std::size_t>& chosen) {
    Tape tape = Tape::training({.seed = o.common.seed, .pass = loop.step()});
    const Var loss = model.loss(tape, make_batch(train, chosen));
    adam.zero_grad();
    tape.backward(loss);
    adam.step({.clip_norm = o.clip});
    return loss.item();
  };
  const auto validate = [&] { return Figures{{"valid", evaluate(model, valid)}}; };
  check_end(loop.run(o.epochs, batches, step, validate, lr, best, progress));
  best.restore();

  const double nll = evaluate(model, test), frequencies = baseline(train, test),
               seconds = clock.seconds();
  const double bound = 1.03 * published;
  print(
      fmt::format("{} chorales to learn from, {} to validate, {} to test; {} weights, {:.1f} s\n"
                  "negative log likelihood a frame, test: {:.3f} (validation: {:.3f})\n"
                  "  frequencies of the keys: {:.3f}\n"
                  "  published: {:.2f}\n",
                  train.size(), valid.size(), test.size(), parameters(model).count(), seconds, nll,
                  best.best(), frequencies, published));
  const bool reached = nll <= bound;
  if (!reached)
    print(fmt::format("MISSED: the bound is {:.3f}, 3 % above the published one\n", bound));
  print_result({{"program", "jsb_chorales"},
                {"layer", o.layer},
                {"nll_test", nll},
                {"nll_valid", best.best()},
                {"bound", bound},
                {"baseline", frequencies},
                {"published", published},
                {"seconds", seconds},
                {"epochs", o.epochs},
                {"seed", o.common.seed}});
  return reached ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CommandLine line("Predicts the next frame of Bach chorales.", "jsb_chorales");
  line.footer("Example: jsb_chorales --data jsb-chorales-quarter.json --layer gru");
  line.option("--data", options.data, fmt::format("Public data: {}", source));
  line.option("--layer", options.layer, "lstm, gru or rnn (tanh)", {"lstm", "gru", "rnn"});
  line.option("--hidden", options.hidden, "Hidden units", 1, 10'000);
  line.option("--batch", options.batch, "Chorales side by side", 1, 10'000);
  line.option("--epochs", options.epochs, "Passes over the training chorales", 1, 1'000'000);
  line.option("--lr", options.lr, "Learning rate at first; it falls to 0 linearly", positive());
  line.option("--dropout", options.dropout,
              "Probability that an output of the layer is dropped in training", below_one());
  line.option("--clip", options.clip, "Largest norm of the gradient", positive());
  line.options(options.common);
  return line.run(argc, argv, [&] {
    if (options.layer == "gru") return learn<GRU>(options, 8.43);
    if (options.layer == "rnn") return learn<RNN>(options, 8.91);
    return learn<LSTM>(options, 8.45);
  });
}
