// Who is speaking? A bidirectional LSTM tells nine speakers apart by two vowels, each utterance 7 to
// 29 steps of 12 cepstrum coefficients (Kudo, Toyama and Shimbo 1999), in batches with `lengths`.
//
// The data are the UCI archive's "Japanese Vowels" in the format of sktime: 270 utterances to learn
// from, 370 to test. Units, batch, passes and clipping are those of MathWorks' LSTM example for these
// data, the rate is Adam's usual one. There is no validation: the weights after the last pass count.
//
//   command:            build/release/japanese_vowels --data FOLDER
//   expected last line: result {"program":"japanese_vowels","accuracy":0.97..., ...}
//   exit status:        1 if fewer than 95 % of the test utterances are recognised

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data.h"
#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

constexpr std::size_t channels = 12;
constexpr double bound = 0.95;
constexpr const char* source =
    "the folder with JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts, from "
    "https://www.timeseriesclassification.com/description.php?Dataset=JapaneseVowels";

struct Options {
  std::string data;
  std::size_t hidden = 100, batch = 27, epochs = 100;
  double lr = 1e-3, dropout = 0.3, clip = 1;
  CommonOptions common;
};

struct Utterances {
  std::vector<Tensor> sequences;       // (T, C) each
  std::vector<std::int32_t> speakers;  // ids
};
using Ids = std::map<std::string, std::int32_t, std::less<>>;

std::vector<std::string_view> split_at(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t end; (end = text.find(separator)) != text.npos; text.remove_prefix(end + 1))
    parts.push_back(text.substr(0, end));
  parts.push_back(text);
  return parts;
}

/// Reads utterances, one a line behind "@data": channels with a colon between them, each the numbers
/// of all steps with commas between them, and the speaker's label, which gets the next id in
/// `speakers`.
Utterances read_utterances(const std::string& folder, const char* name, Ids& speakers) {
  const std::string path = folder.empty() ? "" : folder + "/" + name;
  const std::string text = read_data(path, source);
  Utterances read;
  bool in_data = false;
  std::size_t number = 0;
  for (std::string_view line : split_at(text, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!std::exchange(in_data, in_data || line == "@data") || line.empty()) continue;
    const auto require = [&](bool holds) {
      if (!holds)
        throw WrongUse(fmt::format(
            "{}, line {}: is to be {} channels of one length and a speaker, as in 0.5,1:2,3:Kudo",
            path, number, channels));
    };
    std::vector<std::string_view> fields = split_at(line, ':');
    const std::string_view speaker = fields.back();
    fields.pop_back();
    require(fields.size() == channels);
    const std::size_t steps = split_at(fields[0], ',').size();
    Tensor sequence = Tensor::empty({steps, channels});
    float* const elements = sequence.mutable_data<float>();
    for (std::size_t c = 0; c < channels; ++c) {
      const std::vector<std::string_view> values = split_at(fields[c], ',');
      require(values.size() == steps);
      for (std::size_t t = 0; t < steps; ++t) {
        const char* const end = values[t].data() + values[t].size();
        float& element = elements[t * channels + c];
        const auto [stop, error] = std::from_chars(values[t].data(), end, element);
        require(error == std::errc{} && stop == end && std::isfinite(element));
      }
    }
    read.sequences.push_back(sequence);
    read.speakers.push_back(
        speakers.try_emplace(std::string(speaker), static_cast<std::int32_t>(speakers.size()))
            .first->second);
  }
  if (read.sequences.empty()) throw WrongUse(path + ": has no utterances behind a line @data");
  return read;
}

struct Model {
  LSTM lstm;
  Dropout dropout;
  Linear head;

  Model(std::size_t speakers, const Options& o, Rng& rng)
      : lstm({.input = channels, .hidden = o.hidden, .bidirectional = true}, rng),
        dropout{o.dropout},
        head(lstm.output(), speakers, rng) {}

  void visit(auto&& v) {
    v("lstm", lstm);
    v("dropout", dropout);
    v("head", head);
  }

