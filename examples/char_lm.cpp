// A character language model: an LSTM that learns to write like a text, by truncated
// backpropagation through time.
//
//   char_lm train FILE        learns FILE, writes a model
//   char_lm sample MODEL      lets a model write
//   char_lm quickstart FILE   in about a minute: n-grams to compare with, text before and after
//
// FILE is any text. The first 90 % train, the last 10 % validate; the model kept is the one with
// the lowest validation loss. Losses are in nats per character. The text meant for quickstart is
// the King James Bible of Debian's package bible-kjv: `bible -f gen1:1-rev22:21 > kjv.txt`.
//
//   command:            build/release/char_lm quickstart kjv.txt
//   expected last line: result {"program":"char_lm quickstart", ..., "loss_valid":1.4, ...}
//   exit status:        1 if quickstart's validation loss is not below the 5-gram's

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "char_lm_model.h"
#include "ngram.h"
#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

struct TrainOptions {
  std::string text, out = "char_lm.safetensors", unit = "characters";
  CharLMSizes model{.vocabulary = 0, .embed = 64, .hidden = 256, .layers = 1, .dropout = 0};
  std::size_t batch = 32, seq = 64;
  std::size_t epochs = 0, steps = 0;  // 0: no limit, but 5 epochs if there is none at all
  double seconds = 0;
  std::string optimizer = "adam", schedule = "linear";
  double lr = 4e-3, clip = 5;
  CommonOptions common;
};

struct Data {
  CharVocabulary vocabulary;
  Tensor train, valid;  // ids
};

Data read_data(const TrainOptions& options) {
  const std::string text = given_by_user([&] { return read_text_file(options.text); });
  const bool bytes = options.unit == "bytes";
  CharVocabulary vocabulary = given_by_user(
      [&] { return CharVocabulary(text, bytes ? TextUnit::bytes : TextUnit::characters); },
      options.text + ": --unit bytes takes any file; ");
  const Tensor ids = vocabulary.encode(text);
  if (ids.numel() < 20)
    throw WrongUse(fmt::format("{}: has {} {}; at least 20 are needed to train and to validate",
                               options.text, ids.numel(), options.unit));
  auto [train, valid] = split_in_time(ids, 0.1);
  return {std::move(vocabulary), train, valid};
}

std::unique_ptr<Optimizer> make_optimizer(const TrainOptions& options, CharLM& model) {
  if (options.optimizer == "sgd")
    return std::make_unique<SGD>(parameters(model), SGDOptions{.lr = options.lr});
  return std::make_unique<Adam>(parameters(model), AdamOptions{.lr = options.lr});
}

/// The part of the budget that is used up: 0 at the beginning, 1 at the end. The first limit that
/// is reached counts.
double budget_used(const TrainOptions& options, std::size_t step, std::size_t steps_per_epoch,
                   double seconds) {
  double used = 0;
  const auto limit = [&](double now, double end) {
    if (end > 0) used = std::max(used, now / end);
  };
  limit(seconds, options.seconds);
  limit(static_cast<double>(step), static_cast<double>(options.steps));
  limit(static_cast<double>(step), static_cast<double>(options.epochs * steps_per_epoch));
  return used;
}

struct Trained {
  double loss_train = 0;  // smoothed: the mean at first, then over the last hundred steps or so
  double loss_valid = std::numeric_limits<double>::infinity();
  std::size_t steps = 0, characters = 0;
  double seconds = 0;  // of training, without validation

  void add(double loss, std::size_t targets) {
    ++steps;
    characters += targets;
    loss_train += std::max(0.01, 1 / static_cast<double>(steps)) * (loss - loss_train);
  }
};

