// Covers core/data/words: what is a word; which ids words get; there and back; what is refused.

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "../../core/data/words.h"
#include "../../core/error.h"

using namespace tapegrad;

namespace {

using Words = std::vector<std::string>;

const std::vector<Words> texts = {{"b", "a", "c", "a"}, {"b", "d", "a", "<unk>"}};

}  // namespace

TEST_CASE("words: white space and punctuation end them, what joins two parts does not") {
  CHECK(split_words("") == Words{});
  CHECK(split_words(" \t\n\v\f\r ") == Words{});
  CHECK(split_words("The film, it's well-made.") ==
        Words{"the", "film", ",", "it's", "well-made", "."});
  CHECK(split_words("The Film", false) == Words{"The", "Film"});
  CHECK(split_words("'tis rock'n'roll' - a- -b --") ==
        Words{"'", "tis", "rock'n'roll", "'", "-", "a", "-", "-", "b", "-", "-"});
  CHECK(split_words("a''b") == Words{"a", "'", "'", "b"});
  CHECK(split_words("3.5 <unk>") == Words{"3", ".", "5", "<", "unk", ">"});
  // UTF-8 and bytes of other encodings stay whole; only ASCII letters are made small.
  CHECK(split_words("na\xc3\xafve \xc3\x89T\xc3\x89 caf\xe9") ==
        Words{"na\xc3\xafve", "\xc3\x89t\xc3\x89", "caf\xe9"});
  CHECK(split_words(std::string("a\0b", 3)) == Words{std::string("a\0b", 3)});
}

TEST_CASE(
    "words: of a text that has them already, spaces separate them, and a line may end in one") {
  CHECK(split_at_spaces("") == Words{});
  CHECK(split_at_spaces(" the <unk> 's\t n't \n\n a") == Words{"the", "<unk>", "'s", "n't", "a"});
  CHECK(split_at_spaces("a b\n\n c", "<eos>") == Words{"a", "b", "<eos>", "<eos>", "c", "<eos>"});
  CHECK(split_at_spaces("a\n", "<eos>") == Words{"a", "<eos>"});
}

TEST_CASE("words: ids by frequency, then by bytes, after padding and unknown") {
  const WordVocabulary all(texts);
  CHECK(all.size() == 6);
  CHECK(all.to_string() == "words:a\nb\nc\nd\n");
  CHECK(all.id("a") == 2);
  CHECK(all.id("e") == WordVocabulary::unknown);
  CHECK(all.id("<unk>") == WordVocabulary::unknown);
  CHECK(all.id("<pad>") == WordVocabulary::padding);

  CHECK(WordVocabulary(texts, {.min_count = 2}).to_string() == "words:a\nb\n");
  CHECK(WordVocabulary(texts, {.max_size = 3}).to_string() == "words:a\n");
  CHECK(WordVocabulary(texts, {.max_size = 2}).size() == 2);
  CHECK(WordVocabulary(std::vector<Words>()).size() == 2);
}

TEST_CASE("words: texts side by side") {
  const WordVocabulary all(texts);
  const auto [ids, lengths] = all.encode_batch(std::vector<Words>{{"a", "x"}, {}, {"d"}});
  CHECK(ids.shape() == Shape{2, 3});
  CHECK(ids.at(0) == all.id("a"));
  CHECK(ids.at(2) == all.id("d"));
  CHECK(ids.at(3) == WordVocabulary::unknown);
  CHECK(ids.at(1) + ids.at(4) + ids.at(5) == 3 * WordVocabulary::padding);
  CHECK(lengths.at(0) + 10 * lengths.at(1) + 100 * lengths.at(2) == 102);
}

TEST_CASE("words: there and back") {
  const WordVocabulary all(texts);
  const Tensor ids = all.encode(Words{"d", "x", "a"});
  CHECK(ids.shape() == Shape{3});
  CHECK(all.decode(ids) == Words{"d", "<unk>", "a"});
  CHECK(all.encode({}).numel() == 0);
  CHECK(WordVocabulary::from_string(all.to_string()) == all);
  CHECK(WordVocabulary::from_string("words:") == WordVocabulary(std::vector<Words>()));
  CHECK(WordVocabulary::from_string("words:b\na\n").id("b") == 2);  // in the order stored
  CHECK_FALSE(WordVocabulary(texts, {.min_count = 2}) == all);
}

TEST_CASE("words: what is refused") {
  CHECK_THROWS_WITH_AS(WordVocabulary(texts, {.max_size = 1}),
                       "[WordVocabulary] max_size is 1: it must be at least 2, for <pad> and <unk>",
                       UsageError);
  const auto of = [](const std::string& word) {
    const std::vector<Words> one = {{word}};
    return WordVocabulary(one);
  };
  CHECK_THROWS_WITH_AS(of(""), "[WordVocabulary] a word is empty: it must have a character",
                       UsageError);
  CHECK_THROWS_WITH_AS(of("a\nb"),
                       "[WordVocabulary] word 'a\\nb' has a line break: split the text first",
                       UsageError);
  CHECK_THROWS_WITH_AS(of("<pad>"),
                       "[WordVocabulary] a text has the word <pad>, which stands for no word",
                       UsageError);

  const auto read = [](const std::string& stored) { return WordVocabulary::from_string(stored); };
  CHECK_THROWS_WITH_AS(read("characters:ab"),
                       "[WordVocabulary] what is stored does not begin with 'words:'", FileError);
  CHECK_THROWS_WITH_AS(read("words:a\nb"),
                       "[WordVocabulary] the last word stored has no end: the file is cut off",
                       FileError);
  CHECK_THROWS_WITH_AS(read("words:a\n\n"),
                       "[WordVocabulary] a word is empty: it must have a character", FileError);
  CHECK_THROWS_WITH_AS(read("words:a\nb\na\n"), "[WordVocabulary] the word 'a' is stored twice",
                       FileError);
  CHECK_THROWS_WITH_AS(read("words:<unk>\n"), "[WordVocabulary] the word '<unk>' is stored twice",
                       FileError);

  const WordVocabulary all(texts);
  CHECK_THROWS_WITH_AS(all.decode(Tensor::from({2}, {2, 6})),
                       "[decode] id 6 at position 1 is not in the vocabulary: ids are 0 to 5",
                       UsageError);
  CHECK_THROWS_WITH_AS(all.decode(Tensor::from({1}, {-1})),
                       "[decode] id -1 at position 0 is not in the vocabulary: ids are 0 to 5",
                       UsageError);
  CHECK_THROWS_AS(all.decode(Tensor::zeros({1})), DtypeError);
}
