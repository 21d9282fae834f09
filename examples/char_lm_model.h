#pragma once

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

/// A character language model: what it is, how good it is, how it writes, and its file.
namespace examples {

using namespace tapegrad;  // NOLINT(google-build-using-namespace): an example reads like a user

struct CharLMSizes {
  std::size_t vocabulary;
  std::size_t embed;
  std::size_t hidden;
  std::size_t layers;
  double dropout;
};

/// Ids of characters in, logits of the next character out.
struct CharLM {
  Embedding embed;
  LSTM lstm;
  Linear head;
  Dropout dropout;

  CharLM() = default;
  CharLM(const CharLMSizes& sizes, Rng& rng)
      : embed(sizes.vocabulary, sizes.embed, rng),
        lstm({.input = sizes.embed,
              .hidden = sizes.hidden,
              .layers = sizes.layers,
              .dropout = sizes.layers > 1 ? sizes.dropout : 0},
             rng),
        head(sizes.hidden, sizes.vocabulary, rng),
        dropout{sizes.dropout} {}

  void visit(auto&& v) {
    v("embed", embed);
    v("lstm", lstm);
    v("head", head);
    v("dropout", dropout);
  }

  struct Output {
    Var logits;      // (T, B, V)
    LSTMState next;  // the state after the last step
  };
  /// ids (T, B)
  Output operator()(Tape& tape, const Tensor& ids, const LSTMState& state) const {
    auto [h, next] = lstm(tape, dropout(tape, embed(tape, ids)), state);
    return {head(tape, dropout(tape, h)), next};
  }
};

/// Mean loss of a text in nats per character. It is read in up to 64 streams side by side, which is
/// faster; that each starts from the zero state costs little over 4000 characters and more.
inline double evaluate(const CharLM& model, const Tensor& ids) {
  const std::size_t targets = ids.numel() - 1;
  const std::size_t batch = std::clamp<std::size_t>(targets / 4000, 1, 64);
  const std::size_t steps = std::min<std::size_t>(targets / batch, 100);
  LSTMState state = model.lstm.zero_state(batch);
  Perplexity loss;
  for (const auto& [x, y, first] : StreamWindows(ids, steps, batch)) {
    Tape tape = Tape::inference();
    auto [logits, next] = model(tape, x, state);
    loss.add(cross_entropy(logits, y).item(), y.numel());
    state = next;
  }
  return loss.nats();
}

/// Draws an id with the probabilities softmax(logits / temperature); temperature 0 takes the most
/// probable one.
inline std::int32_t draw(std::span<const float> logits, double temperature, Rng& rng) {
  const auto best = std::ranges::max_element(logits);
  // Finite weights can still overflow.
  if (!std::ranges::all_of(logits, [](float x) { return std::isfinite(x); }))
    throw NonFiniteError(
        "[char_lm] a logit is not finite: the weights are too large to write with");
  std::vector<double> weight(logits.size(), 0.0);
  double sum = 0;
  for (std::size_t k = 0; k < logits.size(); ++k) {
    // Relative to the best, so that no temperature above 0 makes exp overflow.
    const double below = static_cast<double>(logits[k]) - static_cast<double>(*best);
    sum += weight[k] = temperature > 0 ? std::exp(below / temperature) : below == 0;
  }
  double left = rng.uniform() * sum;
  std::size_t k = 0;
  while (k + 1 < weight.size() && (left -= weight[k]) >= 0) ++k;
  return static_cast<std::int32_t>(k);
}

/// Where a text begins, for want of a prompt: the first symbol, the newline if there is one.
inline std::string default_prompt(const CharVocabulary& vocabulary) {
  return vocabulary.decode(std::vector<std::int32_t>{0});
}

/// The beginning of a line of a text, as a prompt.
inline std::string line_start(const CharVocabulary& vocabulary, const Tensor& text) {
  auto ids = text.values<std::int32_t>();
  const auto line = static_cast<std::size_t>(std::ranges::find(ids, 0) - ids.begin()) + 1;
  if (default_prompt(vocabulary) == "\n" && line < ids.size()) ids = ids.subspan(line);
  return vocabulary.decode(ids.first(std::min<std::size_t>(12, ids.size())));
}

/// What the model writes after `prompt`, which must have a character and only known ones (else
/// UsageError).
inline std::string sample(const CharLM& model, const CharVocabulary& vocabulary,
                          std::string_view prompt, std::size_t length, double temperature,
                          Rng& rng) {
  const Tensor read = vocabulary.encode(prompt);
  Tensor ids = read.reshape({read.numel(), 1});  // (T, 1)
  LSTMState state = model.lstm.zero_state(1);
  std::vector<std::int32_t> written;
  while (written.size() < length) {
    Tape tape = Tape::inference();
    auto [logits, next] = model(tape, ids, state);
    const Tensor last = logits.value().row(logits.size(0) - 1);
    written.push_back(draw(last.values<float>(), temperature, rng));
    ids = Tensor::from<std::int32_t>({1, 1}, std::span(&written.back(), 1));
    state = next;
  }
  return vocabulary.decode(written);
}

/// Throws NonFiniteError unless all weights are finite.
inline void require_finite(const CharLM& model, const std::filesystem::path& path) {
  for (const NamedParameter& p : parameters(model)) {
    const auto values = p.value().values<float>();
    const auto bad = std::ranges::find_if(values, [](float x) { return !std::isfinite(x); });
    if (bad != values.end())
      throw NonFiniteError(
          fmt::format("[char_lm] {}: {} is {} at element {}: such a model cannot write",
                      path.string(), p.name, *bad, bad - values.begin()));
  }
}

/// One file holds all that a model needs: weights, sizes and vocabulary.
inline void save(const std::filesystem::path& path, const CharLM& model, const CharLMSizes& sizes,
                 const CharVocabulary& vocabulary) {
  require_finite(model, path);
  save_parameters(path, parameters(model),
                  {{"model", "char_lm"},
                   {"vocabulary", vocabulary.to_string()},
                   {"embed", fmt::to_string(sizes.embed)},
                   {"hidden", fmt::to_string(sizes.hidden)},
                   {"layers", fmt::to_string(sizes.layers)},
                   {"dropout", fmt::to_string(sizes.dropout)}});
}

struct LoadedCharLM {
  CharVocabulary vocabulary;
  CharLMSizes sizes;
  CharLM model;
};

/// Throws FileError for a file that save() did not write, NonFiniteError for weights that are not
/// finite.
inline LoadedCharLM load(const std::filesystem::path& path) {
  const TensorFile file = load_tensors(path);
  CharVocabulary vocabulary = CharVocabulary::from_string(file.text("vocabulary"));
  // Dropout is for training only, and nothing is drawn that the file does not replace.
  const CharLMSizes sizes{vocabulary.size(), file.number("embed", 1, 100'000),
                          file.number("hidden", 1, 100'000), file.number("layers", 1, 1000), 0};
  // The metadata only promise sizes: no model is made before the file has shown that many weights.
  file.tensor("embed.weight", {sizes.vocabulary, sizes.embed});
  for (std::size_t l = 0; l < sizes.layers; ++l) {
    file.tensor(fmt::format("lstm.weight_ih_l{}", l),
                {4 * sizes.hidden, l == 0 ? sizes.embed : sizes.hidden});
    file.tensor(fmt::format("lstm.weight_hh_l{}", l), {4 * sizes.hidden, sizes.hidden});
  }
  file.tensor("head.weight", {sizes.vocabulary, sizes.hidden});
  Rng unused(0);
  CharLM model(sizes, unused);
  load_parameters(file, parameters(model));
  require_finite(model, path);
  return {std::move(vocabulary), sizes, std::move(model)};
}

}  // namespace examples