/// Trains until the budget, counted from `clock`'s start, is used up, or a signal asks to stop.
/// Whenever an epoch ends, and at the end, the model is validated, and written to `options.out` if
/// it is the best so far; that one is what `model` is in the end. Throws std::runtime_error if there
/// was no time for a single step: a file that was there must not pass for the result.
Trained train(CharLM& model, const Data& data, const TrainOptions& options,
              const Stopwatch& clock) {
  const StreamWindows windows =
      given_by_user([&] { return StreamWindows(data.train, options.seq, options.batch); },
                    options.text + ": too short for this --batch and --seq: ");
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(options, model);
  const double clip = options.clip > 0 ? options.clip : std::numeric_limits<double>::infinity();
  Progress progress(options.common.quiet);
  TrainingLinter linter(parameters(model));
  const SignalGuard guard;
  Trained result;
  CharLM best;
  const double used_before = budget_used(options, 0, windows.size(), clock.seconds());
  double used = used_before, validated = used_before;
  while (used < 1 && SignalGuard::received() == 0) {
    TruncatedBPTT bptt(model.lstm.zero_state(options.batch), {.k1 = options.seq});
    for (const auto& [x, y, first] : windows) {
      const Stopwatch step;
      Tape tape = Tape::training({.seed = options.common.seed, .pass = result.steps});
      linter.watch(tape);
      Var loss = cross_entropy(bptt(tape, model, x), y);
      optimizer->zero_grad();
      tape.backward(loss);
      const GradNorm norm = clip_grad_norm(optimizer->parameters(), clip);
      if (options.schedule == "linear") optimizer->set_learning_rate(options.lr * (1 - used));
      optimizer->step();
      for (const std::string& mistake : linter.end_step()) say(mistake);

      result.add(loss.item(), y.numel());
      result.seconds += step.seconds();
      used = budget_used(options, result.steps, windows.size(), clock.seconds());
      if (progress.due())
        progress.show(fmt::format(
            "epoch {:.2f}  step {}  loss {:.3f}  |gradient| {:.2f}  {:.0f} chars/s  {:.0f} s "
            "left",
            static_cast<double>(result.steps) / static_cast<double>(windows.size()), result.steps,
            result.loss_train, norm.before, static_cast<double>(result.characters) / result.seconds,
            std::max(0.0, result.seconds * (1 - used) / (used - used_before))));
      if (used >= 1 || SignalGuard::received() != 0) break;
    }

    // Epochs over a short text are short too.
    if (used < 1 && SignalGuard::received() == 0 && used - validated < 0.05) continue;
    validated = used;
    const double loss_valid = evaluate(model, data.valid);
    if (!std::isfinite(loss_valid))
      throw NonFiniteError(fmt::format(
          "[train] the validation loss is {} after {} steps: it must be finite; a lower "
          "--lr helps",
          loss_valid, result.steps));
    if (loss_valid < result.loss_valid) {
      result.loss_valid = loss_valid;
      best = clone(model);
      save(options.out, model, options.model, data.vocabulary);
    }
  }
  if (result.steps == 0)
    throw std::runtime_error(fmt::format(
        "no model was made: there was no time for a single step (--seconds {})", options.seconds));
  parameters(model).copy_values(parameters(best));
  progress.clear();
  if (const char* signal = SignalGuard::name())
    say(fmt::format("{} after {} steps: what was learned is in {}", signal, result.steps,
                    options.out));
  return result;
}

Json::Fields as_json(const char* program, const TrainOptions& options, const Data& data,
                     CharLM& model, const Trained& trained) {
  return {{"program", program},
          {"loss_train", trained.loss_train},
          {"loss_valid", trained.loss_valid},
          {"steps", trained.steps},
          {"seconds", trained.seconds},
          {"characters_per_second", static_cast<double>(trained.characters) / trained.seconds},
          {"parameters", parameters(model).count()},
          {"vocabulary", data.vocabulary.size()},
          {"seed", options.common.seed},
          {"threads", threads()},
          {"model", options.out}};
}

/// Without any limit, a few epochs.
void set_default_limit(TrainOptions& options) {
  if (options.epochs == 0 && options.steps == 0 && options.seconds == 0) options.epochs = 5;
}

int run_train(TrainOptions options) {
  const Stopwatch clock;
  set_default_limit(options);
  const Data data = read_data(options);
  set_threads(options.common.threads);
  Rng rng(options.common.seed);
  options.model.vocabulary = data.vocabulary.size();
  CharLM model(options.model, rng);
  const Trained trained = train(model, data, options, clock);
  print_result(as_json("char_lm train", options, data, model, trained));
  return 0;
}

