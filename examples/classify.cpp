// Tells texts of several classes apart: an LSTM in both directions reads characters or words.
//
// The data are a folder with a file for each class, a text a line, or a file of lines "label, tab,
// text". A part of each class tests, one validates, the rest is learnt; or another file tests. The
// weights of the epoch that was best in validation count. The floor is the share of the most frequent
// class; beside the LSTM stands naive Bayes on runs of symbols, whose length and smoothing are the best
// in validation.
//
//   family names:       build/release/classify --data names
//   questions (TREC):   build/release/classify --data TREC.train --test TREC.test --separator space
//                         --label-end : --unit words
//   spam in SMS:        build/release/classify --data SMSSpamCollection --header --unit words
//   expected last line: result {"program":"classify","accuracy":0.8..., ...}
//   exit status:        1 if the accuracy is not above the share of the most frequent class

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data.h"
#include "naive_bayes.h"
#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

constexpr const char* source =
    "a folder with a file for each class, or a file of lines \"label, tab, text\"; as "
    "https://download.pytorch.org/tutorial/data.zip (names), "
    "https://cogcomp.seas.upenn.edu/Data/QA/QC (questions), "
    "https://archive.ics.uci.edu/dataset/228 (SMS)";

struct Options {
  std::string data, test, separator = "tab", label_end, unit = "characters";
  bool header = false;
  std::size_t embed = 64, hidden = 96, batch = 64, epochs = 12;
  double lr = 3e-3, dropout = 0.4, clip = 1;
  CommonOptions common;
};

using Symbols = std::vector<std::string>;

/// Texts as symbols, with their labels.
struct Part {
  std::vector<Symbols> texts;
  Tensor labels;  // (n)

  std::size_t size() const { return texts.size(); }
  Part subset(const std::vector<std::size_t>& places) const {
    Part chosen;
    std::vector<std::int32_t> ids;
    for (const std::size_t k : places) {
      chosen.texts.push_back(texts[k]);
      ids.push_back(labels.values<std::int32_t>()[k]);
    }
    chosen.labels = Tensor::from<std::int32_t>({ids.size()}, ids);
    return chosen;
  }
};
struct Data {
  std::vector<std::string> classes;
  Part train, valid, test;
};

LabelledTexts read_texts(const Options& o, const char* option, const std::string& path,
                         const std::vector<std::string>& classes) {
  if (path.empty()) throw WrongUse(fmt::format("--data is needed: {}", source));
  return given_by_user(
      [&] {
        if (std::filesystem::is_directory(path)) return read_class_files(path, ".txt", classes);
        return read_labelled_lines(path, {.separator = o.separator == "tab" ? '\t' : ' ',
                                          .header = o.header,
                                          .label_end = o.label_end,
                                          .classes = classes});
      },
      fmt::format("{} is to be {}; ", option, source));
}

Part as_symbols(const Options& o, const std::string& path, const LabelledTexts& texts) {
  Part part{.labels = texts.labels};
  const auto labels = texts.labels.values<std::int32_t>();
  for (std::size_t n = 0; n < texts.size(); ++n) {
    const std::string& text = texts.texts[n];
    Symbols symbols;
    if (o.unit == "words") {
      symbols = split_words(text);
      if (symbols.empty()) symbols.emplace_back("<unk>");  // of spaces: a text has a step
    } else {
      const std::vector<char32_t> characters =
          given_by_user([&] { return decode_utf8(text); },
                        fmt::format("{}: --unit words takes any text; class '{}': ", path,
                                    texts.classes[static_cast<std::size_t>(labels[n])]));
      for (const char32_t c : characters) symbols.push_back(encode_utf8(c));
    }
    part.texts.push_back(std::move(symbols));
  }
  return part;
}

Data read_parts(const Options& o) {
  const LabelledTexts all = read_texts(o, "--data", o.data, {});
  const std::uint64_t seed = o.common.seed;
  Data data{.classes = all.classes};
  const Part texts = as_symbols(o, o.data, all);
  const auto split = [&](const std::vector<double>& fractions) {
    const auto labels = texts.labels.values<std::int32_t>();
    for (std::size_t c = 0; c < all.classes.size(); ++c) {
      const auto n = std::ranges::count(labels, static_cast<std::int32_t>(c));
      if (n < std::ssize(fractions))
        throw WrongUse(
            fmt::format("{}: class '{}' has {} texts for {} parts: each part needs one; "
                        "leave the class out, or a first line with --header",
                        o.data, all.classes[c], n, fractions.size()));
    }
    return split_stratified(texts.labels, fractions, seed);
  };
  if (o.test.empty()) {
    const auto places = split({0.6, 0.1, 0.3});
    data.train = texts.subset(places[0]), data.valid = texts.subset(places[1]);
    data.test = texts.subset(places[2]);
  } else {
    const auto places = split({0.85, 0.15});
    data.train = texts.subset(places[0]), data.valid = texts.subset(places[1]);
    const LabelledTexts test = read_texts(o, "--test", o.test, all.classes);
    data.test = as_symbols(o, o.test, test);
  }
  return data;
}

