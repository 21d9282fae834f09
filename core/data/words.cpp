#include "words.h"

#include <algorithm>
#include <utility>

#include "../fail-inl.h"
#include "../words-inl.h"

namespace tapegrad {
namespace {

constexpr const char* name = "WordVocabulary";
constexpr std::string_view prefix = "words:";
constexpr std::string_view padding_word = "<pad>", unknown_word = "<unk>";

// Of ASCII, whatever the locale.
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}
bool is_of_word(char c) { return !is_space(c) && !is_punctuation(c); }

/// Checks a word that is to get an id of its own. `Kind`: the error of where it comes from.
template <class Kind>
void check_word(std::string_view word) {
  if (word.empty()) fail<Kind>(name, "a word is empty: it must have a character");
  if (word.find('\n') != std::string_view::npos)
    fail<Kind>(name, "word '{}' has a line break: split the text first", shown(word));
  if (word == padding_word) fail<Kind>(name, "a text has the word <pad>, which stands for no word");
}

/// Returns the words that get ids of their own, the most frequent first.
std::vector<std::string> kept_words(std::span<const std::vector<std::string>> texts,
                                    const WordVocabularyOptions& options) {
  if (options.max_size < 2) {
    fail<UsageError>(name, "max_size is {}: it must be at least 2, for <pad> and <unk>",
                     options.max_size);
  }
  std::unordered_map<std::string, std::size_t> counts;
  for (const std::vector<std::string>& text : texts) {
    for (const std::string& word : text) ++counts[word];
  }
  std::vector<std::pair<std::string, std::size_t>> ranked;
  for (const auto& [word, count] : counts) {
    if (word == unknown_word) continue;
    check_word<UsageError>(word);
    if (count >= options.min_count) ranked.emplace_back(word, count);
  }
  std::ranges::sort(ranked, [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  ranked.resize(std::min(ranked.size(), options.max_size - 2));
  std::vector<std::string> words;
  words.reserve(ranked.size());
  for (auto& [word, count] : ranked) words.push_back(std::move(word));
  return words;
}

}  // namespace

std::vector<std::string> split_words(std::string_view text, bool lower_case) {
  std::vector<std::string> words;
  bool goes_on = false;  // the last word
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool joins =
        (c == '\'' || c == '-') && goes_on && i + 1 < text.size() && is_of_word(text[i + 1]);
    const bool of_word = is_of_word(c) || joins;
    if (of_word || is_punctuation(c)) {
      if (!of_word || !goes_on) words.emplace_back();
      const bool capital = lower_case && c >= 'A' && c <= 'Z';
      words.back() += capital ? static_cast<char>(c - 'A' + 'a') : c;
    }
    goes_on = of_word;
  }
  return words;
}

std::vector<std::string> split_at_spaces(std::string_view text, std::string_view line_end) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    while (!line.empty()) {
      const auto word_end = std::ranges::find_if(line, is_space);
      if (word_end != line.begin()) words.emplace_back(line.begin(), word_end);
      const auto length = static_cast<std::size_t>(word_end - line.begin());
      line.remove_prefix(std::min(length + 1, line.size()));
    }
    if (!line_end.empty()) words.emplace_back(line_end);
  }
  return words;
}

WordVocabulary::WordVocabulary(std::span<const std::vector<std::string>> texts,
                               const WordVocabularyOptions& options)
    : WordVocabulary(kept_words(texts, options)) {}

WordVocabulary::WordVocabulary(std::vector<std::string> words) : words_(std::move(words)) {
  words_.insert(words_.begin(), {std::string(padding_word), std::string(unknown_word)});
  for (const std::string& word : words_) {
    // Only a stored vocabulary can have duplicates.
    if (!ids_.try_emplace(word, static_cast<std::int32_t>(ids_.size())).second)
      fail<FileError>(name, "the word '{}' is stored twice", shown(word));
  }
}

WordVocabulary WordVocabulary::from_string(std::string_view stored) {
  if (!stored.starts_with(prefix))
    fail<FileError>(name, "what is stored does not begin with 'words:'");
  std::vector<std::string> words;
  for (std::string_view rest = stored.substr(prefix.size()); !rest.empty();) {
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos)
      fail<FileError>(name, "the last word stored has no end: the file is cut off");
    check_word<FileError>(rest.substr(0, end));
    words.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  return WordVocabulary(std::move(words));
}

std::string WordVocabulary::to_string() const {
  std::string stored(prefix);
  for (std::size_t k = 2; k < words_.size(); ++k) stored += words_[k] + '\n';
  return stored;
}

std::int32_t WordVocabulary::id(const std::string& word) const {
  const auto found = ids_.find(word);
  return found == ids_.end() ? unknown : found->second;
}

Tensor WordVocabulary::encode(std::span<const std::string> words) const {
  Tensor ids = Tensor::empty({words.size()}, DType::int32);
  std::ranges::transform(words, ids.mutable_data<std::int32_t>(),
                         [&](const std::string& word) { return id(word); });
  return ids;
}

PaddedSequences WordVocabulary::encode_batch(
    std::span<const std::vector<std::string>> texts) const {
  std::vector<Tensor> ids;
  for (const std::vector<std::string>& words : texts) ids.push_back(encode(words));
  return pad_sequences(ids, padding);
}

std::vector<std::string> WordVocabulary::decode(const Tensor& ids) const {
  std::vector<std::string> words;
  for (const std::int32_t id : ids.values<std::int32_t>()) {
    if (id < 0 || static_cast<std::size_t>(id) >= size()) {
      fail<UsageError>("decode", "id {} at position {} is not in the vocabulary: ids are 0 to {}",
                       id, words.size(), size() - 1);
    }
    words.push_back(words_[static_cast<std::size_t>(id)]);
  }
  return words;
}

}  // namespace tapegrad