struct SampleOptions {
  std::string model, prompt;
  std::size_t length = 500;
  double temperature = 0.8;
  CommonOptions common;
};

int run_sample(const SampleOptions& options) {
  set_threads(options.common.threads);
  const LoadedCharLM loaded = given_by_user([&] { return load(options.model); });
  Rng rng(options.common.seed, "sample");
  const std::string prompt =
      options.prompt.empty() ? default_prompt(loaded.vocabulary) : options.prompt;
  const Stopwatch clock;
  const std::string text = given_by_user([&] {
    return sample(loaded.model, loaded.vocabulary, prompt, options.length, options.temperature,
                  rng);
  });
  const double seconds = clock.seconds();
  print(fmt::format("{}{}\n", options.prompt, text));
  print_result({{"program", "char_lm sample"},
                {"characters", options.length},
                {"seconds", seconds},
                {"temperature", options.temperature},
                {"seed", options.common.seed}});
  return 0;
}

void print_sample(const char* when, std::size_t length, const CharLM& model, const Data& data,
                  const TrainOptions& options) {
  Rng rng(options.common.seed, "sample");
  const std::string prompt = line_start(data.vocabulary, data.valid);
  const std::string text = sample(model, data.vocabulary, prompt, length, 0.8, rng);
  print(fmt::format("\nThe LSTM {} training goes on after \"{}\":\n----\n{}{}\n----\n", when,
                    prompt, prompt, text));
  std::fflush(stdout);
}

int run_quickstart(TrainOptions options, const std::string& program) {
  const Stopwatch clock;
  set_default_limit(options);
  const Data data = read_data(options);
  set_threads(options.common.threads);
  // A short text cannot fill the batch: shorter streams, fewer of them.
  while (options.batch * options.seq >= data.train.numel())
    (options.batch > 1 ? options.batch : options.seq) /= 2;

  print(fmt::format("{}\n{}: {} characters, {} different ones; the last {} are for validation\n",
                    describe_machine(), options.text, data.train.numel() + data.valid.numel(),
                    data.vocabulary.size(), data.valid.numel()));
  const std::vector<double> ngrams =
      ngram_losses(data.train.values<std::int32_t>(), data.valid.values<std::int32_t>(),
                   data.vocabulary.size(), 6);
  print(fmt::format("\nn-grams, counted in {:.1f} s; validation loss in nats per character:\n",
                    clock.seconds()));
  for (std::size_t k = 0; k < ngrams.size(); ++k)
    print(fmt::format("  order {}  {:.4f}\n", k + 1, ngrams[k]));

  Rng rng(options.common.seed);
  options.model.vocabulary = data.vocabulary.size();
  CharLM model(options.model, rng);
  print_sample("before", 200, model, data, options);
  print(fmt::format("\nTraining {} weights: hidden {}, batch {}, windows of {} steps\n",
                    parameters(model).count(), options.model.hidden, options.batch, options.seq));
  std::fflush(stdout);
  const Trained trained = train(model, data, options, clock);
  print_sample("after", 400, model, data, options);

  const double bound = ngrams[4];
  const bool better = trained.loss_valid < bound;
  print(fmt::format(
      "\nValidation loss, nats per character: LSTM {:.4f}, 5-gram {:.4f}, 6-gram {:.4f}\n",
      trained.loss_valid, bound, ngrams[5]));
  print(fmt::format("{}\n",
                    better ? "The LSTM is better than the 5-gram."
                           : "MISSED: the LSTM is not better than the 5-gram. It takes more time "
                             "(--seconds), or, for a short text, --hidden 64 --dropout 0.3."));
  print(fmt::format("\nMade: {}\nTry next:\n", options.out));
  print(fmt::format("  {} sample {} --prompt {} --temperature 0.5\n", shell_word(program),
                    shell_word(options.out), shell_word(line_start(data.vocabulary, data.valid))));
  print(fmt::format("  {} sample {} --length 2000 --seed 2\n", shell_word(program),
                    shell_word(options.out)));
  std::filesystem::path larger = options.out;  // model.safetensors: model.large.safetensors
  larger.replace_extension(".large" + larger.extension().string());
  print(fmt::format("  {} train {} --hidden 512 --layers 2 --dropout 0.2 --seconds 900 --out {}\n",
                    shell_word(program), shell_word(options.text), shell_word(larger.string())));

  Json::Fields result = as_json("char_lm quickstart", options, data, model, trained);
  result.emplace_back("ngram_losses", ngrams);
  result.emplace_back("bound", bound);
  result.emplace_back("seconds_in_all", clock.seconds());
  print_result(result);
  return better ? 0 : 1;
}

