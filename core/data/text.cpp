#include "text.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "../fail-inl.h"
#include "../io/atomic_file.h"

namespace tapegrad {
namespace {

constexpr std::size_t max_text_bytes = std::size_t{4} << 30;
constexpr char32_t last_character = 0x10FFFF;
constexpr std::string_view bytes_prefix = "bytes:";
constexpr std::string_view characters_prefix = "characters:";
constexpr std::string_view padding_prefix = "padding ";
constexpr std::string_view unknown_prefix = "unknown ";

unsigned char byte_at(std::string_view text, std::size_t offset) {
  return static_cast<unsigned char>(text[offset]);
}

[[noreturn]] void not_utf8(std::string_view text, std::size_t offset, std::string_view why) {
  fail<UsageError>(
      "decode_utf8",
      "byte {:#04x} at offset {} {}: the text is not UTF-8; TextUnit::bytes takes any text",
      byte_at(text, offset), offset, why);
}

/// The character at `offset`, which is moved behind it. Unicode 15, table 3-7: only the second byte
/// has a range that depends on the first, and that range shuts out all that is ill-formed.
char32_t next_character(std::string_view text, std::size_t& offset) {
  const std::size_t start = offset;
  const unsigned char lead = byte_at(text, offset++);
  if (lead < 0x80) return lead;
  if (lead < 0xC2 || lead > 0xF4) not_utf8(text, start, "starts no character");
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t character = lead & (0x7FU >> length);
  while (offset < start + length) {
    if (offset == text.size()) not_utf8(text, start, "starts a character that the end cuts off");
    const unsigned char byte = byte_at(text, offset);
    if (byte < low || byte > high) {
      not_utf8(text, offset, fmt::format("does not continue what {:#04x} starts", lead));
    }
    character = character << 6 | (byte & 0x3FU);
    low = 0x80;
    high = 0xBF;
    ++offset;
  }
  return character;
}

char32_t next_symbol(std::string_view text, std::size_t& offset, TextUnit unit) {
  return unit == TextUnit::bytes ? byte_at(text, offset++) : next_character(text, offset);
}

/// Calls f(symbol, offset) for each symbol of `text`.
template <class F>
void for_each_symbol(std::string_view text, TextUnit unit, F f) {
  for (std::size_t offset = 0; offset < text.size();) {
    const std::size_t start = offset;
    f(next_symbol(text, offset, unit), start);
  }
}

/// Number of symbols; of text that is not UTF-8 at least as many as can be decoded.
std::size_t count_symbols(std::string_view text, TextUnit unit) {
  if (unit == TextUnit::bytes) return text.size();
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](unsigned char byte) { return (byte & 0xC0) != 0x80; }));
}

std::vector<char32_t> symbols_of(std::string_view text, TextUnit unit) {
  if (text.empty()) fail<UsageError>("CharVocabulary", "the text is empty: there must be a symbol");
  std::vector<bool> occurs(last_character + 1);
  for_each_symbol(text, unit, [&](char32_t symbol, std::size_t) { occurs[symbol] = true; });
  std::vector<char32_t> symbols;
  for (char32_t symbol = 0; symbol <= last_character; ++symbol) {
    if (occurs[symbol]) symbols.push_back(symbol);
  }
  return symbols;
}

std::string joined(std::span<const std::string> texts) {
  std::string all;
  for (const std::string& text : texts) all += text;
  return all;
}

std::string name_of(char32_t symbol, TextUnit unit) {
  const auto code = static_cast<std::uint32_t>(symbol);
  if (unit == TextUnit::bytes) return fmt::format("byte {:#04x}", code);
  // A control character would do in a message whatever it does to a terminal.
  if (code < 0x20 || (code >= 0x7F && code < 0xA0)) return fmt::format("character U+{:04X}", code);
  return fmt::format("character '{}' (U+{:04X})", encode_utf8(symbol), code);
}

/// The bytes whose digits begin at an offset of what is stored.
std::vector<char32_t> parse_bytes(std::string_view stored, std::size_t begin) {
  const std::string_view digits = stored.substr(begin);
  if (digits.size() > 2 * 256) {
    fail<FileError>("CharVocabulary", "more bytes are stored than there are");
  }
  std::vector<char32_t> bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const std::string_view pair = digits.substr(i, 2);
    unsigned value = 0;
    const auto [end, error] = std::from_chars(pair.data(), pair.data() + pair.size(), value, 16);
    if (error != std::errc() || end != pair.data() + 2) {
      fail<FileError>("CharVocabulary",
                      "the stored bytes are not pairs of hexadecimal digits at offset {}",
                      begin + i);
    }
    bytes.push_back(value);
  }
  return bytes;
}

std::vector<char32_t> parse_characters(std::string_view text) {
  // Before four times as much memory is asked for.
  if (count_symbols(text, TextUnit::characters) > last_character) {
    fail<FileError>("CharVocabulary", "more characters are stored than there are");
  }
  try {
    return decode_utf8(text);
  } catch (const UsageError& error) {
    fail<FileError>("CharVocabulary", "the stored characters: {}", error.what());
  }
}

}  // namespace

std::string read_text_file(const std::filesystem::path& path) {
  std::string text = read_file(path, max_text_bytes, "read_text_file");
  if (text.empty()) {
    fail<FileError>("read_text_file", "{}: is empty", path.string());
  }
  return text;
}

std::vector<char32_t> decode_utf8(std::string_view text) {
  std::vector<char32_t> characters;
  characters.reserve(count_symbols(text, TextUnit::characters));
  for_each_symbol(text, TextUnit::characters,
                  [&](char32_t character, std::size_t) { characters.push_back(character); });
  return characters;
}