/// Logits (B, C) from the LSTM's output at each text's end, and its largest outputs on the way.
struct Classifier {
  Embedding embed;
  Dropout dropout;
  LSTM lstm;
  Linear head;

  Classifier(std::size_t symbols, std::size_t classes, const Options& o, Rng& rng)
      : embed(symbols, o.embed, rng),
        dropout{o.dropout},
        lstm({.input = o.embed, .hidden = o.hidden, .bidirectional = true}, rng),
        head(2 * lstm.output(), classes, rng) {}
  void visit(auto&& v) {
    v("embed", embed);
    v("dropout", dropout);
    v("lstm", lstm);
    v("head", head);
  }
  Var operator()(Tape& tape, const PaddedSequences& x) const {
    const auto& [ids, lengths] = x;
    const Var symbols = dropout(tape, embed(tape, ids, lengths));
    const auto [y, last] = lstm(tape, symbols, lstm.zero_state(lengths.numel()), lengths);
    const Var largest = largest_over_steps(y, lengths);
    return head(tape, dropout(tape, concat({lstm.last_output(last), largest}, 1)));
  }
};

ConfusionMatrix judged(const Classifier& model, const WordVocabulary& vocabulary, const Part& part,
                       std::size_t classes) {
  ConfusionMatrix matrix(classes);
  Batches batches(part.size(), 256);
  for (const auto& places : batches) {
    const Part some = part.subset(places);
    Tape tape = Tape::inference();
    matrix.add(model(tape, vocabulary.encode_batch(some.texts)).value(), some.labels);
  }
  return matrix;
}

/// Trains, and keeps the weights of the epoch that was best in validation.
TrainingEnd learn(Classifier& model, const WordVocabulary& vocabulary, const Data& data,
                  const Options& o) {
  Adam adam(parameters(model), {.lr = o.lr});
  LearningRate lr(adam, schedule::polynomial(1), ScheduleTime::share);
  EarlyStopping best(parameters(model), {.figure = "accuracy", .maximise = true});
  std::vector<std::size_t> lengths;
  for (const Symbols& text : data.train.texts) lengths.push_back(text.size());
  Batches batches = Batches::bucketed(lengths, o.batch, {.shuffle = o.common.seed});
  Progress progress(o.common.quiet);
  const SignalGuard guard;
  TrainingLoop loop;
  const auto step = [&](const std::vector<std::size_t>& places) {
    const Part some = data.train.subset(places);
    Tape tape = Tape::training({.seed = o.common.seed, .pass = loop.step()});
    const Var logits = model(tape, vocabulary.encode_batch(some.texts));
    const Var loss = cross_entropy(logits, some.labels, {.label_smoothing = 0.1});
    adam.zero_grad();
    tape.backward(loss);
    adam.step({.clip_norm = o.clip});
    return StepLoss(loss.item(), static_cast<double>(places.size()));
  };
  const auto evaluate = [&] {
    return Figures{
        {"accuracy", judged(model, vocabulary, data.valid, data.classes.size()).accuracy()}};
  };
  TrainingEnd end = loop.run(o.epochs, batches, step, evaluate, lr, best, progress, guard);
  if (best.has_best()) best.restore();
  return end;
}

/// The scores, in the test, of the naive Bayes that is best in validation.
ConfusionMatrix naive_bayes(const Data& data, std::size_t& order) {
  const std::size_t classes = data.classes.size();
  std::optional<NaiveBayes> best;
  double most = -1;
  const auto features = [](const Part& part, std::size_t n) {
    NaiveBayes::Texts texts;
    for (const Symbols& text : part.texts) texts.push_back(ngrams(text, n));
    return texts;
  };
  const auto matrix = [&](const NaiveBayes& model, const Part& part, std::size_t n) {
    ConfusionMatrix scores(classes);
    scores.add_ids(model.classify(features(part, n)), part.labels);
    return scores;
  };
  for (const std::size_t n : {1U, 2U, 3U, 4U}) {
    for (const double alpha : {0.01, 0.1, 1.0}) {
      NaiveBayes model(features(data.train, n), data.train.labels, classes, alpha);
      const double accuracy = matrix(model, data.valid, n).accuracy();
      if (accuracy <= most) continue;
      most = accuracy, order = n;
      best.emplace(std::move(model));
    }
  }
  return matrix(*best, data.test, order);
}

