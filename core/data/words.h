#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "../tensor.h"
#include "sequences.h"

/// Texts as words, and the ids of words.
namespace tapegrad {

/// Returns the words of a text. White space separates them; a character of ASCII punctuation is a
/// word of its own, but for an apostrophe or a hyphen between two characters of a word, as in
/// "don't". All else, bytes that are not ASCII among it, is part of a word: any text will do, UTF-8
/// stays whole. With `lower_case` the letters A to Z are made small.
std::vector<std::string> split_words(std::string_view text, bool lower_case = true);

/// Returns the words of a text that was made into words before: what stands between spaces. `line_end`
/// becomes a word after each line, unless it is empty; a last line without a line break is a line, too.
std::vector<std::string> split_at_spaces(std::string_view text, std::string_view line_end = "");

struct WordVocabularyOptions {
  std::size_t min_count = 1;        // words that occur more rarely are unknown
  std::size_t max_size = SIZE_MAX;  // ids at most, the two below included
};

/// The words of texts and their ids: the k most frequent ones, after two that no text need have.
class WordVocabulary {
 public:
  static constexpr std::int32_t padding = 0;  // "<pad>", for steps behind the end of a sequence
  static constexpr std::int32_t unknown = 1;  // "<unk>", for every word that has no id

  /// Counts the words; the more frequent one has the smaller id, and of equally frequent ones the
  /// first in the order of bytes. "<unk>" in a text counts as unknown already. Throws UsageError for
  /// a max_size below 2, and for a word that is empty, is "<pad>" or has a line break.
  explicit WordVocabulary(std::span<const std::vector<std::string>> texts,
                          const WordVocabularyOptions& options = {});

  /// Reads what `to_string` wrote. Throws FileError if it is something else or has a word twice.
  static WordVocabulary from_string(std::string_view stored);
  /// Writes the vocabulary for a model file's metadata: "words:", and a line for each word in the
  /// order of their ids, the first two left out.
  std::string to_string() const;

  /// Returns the number of ids, V: ids are 0 to V - 1.
  std::size_t size() const { return words_.size(); }

  /// Returns the id of a word, or `unknown`.
  std::int32_t id(const std::string& word) const;
  /// Returns the ids of words: int32, shape (n).
  Tensor encode(std::span<const std::string> words) const;
  /// Returns texts side by side, (T, B): encode() and pad_sequences(). Throws as pad_sequences() does.
  PaddedSequences encode_batch(std::span<const std::vector<std::string>> texts) const;
  /// Returns the words of ids of any shape, row-major. Throws UsageError for an id out of range,
  /// DtypeError unless they are int32.
  std::vector<std::string> decode(const Tensor& ids) const;

  bool operator==(const WordVocabulary& other) const { return words_ == other.words_; }

 private:
  explicit WordVocabulary(std::vector<std::string> words);

  std::vector<std::string> words_;  // by id
  std::unordered_map<std::string, std::int32_t> ids_;
};

}  // namespace tapegrad