std::string encode_utf8(char32_t character) {
  const auto code = static_cast<std::uint32_t>(character);
  if (code > last_character || (code >= 0xD800 && code <= 0xDFFF)) {
    fail<UsageError>("encode_utf8",
                     "U+{:04X} is not a character: U+0000 to U+D7FF and U+E000 to U+10FFFF are",
                     code);
  }
  const auto continuation = [code](unsigned shift) {
    return static_cast<char>(0x80U | (code >> shift & 0x3FU));
  };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0U | code >> 6), continuation(0)};
  if (code < 0x10000) {
    return {static_cast<char>(0xE0U | code >> 12), continuation(6), continuation(0)};
  }
  return {static_cast<char>(0xF0U | code >> 18), continuation(12), continuation(6),
          continuation(0)};
}

CharVocabulary::CharVocabulary(std::string_view text, TextUnit unit,
                               const CharVocabularyOptions& options)
    : CharVocabulary(symbols_of(text, unit), unit, options) {}

CharVocabulary::CharVocabulary(std::span<const std::string> texts, TextUnit unit,
                               const CharVocabularyOptions& options)
    : CharVocabulary(joined(texts), unit, options) {}

CharVocabulary::CharVocabulary(std::vector<char32_t> symbols, TextUnit unit,
                               const CharVocabularyOptions& options)
    : unit_(unit), options_(options), symbols_(std::move(symbols)) {
  ids_.assign(*std::ranges::max_element(symbols_) + 1, -1);
  auto next = static_cast<std::int32_t>(first_symbol());
  for (const char32_t symbol : symbols_) {
    // Only a stored vocabulary can have duplicates.
    if (std::exchange(ids_[symbol], next++) >= 0) {
      fail<FileError>("CharVocabulary", "{} is stored twice", name_of(symbol, unit));
    }
  }
}

CharVocabulary CharVocabulary::from_string(std::string_view stored) {
  std::vector<char32_t> symbols;
  TextUnit unit = TextUnit::bytes;
  CharVocabularyOptions options;
  std::size_t begin = 0;
  const auto follows = [&](std::string_view prefix) {
    const bool there = stored.substr(begin).starts_with(prefix);
    if (there) begin += prefix.size();
    return there;
  };
  options.padding = follows(padding_prefix);
  options.unknown = follows(unknown_prefix);
  if (follows(bytes_prefix)) {
    symbols = parse_bytes(stored, begin);
  } else if (follows(characters_prefix)) {
    symbols = parse_characters(stored.substr(begin));
    unit = TextUnit::characters;
  } else {
    fail<FileError>("CharVocabulary",
                    "what is stored begins neither with 'bytes:' nor with 'characters:'");
  }
  if (symbols.empty())
    fail<FileError>("CharVocabulary", "nothing is stored: there must be a symbol");
  return {std::move(symbols), unit, options};
}

std::string CharVocabulary::to_string() const {
  const bool is_bytes = unit_ == TextUnit::bytes;
  std::string stored;
  if (options_.padding) stored += padding_prefix;
  if (options_.unknown) stored += unknown_prefix;
  stored += is_bytes ? bytes_prefix : characters_prefix;
  for (const char32_t symbol : symbols_) {
    stored +=
        is_bytes ? fmt::format("{:02x}", static_cast<std::uint32_t>(symbol)) : encode_utf8(symbol);
  }
  return stored;
}

std::optional<std::int32_t> CharVocabulary::padding() const {
  return options_.padding ? std::optional(0) : std::nullopt;
}

std::optional<std::int32_t> CharVocabulary::unknown() const {
  return options_.unknown ? std::optional(options_.padding ? 1 : 0) : std::nullopt;
}

Tensor CharVocabulary::encode(std::string_view text) const {
  Tensor ids = Tensor::empty({count_symbols(text, unit_)}, DType::int32);
  std::int32_t* next = ids.mutable_data<std::int32_t>();
  for_each_symbol(text, unit_, [&](char32_t symbol, std::size_t offset) {
    std::int32_t id = symbol < ids_.size() ? ids_[symbol] : -1;
    if (id < 0) id = unknown().value_or(-1);
    if (id < 0) {
      fail<UsageError>("encode", "{} at offset {} is not in the vocabulary of {} {}",
                       name_of(symbol, unit_), offset, size(),
                       unit_ == TextUnit::bytes ? "bytes" : "characters");
    }
    *next++ = id;
  });
  return ids;
}

PaddedSequences CharVocabulary::encode_batch(std::span<const std::string> texts) const {
  std::vector<Tensor> ids;
  for (const std::string& text : texts) ids.push_back(encode(text));
  return pad_sequences(ids, padding().value_or(0));
}

std::string CharVocabulary::decode(std::span<const std::int32_t> ids) const {
  const char32_t replacement = unit_ == TextUnit::bytes ? U'?' : U'\uFFFD';
  std::string text;
  text.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || static_cast<std::size_t>(ids[i]) >= size()) {
      fail<UsageError>("decode", "id {} at position {} is not in the vocabulary: ids are 0 to {}",
                       ids[i], i, size() - 1);
    }
    if (ids[i] == padding()) continue;
    const char32_t symbol = ids[i] == unknown()
                                ? replacement
                                : symbols_[static_cast<std::size_t>(ids[i]) - first_symbol()];
    if (unit_ == TextUnit::bytes) {
      text += static_cast<char>(symbol);
    } else {
      text += encode_utf8(symbol);
    }
  }
  return text;
}

}  // namespace tapegrad