void add_train_options(CommandLine& line, TrainOptions& o) {
  constexpr std::size_t most = 100'000;
  line.input("FILE", o.text, "The text");
  line.output("--out", o.out, "The model's file");
  line.option("--unit", o.unit, "What a symbol is: characters (of UTF-8) or bytes",
              {"characters", "bytes"});
  line.option("--hidden", o.model.hidden, "Units of an LSTM layer", 1, most);
  line.option("--layers", o.model.layers, "LSTM layers", 1, 100);
  line.option("--embed", o.model.embed, "Features of a character", 1, most);
  line.option("--dropout", o.model.dropout, "Probability that a feature is dropped in training",
              below_one());
  line.option("--batch", o.batch, "Streams of text side by side", 1, most);
  line.option("--seq", o.seq, "Steps that gradients go back", 1, most);
  line.option("--epochs", o.epochs, "Passes over the text; 0: no limit, but 5 if there is none", 0,
              1'000'000);
  line.option("--steps", o.steps, "Windows to learn from; 0: no limit");
  line.option("--seconds", o.seconds, "Time to train; 0: no limit", not_negative());
  line.option("--optimizer", o.optimizer, "adam or sgd", {"adam", "sgd"});
  line.option("--lr", o.lr, "Learning rate", positive());
  line.option(
      "--schedule", o.schedule,
      "Of the learning rate: constant, or linear, down to 0 when the first limit is reached",
      {"constant", "linear"});
  line.option("--clip", o.clip, "Largest norm of the gradient; 0: any", positive_or_0());
  line.options(o.common);
}

}  // namespace

int main(int argc, char** argv) {
  CommandLine line("A character language model: an LSTM learns to write like a text.", "char_lm");
  line.footer("Losses are in nats per character. Each command has its own --help.");

  TrainOptions train_options;
  CommandLine& train = line.command("train", "Learns a text, writes a model");
  add_train_options(train, train_options);
  train.footer("Example: char_lm train kjv.txt --hidden 256 --seconds 300 --out kjv.safetensors");

  SampleOptions sample_options;
  CommandLine& sample = line.command("sample", "Lets a model write");
  sample.input("MODEL", sample_options.model, "A file that train has written");
  sample.option("--prompt", sample_options.prompt, "What the text begins with");
  sample.option("--length", sample_options.length, "Characters to write", 1, 100'000'000);
  sample.option("--temperature", sample_options.temperature,
                "Divides the logits; 0: always the most probable character", not_negative());
  sample.options(sample_options.common);
  sample.footer("Example: char_lm sample kjv.safetensors --prompt 'In the ' --temperature 0.5");

  // Measured: what gets furthest in a minute. Longer training prefers longer windows, smaller
  // steps.
  TrainOptions quick_options{.seq = 32, .seconds = 60, .lr = 8e-3};
  CommandLine& quickstart =
      line.command("quickstart", "Trains for a minute; compares with n-grams");
  add_train_options(quickstart, quick_options);
  quickstart.footer("Example: char_lm quickstart kjv.txt --out kjv.safetensors");

  return line.run(argc, argv, [&] {
    if (train.given()) return run_train(train_options);
    if (sample.given()) return run_sample(sample_options);
    return run_quickstart(quick_options, argv[0]);
  });
}