int run(const Options& o) {
  set_threads(o.common.threads);
  const Data data = read_parts(o);
  const std::size_t classes = data.classes.size();
  // Symbols that were seen once are unknown ones, so that their vector is learnt.
  const WordVocabulary vocabulary(data.train.texts, {.min_count = 2});
  Rng rng(o.common.seed);
  Classifier model(vocabulary.size(), classes, o, rng);
  const Stopwatch clock;
  const TrainingEnd end = learn(model, vocabulary, data, o);
  check_end(end);
  const double seconds = clock.seconds();

  const ConfusionMatrix test = judged(model, vocabulary, data.test, classes);
  double floor = 0;  // of the class that is the most frequent one in training
  {
    ConfusionMatrix seen(classes);
    seen.add_ids(data.train.labels, data.train.labels);
    std::size_t frequent = 0;
    for (std::size_t c = 1; c < classes; ++c)
      if (seen.count(c, c) > seen.count(frequent, frequent)) frequent = c;
    floor = test.of_class(frequent).support / test.count();
  }
  std::size_t order = 0;
  const ConfusionMatrix bayes = naive_bayes(data, order);
  const double ahead = test.accuracy() - bayes.accuracy();
  const bool reached = test.accuracy() > floor;
  print(test.text(data.classes));
  print(
      fmt::format("\n{} texts to learn from, {} to validate, {} to test; {} weights, {:.1f} s\n"
                  "accuracy, test: {:.1f} %, F1 (mean over classes) {:.3f}\n"
                  "  naive Bayes on runs of 1 to {} {}: {:.1f} %, F1 {:.3f}: {} wins\n"
                  "  the most frequent class: {:.1f} %\n",
                  data.train.size(), data.valid.size(), data.test.size(), parameters(model).count(),
                  seconds, 100 * test.accuracy(), test.macro().f1, order, o.unit,
                  100 * bayes.accuracy(), bayes.macro().f1,
                  ahead == 0  ? "neither"
                  : ahead > 0 ? "the LSTM"
                              : "naive Bayes",
                  100 * floor));
  if (!reached)
    print("MISSED: the accuracy should be above the share of the most frequent class\n");
  print_result({{"program", "classify"},
                {"accuracy", test.accuracy()},
                {"precision", test.macro().precision},
                {"recall", test.macro().recall},
                {"f1", test.macro().f1},
                {"naive_bayes", bayes.accuracy()},
                {"naive_bayes_f1", bayes.macro().f1},
                {"baseline", floor},
                {"classes", classes},
                {"seconds", seconds},
                {"seed", o.common.seed}});
  return reached ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CommandLine line("Tells texts of several classes apart.", "classify");
  line.footer("Example: classify --data names --unit characters");
  line.option("--data", options.data, fmt::format("Data: {}", source));
  line.option("--test", options.test, "File that tests, like --data; by default a part of --data");
  line.option("--separator", options.separator, "What follows a label in a line", {"tab", "space"});
  line.option("--label-end", options.label_end, "Text at which a label is cut off");
  line.flag("--header", options.header, "The first line has no text");
  line.option("--unit", options.unit, "Symbols that are read", {"characters", "words"});
  line.option("--embed", options.embed, "Features of a symbol", 1, 10'000);
  line.option("--hidden", options.hidden, "Units of the LSTM in each direction", 1, 10'000);
  line.option("--batch", options.batch, "Texts side by side", 1, 100'000);
  line.option("--epochs", options.epochs, "Passes over the texts", 1, 1'000'000);
  line.option("--lr", options.lr, "Learning rate of Adam at first; it falls to 0", positive());
  line.option("--dropout", options.dropout, "Probability that a feature is dropped in training",
              below_one());
  line.option("--clip", options.clip, "Largest norm of the gradient", positive());
  line.options(options.common);
  return line.run(argc, argv, [&] { return run(options); });
}
