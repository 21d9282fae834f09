// Covers core/data/text: UTF-8 decoding, strict, over all code points and all ill-formed pairs;
// vocabularies of characters and bytes, there and back; what they refuse, with whole messages.

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "../../core/data/text.h"
#include "../../core/error.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;
using namespace std::string_literals;

namespace {

std::string utf8_refusal(std::string_view text) {
  try {
    decode_utf8(text);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

std::string not_utf8(std::string_view what) {
  return "[decode_utf8] " + std::string(what) +
         ": the text is not UTF-8; TextUnit::bytes takes any text";
}

std::vector<std::int32_t> ids_of(const Tensor& ids) {
  CHECK(ids.rank() == 1);
  const auto values = ids.values<std::int32_t>();
  return {values.begin(), values.end()};
}

using Ids = std::vector<std::int32_t>;

}  // namespace

TEST_CASE("text: every character goes there and back, and is as long as Unicode says") {
  std::string all;
  std::vector<char32_t> characters;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const std::string one = encode_utf8(c);
    const std::size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    if (one.size() != length || decode_utf8(one) != std::vector{c}) {
      FAIL("U+" << static_cast<unsigned>(c));
    }
    all += one;
    characters.push_back(c);
  }
  CHECK(decode_utf8(all) == characters);
  CHECK(decode_utf8("").empty());
  // Against known bytes, so that two wrongs do not make a right.
  CHECK(encode_utf8(U'é') == "\xc3\xa9");
  CHECK(encode_utf8(U'€') == "\xe2\x82\xac");
  CHECK(encode_utf8(U'😀') == "\xf0\x9f\x98\x80");
}

TEST_CASE("text: of all strings of two bytes the well-formed ones are counted") {
  // 128^2 pairs of ASCII and 30 * 64 characters of two bytes.
  int accepted = 0;
  for (int pair = 0; pair < 1 << 16; ++pair) {
    const std::string both{static_cast<char>(pair >> 8), static_cast<char>(pair)};
    accepted += utf8_refusal(both) == "accepted";
  }
  CHECK(accepted == 128 * 128 + 30 * 64);
}

TEST_CASE("text: of all second bytes of three and four the well-formed ones are counted") {
  // Characters of three bytes: 0x800 to 0xFFFF without surrogates; of four: 0x10000 to 0x10FFFF.
  int three = 0, four = 0;
  for (int pair = 0xE000; pair < 1 << 16; ++pair) {
    const std::string start{static_cast<char>(pair >> 8), static_cast<char>(pair)};
    three += utf8_refusal(start + "\x80") == "accepted";
    four += utf8_refusal(start + "\x80\xbf") == "accepted";
  }
  CHECK(three == (0x10000 - 0x800 - 0x800) / 64);
  CHECK(four == 0x100000 / 4096);
}

TEST_CASE("text: what is not UTF-8 is refused with byte and offset") {
  CHECK(utf8_refusal("abc\xff") == not_utf8("byte 0xff at offset 3 starts no character"));
  CHECK(utf8_refusal("\x80") == not_utf8("byte 0x80 at offset 0 starts no character"));
  CHECK(utf8_refusal("a\xc0\x80") == not_utf8("byte 0xc0 at offset 1 starts no character"));
  CHECK(utf8_refusal("\xf5\x80\x80\x80") == not_utf8("byte 0xf5 at offset 0 starts no character"));
  CHECK(utf8_refusal("\xe0\x9f\x80") ==  // overlong
        not_utf8("byte 0x9f at offset 1 does not continue what 0xe0 starts"));
  CHECK(utf8_refusal("\xf0\x8f\xbf\xbf") ==  // overlong
        not_utf8("byte 0x8f at offset 1 does not continue what 0xf0 starts"));
  CHECK(utf8_refusal("\xed\xa0\x80") ==  // a surrogate
        not_utf8("byte 0xa0 at offset 1 does not continue what 0xed starts"));
  CHECK(utf8_refusal("\xf4\x90\x80\x80") ==  // U+110000
        not_utf8("byte 0x90 at offset 1 does not continue what 0xf4 starts"));
  CHECK(utf8_refusal("\xe2\x82"
                     "a") == not_utf8("byte 0x61 at offset 2 does not continue what 0xe2 starts"));
  CHECK(utf8_refusal("\xc3\xc3\xa9") ==
        not_utf8("byte 0xc3 at offset 1 does not continue what 0xc3 starts"));
  for (const std::string& cut : {"ab\xc3"s, "ab\xe2"s, "ab\xe2\x82"s, "ab\xf0\x9f\x98"s}) {
    CHECK(utf8_refusal(cut).ends_with(
        " at offset 2 starts a character that the end cuts off: the text is not UTF-8; "
        "TextUnit::bytes takes any text"));
  }
  const auto refused = [](char32_t c) -> std::string {
    try {
      return encode_utf8(c);
    } catch (const UsageError& error) {
      return error.what();
    }
  };
  const std::string allowed = " is not a character: U+0000 to U+D7FF and U+E000 to U+10FFFF are";
  CHECK(refused(0xD800) == "[encode_utf8] U+D800" + allowed);
  CHECK(refused(0xDFFF) == "[encode_utf8] U+DFFF" + allowed);
  CHECK(refused(0x110000) == "[encode_utf8] U+110000" + allowed);
}

TEST_CASE("text: a vocabulary of characters") {
  const CharVocabulary vocabulary("né à 日本 😀\n");
  // By code point: \n ' ' n à é 日 本 😀
  CHECK(vocabulary.size() == 8);
  CHECK(vocabulary.unit() == TextUnit::characters);
  CHECK(ids_of(vocabulary.encode("né 日😀\n")) == Ids{2, 4, 1, 5, 7, 0});
  CHECK(vocabulary.decode(vocabulary.encode("本é à")) == "本é à");
  CHECK(vocabulary.decode(Tensor::of({2, 2}, {7, 0, 2, 1}, DType::int32)) == "😀\nn ");
  CHECK(vocabulary.encode("").shape() == Shape{0});
  CHECK(vocabulary.decode(Ids{}).empty());
  CHECK(vocabulary.to_string() == "characters:\n nàé日本😀");
}

TEST_CASE("text: a vocabulary of bytes takes any file") {
  const CharVocabulary vocabulary("b\0\xff\na"s, TextUnit::bytes);
  CHECK(vocabulary.size() == 5);
  CHECK(vocabulary.unit() == TextUnit::bytes);
  CHECK(ids_of(vocabulary.encode("ab\xff\0\n"s)) == Ids{2, 3, 4, 0, 1});
  CHECK(vocabulary.decode(Ids{4, 0, 2}) == "\xff\0a"s);
  CHECK(vocabulary.to_string() == "bytes:000a6162ff");
  std::string all(256, '\0');
  for (int i = 0; i < 256; ++i) all[static_cast<std::size_t>(i)] = static_cast<char>(255 - i);
  const CharVocabulary whole(all, TextUnit::bytes);
  CHECK(whole.size() == 256);
  CHECK(ids_of(whole.encode("\0\x7f\x80\xff"s)) == Ids{0, 127, 128, 255});
  CHECK(whole.decode(whole.encode(all)) == all);
}

TEST_CASE("text: a vocabulary is the same after it was stored") {
  for (const std::string& text : {"hello"s, "né à 日本 😀\n"s, "a\0b"s, ":"s, "\U0010ffff"s}) {
    for (const TextUnit unit : {TextUnit::characters, TextUnit::bytes}) {
      const CharVocabulary vocabulary(text, unit);
      const CharVocabulary read = CharVocabulary::from_string(vocabulary.to_string());
      CHECK(read == vocabulary);
      CHECK(read.decode(read.encode(text)) == text);
    }
  }
  // Ids are as stored, even if another program has put them in another order.
  CHECK(ids_of(CharVocabulary::from_string("characters:zäa").encode("azä")) == Ids{2, 0, 1});
  CHECK(CharVocabulary("ab") != CharVocabulary("ab", TextUnit::bytes));
}

TEST_CASE("text: what a vocabulary refuses, in whole messages") {
  const CharVocabulary characters("abc"), bytes("abc\n", TextUnit::bytes);
  const auto said = [](const CharVocabulary& v, const char* text) -> std::string {
    try {
      v.encode(text);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  CHECK(said(characters, "abéc") ==
        "[encode] character 'é' (U+00E9) at offset 2 is not in the vocabulary of 3 characters");
  CHECK(said(characters, "c😀") ==
        "[encode] character '😀' (U+1F600) at offset 1 is not in the vocabulary of 3 characters");
  CHECK(said(characters, "\x1b") ==
        "[encode] character U+001B at offset 0 is not in the vocabulary of 3 characters");
  CHECK(said(characters, "d") ==
        "[encode] character 'd' (U+0064) at offset 0 is not in the vocabulary of 3 characters");
  CHECK(said(characters, "a\xff") == not_utf8("byte 0xff at offset 1 starts no character"));
  CHECK(said(characters, "a\x80\x80") == not_utf8("byte 0x80 at offset 1 starts no character"));
  CHECK(said(bytes, "ab\xff") ==
        "[encode] byte 0xff at offset 2 is not in the vocabulary of 4 bytes");
  CHECK(said(bytes, "\t") == "[encode] byte 0x09 at offset 0 is not in the vocabulary of 4 bytes");
  CHECK_THROWS_WITH_AS(characters.decode(Ids{0, 3}),
                       "[decode] id 3 at position 1 is not in the vocabulary: ids are 0 to 2",
                       UsageError);
  CHECK_THROWS_WITH_AS(characters.decode(Ids{-1}),
                       "[decode] id -1 at position 0 is not in the vocabulary: ids are 0 to 2",
                       UsageError);
  CHECK_THROWS_AS(characters.decode(Tensor::zeros({1})), DtypeError);
  CHECK_THROWS_WITH_AS(CharVocabulary(""),
                       "[CharVocabulary] the text is empty: there must be a symbol", UsageError);
  CHECK_THROWS_WITH_AS(CharVocabulary("a\xff"),
                       not_utf8("byte 0xff at offset 1 starts no character").c_str(), UsageError);
}

TEST_CASE("text: stored vocabularies that are refused, in whole messages") {
  const auto said = [](std::string_view stored) -> std::string {
    try {
      CharVocabulary::from_string(stored);
    } catch (const FileError& error) {
      return error.what();
    }
    return "accepted";
  };
  const std::string nothing = "[CharVocabulary] nothing is stored: there must be a symbol";
  const std::string no_prefix =
      "[CharVocabulary] what is stored begins neither with 'bytes:' nor with 'characters:'";
  for (const char* stored : {"", "abc", "Bytes:61", "bytes", "character:a"}) {
    CHECK(said(stored) == no_prefix);
  }
  CHECK(said("bytes:") == nothing);
  CHECK(said("characters:") == nothing);
  CHECK(said("characters:aéba") == "[CharVocabulary] character 'a' (U+0061) is stored twice");
  CHECK(said("bytes:00ff6100") == "[CharVocabulary] byte 0x00 is stored twice");
  CHECK(said("characters:a\xff") == "[CharVocabulary] the stored characters: " +
                                        not_utf8("byte 0xff at offset 1 starts no character"));
  const auto no_pair = [](int offset) {
    return "[CharVocabulary] the stored bytes are not pairs of hexadecimal digits at offset " +
           std::to_string(offset);
  };
  CHECK(said("bytes:6") == no_pair(6));
  CHECK(said("bytes:616") == no_pair(8));
  CHECK(said("bytes:6g") == no_pair(6));
  CHECK(said("bytes:61 2") == no_pair(8));
  CHECK(said("bytes:-1") == no_pair(6));
  CHECK(said("bytes:0x") == no_pair(6));
}

TEST_CASE("text: files") {
  const TempFolder folder;
  spill(folder / "text", "a\0b\n"s);
  spill(folder / "empty", "");
  CHECK(read_text_file(folder / "text") == "a\0b\n"s);
  const std::string at = "[read_text_file] " + folder.path().string();
  CHECK_THROWS_WITH_AS(read_text_file(folder / "empty"), (at + "/empty: is empty").c_str(),
                       FileError);
  CHECK_THROWS_WITH_AS(read_text_file(folder / "none"),
                       (at + "/none: cannot open: No such file or directory").c_str(), FileError);
  CHECK_THROWS_WITH_AS(read_text_file(folder.path()),
                       (at + ": is a directory: a regular file is wanted").c_str(), FileError);
}

TEST_CASE("vocabulary: ids for padding and for the unknown, if asked for") {
  const CharVocabulary both("cab", TextUnit::characters, {.padding = true, .unknown = true});
  CHECK(both.size() == 5);
  CHECK(both.padding() == 0);
  CHECK(both.unknown() == 1);
  CHECK(ids_of(both.encode("abcé")) == Ids{2, 3, 4, 1});
  CHECK(both.decode(Tensor::from({5}, {4, 1, 2, 0, 0})) == "c\uFFFDa");
  CHECK(both.to_string() == "padding unknown characters:abc");
  CHECK(CharVocabulary::from_string(both.to_string()) == both);

  const CharVocabulary padding("ab", TextUnit::bytes, {.padding = true});
  CHECK(padding.size() == 3);
  CHECK(padding.unknown() == std::nullopt);
  CHECK(ids_of(padding.encode("ba")) == Ids{2, 1});
  CHECK(padding.to_string() == "padding bytes:6162");
  CHECK(CharVocabulary::from_string(padding.to_string()) == padding);
  CHECK_THROWS_WITH_AS(padding.encode("abz"),
                       "[encode] byte 0x7a at offset 2 is not in the vocabulary of 3 bytes",
                       UsageError);
  CHECK_THROWS_WITH_AS(padding.decode(Tensor::from({1}, {3})),
                       "[decode] id 3 at position 0 is not in the vocabulary: ids are 0 to 2",
                       UsageError);

  const CharVocabulary unknown("ab", TextUnit::bytes, {.unknown = true});
  CHECK(unknown.padding() == std::nullopt);
  CHECK(unknown.unknown() == 0);
  CHECK(ids_of(unknown.encode("a\xff")) == Ids{1, 0});
  CHECK(unknown.decode(Tensor::from({2}, {0, 2})) == "?b");
  CHECK(CharVocabulary::from_string("unknown bytes:6162") == unknown);

  // Without them all is as it was: ids from 0 on, and what is stored.
  const CharVocabulary none("ab");
  CHECK(none.padding() == std::nullopt);
  CHECK(none.to_string() == "characters:ab");
  CHECK_FALSE(none == CharVocabulary("ab", TextUnit::characters, {.padding = true}));
  CHECK_THROWS_WITH_AS(CharVocabulary::from_string("unknown padding bytes:61"),
                       "[CharVocabulary] what is stored begins neither with 'bytes:' nor with "
                       "'characters:'",
                       FileError);
  CHECK_THROWS_WITH_AS(
      CharVocabulary::from_string("padding bytes:6x"),
      "[CharVocabulary] the stored bytes are not pairs of hexadecimal digits at offset 14",
      FileError);
}

TEST_CASE("vocabulary: of several texts, and texts side by side") {
  const std::vector<std::string> names{"ab", "", "b"};
  for (const bool padding : {false, true}) {
    const CharVocabulary letters(names, TextUnit::characters, {.padding = padding});
    CHECK(letters.size() == (padding ? 3 : 2));
    const auto [ids, lengths] = letters.encode_batch(names);
    CHECK(ids.shape() == Shape{2, 3});
    CHECK(ids.at(0) == letters.encode("a").at(0));
    CHECK(ids.at(3) == letters.encode("b").at(0));
    CHECK(ids.at(2) == letters.encode("b").at(0));
    CHECK(ids.at(5) == 0);
    CHECK(lengths.at(0) + 10 * lengths.at(1) + 100 * lengths.at(2) == 102);
  }
}
