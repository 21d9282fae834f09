#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../tensor.h"
#include "sequences.h"

/// Text as numbers: UTF-8, and vocabularies that give every symbol an id.
namespace tapegrad {

/// Returns the content of a text file, as bytes. Throws FileError if the file is empty, has more
/// than 4 GiB, or is no regular file that can be read.
std::string read_text_file(const std::filesystem::path& path);

/// Returns the code points of UTF-8 text. Throws UsageError, with the offset and the byte, for what
/// is not UTF-8: overlong forms, surrogates, values above U+10FFFF, characters cut off (Unicode 15,
/// table 3-7).
std::vector<char32_t> decode_utf8(std::string_view text);
/// Encodes in one to four bytes. Throws UsageError for a surrogate or a value above U+10FFFF.
std::string encode_utf8(char32_t character);

/// Unit of text that is one symbol: a character of UTF-8 text, or a byte of any file.
enum class TextUnit : std::uint8_t { bytes, characters };

struct CharVocabularyOptions {
  bool padding = false;  // the first id is for steps behind the end of a sequence
  bool unknown = false;  // the id behind that one is for every symbol that has none

  bool operator==(const CharVocabularyOptions&) const = default;
};

/// The symbols of a text and their ids: after those of the options, in the order of code points or
/// bytes.
///
///     const CharVocabulary letters(names, TextUnit::characters, {.padding = true, .unknown = true});
///     pad_sequences(encoded_names, *letters.padding())
class CharVocabulary {
 public:
  /// Returns the symbols that occur in `text`. Throws UsageError if it is empty, or if it is to be
  /// characters and is not UTF-8.
  explicit CharVocabulary(std::string_view text, TextUnit unit = TextUnit::characters,
                          const CharVocabularyOptions& options = {});
  /// Returns those that occur in any of `texts`. Throws likewise.
  explicit CharVocabulary(std::span<const std::string> texts, TextUnit unit = TextUnit::characters,
                          const CharVocabularyOptions& options = {});

  /// Reads what `to_string` wrote. Throws FileError if it is something else, is empty, or has a
  /// symbol twice.
  static CharVocabulary from_string(std::string_view stored);
  /// Writes the vocabulary as UTF-8 in one line of text, for a model file's metadata: "characters:"
  /// and the characters in the order of their ids, or "bytes:" and two hexadecimal digits for each
  /// byte; before that "padding " and "unknown " if there are such ids.
  std::string to_string() const;

  /// Returns the number of symbols, V: ids are 0 to V - 1.
  std::size_t size() const { return first_symbol() + symbols_.size(); }
  TextUnit unit() const { return unit_; }
  /// Returns the id of steps behind an end, and of symbols that have none, if there is one.
  std::optional<std::int32_t> padding() const;
  std::optional<std::int32_t> unknown() const;

  /// Returns the ids of `text`'s symbols: int32, shape (n). Throws UsageError, with its offset, for
  /// a symbol that is not in the vocabulary unless there is an id for the unknown, and for
  /// characters that are not UTF-8.
  Tensor encode(std::string_view text) const;
  /// Returns texts side by side, (T, B): encode() and pad_sequences(). Throws as these do.
  PaddedSequences encode_batch(std::span<const std::string> texts) const;
  /// Returns the text of ids of any shape, row-major: nothing for padding, and U+FFFD or the byte
  /// '?' for the unknown. Throws UsageError for an id out of range, DtypeError unless they are
  /// int32.
  std::string decode(const Tensor& ids) const { return decode(ids.values<std::int32_t>()); }
  std::string decode(std::span<const std::int32_t> ids) const;

  bool operator==(const CharVocabulary&) const = default;

 private:
  CharVocabulary(std::vector<char32_t> symbols, TextUnit unit,
                 const CharVocabularyOptions& options);
  std::size_t first_symbol() const {
    return std::size_t{options_.padding} + std::size_t{options_.unknown};
  }

  TextUnit unit_;
  CharVocabularyOptions options_;
  std::vector<char32_t> symbols_;  // by id, from first_symbol() on; bytes are 0 to 255
  std::vector<std::int32_t> ids_;  // by symbol; -1 for none
};

}  // namespace tapegrad