  /// Returns logits (B, speakers).
  Var operator()(Tape& tape, const PaddedSequences& x) const {
    const LSTMState first = lstm.zero_state(x.lengths.numel());
    const auto [y, last] = lstm(tape, x.values, first, x.lengths);
    return head(tape, dropout(tape, lstm.last_output(last)));
  }
};

int classify(const Options& o) {
  set_threads(o.common.threads);
  Ids speakers;
  const Utterances train = read_utterances(o.data, "JapaneseVowels_TRAIN.ts", speakers);
  const std::size_t known = speakers.size();
  const Utterances test = read_utterances(o.data, "JapaneseVowels_TEST.ts", speakers);
  for (const auto& [speaker, id] : speakers)
    if (static_cast<std::size_t>(id) >= known)
      throw WrongUse(fmt::format("{}: the speaker '{}' to test is not in JapaneseVowels_TRAIN.ts",
                                 o.data, speaker));

  Rng rng(o.common.seed);
  Model model(known, o, rng);
  Adam adam(parameters(model), {.lr = o.lr});
  Progress progress(o.common.quiet);
  const Stopwatch clock;
  Batches batches(train.sequences.size(), o.batch, {.shuffle = o.common.seed});
  TrainingLoop loop;
  const auto step = [&](const std::vector<std::size_t>& chosen) {
    Tape tape = Tape::training({.seed = o.common.seed, .pass = loop.step()});
    const Var logits = model(tape, pad_sequences(train.sequences, chosen));
    std::vector<std::int32_t> ids;
    for (const std::size_t k : chosen) ids.push_back(train.speakers[k]);
    const Var loss = cross_entropy(logits, Tensor::from({ids.size()}, ids));
    adam.zero_grad();
    tape.backward(loss);
    adam.step({.clip_norm = o.clip});
    return loss.item();
  };
  check_end(loop.run(o.epochs, batches, step, progress));

  const std::size_t n = test.sequences.size();
  Tape tape = Tape::inference();
  Accuracy counted;
  counted.add(model(tape, pad_sequences(test.sequences)).value(), Tensor::from({n}, test.speakers));
  std::ptrdiff_t most = 0;
  for (const std::int32_t speaker : test.speakers) {
    most = std::max(most, std::ranges::count(test.speakers, speaker));
  }
  const double accuracy = counted.value(), seconds = clock.seconds(),
               baseline = static_cast<double>(most) / static_cast<double>(n);
  print(
      fmt::format("{} utterances to learn from, {} to test, {} speakers; {} weights, {:.1f} s\n"
                  "test accuracy: {:.1f} %\n"
                  "  always the most frequent speaker: {:.1f} %\n"
                  "  published: LSTM 79.7 %, dynamic time warping 94.9 %, ROCKET 96.2 %\n",
                  train.sequences.size(), n, known, parameters(model).count(), seconds,
                  100 * accuracy, 100 * baseline));
  if (accuracy < bound) print(fmt::format("MISSED: the bound is {:.0f} %\n", 100 * bound));
  print_result({{"program", "japanese_vowels"},
                {"accuracy", accuracy},
                {"bound", bound},
                {"baseline", baseline},
                {"published_lstm", 0.797},
                {"seconds", seconds},
                {"epochs", o.epochs},
                {"seed", o.common.seed}});
  return accuracy < bound ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CommandLine line("Tells speakers apart by utterances of different lengths.", "japanese_vowels");
  line.footer("Example: japanese_vowels --data japanese_vowels");
  line.option("--data", options.data, fmt::format("Public data: {}", source));
  line.option("--hidden", options.hidden, "Units of a direction", 1, 10'000);
  line.option("--batch", options.batch, "Utterances side by side", 1, 10'000);
  line.option("--epochs", options.epochs, "Passes over the training utterances", 1, 1'000'000);
  line.option("--lr", options.lr, "Learning rate", positive());
  line.option("--dropout", options.dropout, "Probability that a feature is dropped in training",
              below_one());
  line.option("--clip", options.clip, "Largest norm of the gradient", positive());
  line.options(options.common);
  return line.run(argc, argv, [&] { return classify(options); });
}
