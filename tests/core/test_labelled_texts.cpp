// Covers core/data/labelled_texts: a file for each class, a label in each line, subsets, what is refused.

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../../core/data/labelled_texts.h"
#include "../../core/error.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Strings = std::vector<std::string>;
using Ids = std::vector<std::int32_t>;

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
Ids ids(const LabelledTexts& texts) {
  const auto values = texts.labels.values<std::int32_t>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("labelled texts: a file for each class, in the order of their names") {
  const TempFolder folder;
  write(folder / "b.txt", "one\r\n\ntwo words\n");
  write(folder / "a.txt", "three");
  write(folder / "README", "no class");
  const LabelledTexts read = read_class_files(folder / "");
  CHECK(read.texts == Strings{"three", "one", "two words"});
  CHECK(ids(read) == Ids{0, 1, 1});
  CHECK(read.classes == Strings{"a", "b"});

  const LabelledTexts some = read.subset(std::vector<std::size_t>{2, 0, 2});
  CHECK(some.texts == Strings{"two words", "three", "two words"});
  CHECK(ids(some) == Ids{1, 0, 1});
  CHECK(some.classes == read.classes);
  CHECK(message_of([&] { (void)read.subset(std::vector<std::size_t>{3}); }) ==
        "[subset] place 3 does not exist: there are 3 texts");
  CHECK(message_of([&] { (void)read.subset({}); }) ==
        "[subset] there are no places: give at least one");
}

TEST_CASE("labelled texts: weights of classes that give each the same part") {
  const Tensor labels = Tensor::from<std::int32_t>({6}, {0, 2, 2, 0, 0, 1});
  const Tensor weights = balanced_class_weights(labels, 3);
  CHECK(weights.at(0) == 6 / (3.0 * 3));
  CHECK(weights.at(1) == 2);
  CHECK(weights.at(2) == 1);
  CHECK(message_of([&] { (void)balanced_class_weights(labels, 4); }) ==
        "[balanced_class_weights] class 3 has no labels: each must have one");
  CHECK(message_of([&] { (void)balanced_class_weights(labels, SIZE_MAX); }) ==
        "[balanced_class_weights] there are 6 labels for 18446744073709551615 classes: each class "
        "must have one");
  CHECK(message_of([&] { (void)balanced_class_weights(Tensor::zeros({2}), 2); }) ==
        "[balanced_class_weights] labels is float32: it must be int32; convert it with to()");
  const LabelledTexts short_of_labels{{"x", "y"}, Tensor::zeros({1}, DType::int32), {"a", "b"}};
  CHECK(message_of([&] { (void)short_of_labels.subset(std::vector<std::size_t>{1}); }) ==
        "[subset] labels has shape (1) but there are 2 texts: each must have one");
  CHECK(message_of([&] { (void)balanced_class_weights({}, 2); }) ==
        "[balanced_class_weights] labels is undefined: give it a value first");
  CHECK(message_of([&] { (void)balanced_class_weights(labels, 2); }) ==
        "[balanced_class_weights] a label is 2: it must be in [0, 2)");
}

TEST_CASE("labelled texts: what is no folder of classes is refused") {
  const TempFolder folder;
  const std::string path = (folder / "").string();
  CHECK_THROWS_AS((void)read_class_files(folder / "no"), FileError);
  write(folder / "a.txt", "one");
  CHECK(message_of([&] { (void)read_class_files(folder / ""); }) ==
        "[read_class_files] " + path +
            " has 1 files that end in .txt: there must be one for each class, two at least");
  write(folder / "b.txt", "\n\r\n");
  CHECK(message_of([&] { (void)read_class_files(folder / ""); }) ==
        "[read_class_files] " + path + "b.txt: has no texts");
}

TEST_CASE("labelled texts: a second folder has the ids of the first one's classes") {
  const TempFolder folder;
  for (const char* part : {"train", "test"}) std::filesystem::create_directory(folder / part);
  for (const char* name : {"a", "b", "c"})
    write(folder / "train" / (std::string(name) + ".x.txt"), "1");
  write(folder / "test" / "c.x.txt", "2");
  write(folder / "test" / "b.x.txt", "3\n4");
  const LabelledTexts train = read_class_files(folder / "train", ".x.txt");
  CHECK(train.classes == Strings{"a", "b", "c"});
  const LabelledTexts test = read_class_files(folder / "test", ".x.txt", train.classes);
  CHECK(test.classes == train.classes);
  CHECK(test.texts == Strings{"3", "4", "2"});
  CHECK(ids(test) == Ids{1, 1, 2});
  CHECK(message_of([&] {
          (void)read_class_files(folder / "test", ".x.txt", {"a", "b"});
        }) == "[read_class_files] " + (folder / "test" / "c.x.txt").string() +
                  ": the class 'c' is none of the 2 given: is it a, b?");
}

TEST_CASE("labelled texts: a byte order mark is no part of a label or a text") {
  const TempFolder folder;
  write(folder / "a.txt", "\xef\xbb\xbfone\n");
  write(folder / "b.txt", "two\n");
  CHECK(read_class_files(folder / "").texts == Strings{"one", "two"});
  write(folder / "lines", "\xef\xbb\xbfham\tx\r\nspam\ty\r\nham\tz\r\n");
  CHECK(read_labelled_lines(folder / "lines").classes == Strings{"ham", "spam"});
}

TEST_CASE("labelled texts: a label in front of each line") {
  const TempFolder folder;
  const auto path = folder / "lines";
  write(path, "Label\tText\nspam\tWin! \t now\r\n\nham\thello\nspam\tx");
  const LabelledTexts read = read_labelled_lines(path, {.header = true});
  CHECK(read.texts == Strings{"Win! \t now", "hello", "x"});
  CHECK(read.classes == Strings{"ham", "spam"});
  CHECK(ids(read) == Ids{1, 0, 1});
  CHECK(ids(read_labelled_lines(path, {.header = true, .classes = {"spam", "eggs", "ham"}})) ==
        Ids{0, 2, 0});
  write(path, "NUM:dist How far ?\nHUM:desc Who ?\nNUM What\n");
  const LabelledTexts coarse = read_labelled_lines(path, {.separator = ' ', .label_end = ":"});
  CHECK(coarse.classes == Strings{"HUM", "NUM"});
  CHECK(coarse.texts == Strings{"How far ?", "Who ?", "What"});
}

TEST_CASE("labelled texts: a line without label, text or separator is refused by its number") {
  const TempFolder folder;
  const auto path = folder / "lines";
  const auto message = [&](const std::string& text, const LabelledLineOptions& options = {}) {
    write(path, text);
    const std::string all = message_of([&] { (void)read_labelled_lines(path, options); });
    const std::string start = "[read_labelled_lines] " + path.string();
    CHECK(all.starts_with(start));
    return all.substr(start.size());
  };
  CHECK(message("a\tb\n\nc d\n") == ", line 3: has no '\\t' between label and text");
  CHECK(message("a\tb\n\tc\n") == ", line 2: has no label");
  CHECK(message("a\tb\nc\t\n") == ", line 2: has no text");
  CHECK(message("a\tb\na\tc\n") ==
        ": has 2 texts of 1 classes: there must be two classes at least");
  CHECK(message("a\tb\nc\td\n", {.classes = {"a", "b"}}) ==
        ", line 2: the class 'c' is none of the 2 given: is it a, b?");
  CHECK_THROWS_AS((void)read_labelled_lines(folder / "no"), FileError);
}

TEST_CASE("labelled texts: a class that is given twice is refused before anything is read") {
  const TempFolder folder;
  CHECK(message_of([&] {
          (void)read_labelled_lines(folder / "no", {.classes = {"a", "b", "a"}});
        }) == "[read_labelled_lines] the class 'a' is given twice: give each once");
  CHECK(message_of([&] {
          (void)read_class_files(folder / "no", ".txt", {"a", "a"});
        }) == "[read_class_files] the class 'a' is given twice: give each once");
}
