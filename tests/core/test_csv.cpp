// Covers core/io/csv: texts as Python's csv module reads them; numbers and missing values; what is
// refused, with line and column; written and read again.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "../../core/error.h"
#include "../../core/io/csv.h"
#include "../fixtures/csv.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;
using namespace std::string_literals;

namespace {

using Texts = std::vector<std::string>;

Table table_of(std::string_view text, const CsvOptions& options = {}) {
  const TempFolder folder;
  spill(folder / "x.csv", text);
  return read_csv(folder / "x.csv", options);
}

/// The message that act(path of a file with this text) throws, with "x.csv" for the path.
template <class Act>
std::string said(std::string_view text, Act act) {
  const TempFolder folder;
  const std::string path = folder / "x.csv";
  spill(path, text);
  std::string message = message_of([&] { act(path); });
  if (const auto at = message.find(path); at != std::string::npos) {
    message.replace(at, path.size(), "x.csv");
  }
  return message;
}

std::string refusal(std::string_view text, const CsvOptions& options = {}) {
  return said(text, [&](const std::string& path) { read_csv(path, options); });
}

std::string refused_column(std::string_view text, const ColumnOptions& options = {},
                           std::string_view name = "a") {
  return said(text, [&](const std::string& path) { read_csv(path).column(name, options); });
}

std::vector<double> values_of(const Tensor& t) {
  std::vector<double> values;
  for (std::size_t i = 0; i < t.numel(); ++i) values.push_back(t.at(i));
  return values;
}

}  // namespace

TEST_CASE("csv: texts are read as Python's csv module reads them") {
  for (const CsvText& text : csv_texts) {
    CAPTURE(text.text);
    const Table table = table_of(text.text, {.separator = text.separator});
    CHECK(table.names() == Texts(text.rows[0].begin(), text.rows[0].end()));
    REQUIRE(table.rows() == text.rows.size() - 1);
    for (std::size_t k = 0; k < table.names().size(); ++k) {
      const Texts cells = table.text(table.names()[k]);
      for (std::size_t row = 0; row < table.rows(); ++row) {
        CHECK(cells[row] == text.rows[row + 1][k]);
      }
    }
    const Table bare = table_of(text.text, {.separator = text.separator, .header = false});
    CHECK(bare.rows() == text.rows.size());
    CHECK(bare.text("0")[0] == text.rows[0][0]);
  }
}

TEST_CASE("csv: a byte order mark and spaces around names are no part of them") {
  const Table table = table_of("\xef\xbb\xbf\"a\", b ,\" c \"\n1,2,3\n");
  CHECK(table.names() == Texts{"a", "b", " c "});
  CHECK(table_of("\xef\xbb\xbf"
                 "7,8",
                 {.header = false})
            .column("0")
            .item() == 7);
}

TEST_CASE("csv: numbers") {
  const Table table = table_of(
      "a,b,id\n"
      "1,0.1, 7\n"
      " +2.5 ,\t-1e-3,-2147483648\n"
      "\"3\",.5,+3\n"
      "inf,-inf,0\n"
      "-0,3.4028235e38,2147483647\n");
  CHECK(table.rows() == 5);
  const Tensor a = table.column("a");
  CHECK(a.dtype() == DType::float64);
  CHECK(a.shape() == Shape{5});
  CHECK(values_of(a) == std::vector<double>{1, 2.5, 3, INFINITY, 0});
  CHECK(std::signbit(a.at(4)));
  const Tensor b = table.column("b", {.dtype = DType::float32});
  CHECK(b.values<float>()[0] == 0.1F);
  CHECK(b.values<float>()[4] == std::numeric_limits<float>::max());
  CHECK(values_of(table.column("id", {.dtype = DType::int32})) ==
        std::vector<double>{7, -2147483648.0, 3, 0, 2147483647});

  const Tensor both = table.columns({"id", "a", "id"});
  CHECK(both.shape() == Shape{5, 3});
  CHECK(values_of(both.row(1)) == std::vector<double>{-2147483648.0, 2.5, -2147483648.0});
}

TEST_CASE("csv: missing values become what the caller says") {
  const char* const text = "a,b\n1,x\n,x\nNA,x\n4,x\n nan ,x\n";
  CHECK(refused_column(text) ==
        "[Table] x.csv: line 3, column 'a': '' is a missing value: choose Missing::nan or "
        "Missing::previous");
  const Table table = table_of(text);
  const Tensor nan = table.column("a", {.missing = Missing::nan});
  CHECK(nan.at(0) == 1);
  CHECK(std::isnan(nan.at(1)));
  CHECK(std::isnan(nan.at(2)));
  CHECK(nan.at(3) == 4);
  CHECK(std::isnan(nan.at(4)));
  CHECK(values_of(table.column("a", {.missing = Missing::previous})) ==
        std::vector<double>{1, 1, 1, 4, 4});
  CHECK(
      values_of(table_of("a,b\n1,2\n?,3\n4,?\n")
                    .columns({"b", "a"}, {.dtype = DType::int32, .missing = Missing::previous})) ==
      std::vector<double>{2, 1, 3, 1, 3, 4});
  CHECK(refused_column("a\nNA\n1\n", {.missing = Missing::previous}) ==
        "[Table] x.csv: line 2, column 'a': 'NA' is a missing value, and there is no row before");
  CHECK(values_of(table_of("a\n5\n-999\n", {.missing = {"-999"}})
                      .column("a", {.missing = Missing::previous})) == std::vector<double>{5, 5});
  CHECK(refused_column("a\n1\n", {.dtype = DType::int32, .missing = Missing::nan}) ==
        "[Table] int32 has no NaN: choose Missing::previous, or another dtype");
}

TEST_CASE("csv: a cell that is no number is refused with its place") {
  const std::string no_number = " is not a number, as 12, -1.5 and 2e-3 are";
  for (const char* cell : {"abc", "1,5", "1 2", "1e", "0x10", "+-1", "++1", "--1", "1_0", "-nan(1)",
                           "+", "-", ".", "e5", "12a", "1.2.3"}) {
    CHECK(refused_column("a,b\n1,2\n\"" + std::string(cell) + "\",3\n") ==
          fmt::format("[Table] x.csv: line 3, column 'a': '{}'{}", cell, no_number));
  }
  for (const char* cell : {"1.0", "1e3", "abc", "+-1"}) {
    CHECK(refused_column(fmt::format("a\n{}\n", cell), {.dtype = DType::int32}) ==
          fmt::format("[Table] x.csv: line 2, column 'a': '{}' is not an integer", cell));
  }
  const auto range = [](const char* cell, DType dtype) {
    CHECK(refused_column(fmt::format("a\n{}\n", cell), {.dtype = dtype}) ==
          fmt::format("[Table] x.csv: line 2, column 'a': '{}' is out of the range of {}", cell,
                      to_string(dtype)));
  };
  range("1e999", DType::float64);
  range("-1e999", DType::float64);
  range("1e-999", DType::float64);
  range("3.5e38", DType::float32);
  range("1e-60", DType::float32);
  range("2147483648", DType::int32);
  // Lines are those of the file: line breaks in quotes, empty lines, CR and CR LF.
  CHECK(refused_column("a,b\r\n\r\n1,\"x\r\ny\nz\"\r2,3\n\nx,\n") ==
        "[Table] x.csv: line 8, column 'a': 'x'" + no_number);
  CHECK(refused_column("a,b\n1,\"" + std::string(100, 'x') + "\"\n", {}, "b") ==
        "[Table] x.csv: line 2, column 'b': '" + std::string(60, 'x') + "...'" + no_number);
}

TEST_CASE("csv: what is no table is refused with its place") {
  CHECK(refusal("") == "[read_csv] x.csv: is empty: it has no rows");
  CHECK(refusal("\n\r\n") == "[read_csv] x.csv: is empty: it has no rows");
  CHECK(refusal("\xef\xbb\xbf") == "[read_csv] x.csv: is empty: it has no rows");
  CHECK(refusal("a,b\n") ==
        "[read_csv] x.csv: has a header but no rows: {.header = false} takes it for a row");
  CHECK(refusal("a,b,c\n1,2,3\n4,5\n") ==
        "[read_csv] x.csv: line 3, column 'c': the row has 2 cells but there are 3 columns");
  CHECK(refusal("a,b\n1,2\n3,4,5,6\n") ==
        "[read_csv] x.csv: line 3, column 3: the row has 4 cells but there are 2 columns");
  CHECK(refusal("1,2\n3\n", {.header = false}) ==
        "[read_csv] x.csv: line 2, column '1': the row has 1 cells but there are 2 columns");
  CHECK(refusal("a,b\n1,2\n3,\"4\n5,6\n") ==
        "[read_csv] x.csv: line 3, column 'b': '4\\n5,6\\n' has no closing quotation mark");
  CHECK(refusal("a,\"b\"c\n") ==
        "[read_csv] x.csv: line 1, column 2: 'b' goes on behind its closing quotation mark");
  CHECK(refusal("a,b, a\n1,2,3\n") ==
        "[read_csv] x.csv: line 1, column 3: the name 'a' is there twice");
  CHECK(
      refusal("a,b\n1,x\0y\n"s) ==
      "[read_csv] x.csv: line 2, column 'b': 'x\\u0000y' has a byte 0: the file must be text, and "
      "not in UTF-16");
  CHECK(refusal("\xff\xfe"
                "a\0,\0b\0\n\0"s)
            .ends_with("has a byte 0: the file must be text, and not in UTF-16"));
  CHECK(refusal(std::string(1'000'000, ','), {.header = false}) ==
        "[read_csv] x.csv: line 1, column 1000001: there may be at most 1000000 columns");
  CHECK(refusal("a\n1\n", {.separator = '"'}) ==
        "[read_csv] separator is '\\\"': it must not be a quotation mark, a line break or byte 0");
}

TEST_CASE("csv: a column that is not there is refused with those that have near names") {
  const std::string text = "load,lead,temperature\n1,2,3\n";
  CHECK(refused_column(text, {}, "lod") == "[Table] x.csv has no column lod: is it load?");
  CHECK(refused_column(text, {}, "l_ad") == "[Table] x.csv has no column l_ad: is it load, lead?");
  CHECK(refused_column("a;b\n1;2\n", {}, "a") == "[Table] x.csv has no column a: is it a;b?");
  CHECK(said(text, [](const auto& path) {
          read_csv(path).columns({"load", "x"});
        }) == "[Table] x.csv has no column x: is it load, lead?");
  CHECK(said(text, [](const auto& path) { read_csv(path).text("x"); }) ==
        "[Table] x.csv has no column x: is it load, lead?");
}

TEST_CASE("csv: what is written reads back as it was") {
  const TempFolder folder;
  const Texts texts = {"", " x", "a,b;c", "say \"no\"", "two\r\nlines", "\"", "größe"};
  const Tensor wide =
      Tensor::of({7}, {0.1, -0.0, 1e300, 5e-324, INFINITY, -INFINITY, 1.0 / 3}, DType::float64);
  const Tensor narrow = Tensor::of({7}, {0.1, -1, 3e38, 1e-45, 16777217, 2, 1.0 / 3});
  const Tensor ids = Tensor::of({7}, {-2147483648.0, 2147483647, 0, 1, 2, 3, 4}, DType::int32);
  for (const char separator : {',', ';', '\t'}) {
    write_csv(folder / "x.csv",
              {{" a, name\n", texts}, {"wide", wide}, {"narrow", narrow}, {"ids", ids}}, separator);
    const Table table = read_csv(folder / "x.csv", {.separator = separator});
    CHECK(table.names() == Texts{" a, name\n", "wide", "narrow", "ids"});
    CHECK(table.text(" a, name\n") == texts);
    CHECK(values_of(table.column("wide")) == values_of(wide));
    CHECK(std::signbit(table.column("wide").at(1)));
    CHECK(values_of(table.column("narrow", {.dtype = DType::float32})) == values_of(narrow));
    CHECK(values_of(table.column("ids", {.dtype = DType::int32})) == values_of(ids));
  }
  write_csv(folder / "y.csv", {{"n", Tensor::of({3}, {0.1, -NAN, 2}, DType::float32)},
                               {"t", Texts{"a b", "c\"d", ""}}});
  CHECK(slurp(folder / "y.csv") == "n,t\n0.1,a b\nnan,\"c\"\"d\"\n2,\"\"\n");
  write_csv(folder / "z.csv", {{"t", Texts{"", "x"}}});
  CHECK(read_csv(folder / "z.csv").text("t") == Texts{"", "x"});
}

TEST_CASE("csv: what is written comes back, whatever the separator and the first name") {
  const TempFolder folder;
  const Tensor numbers = Tensor::of({3}, {1.5, -2e30, 7}, DType::float64);
  for (const char separator : {'.', '-', 'e', '7', ' '}) {
    write_csv(folder / "x.csv", {{"\xef\xbb\xbfx", numbers}, {"y", numbers}}, separator);
    const Table table = read_csv(folder / "x.csv", {.separator = separator});
    CHECK(table.names() == Texts{"\xef\xbb\xbfx", "y"});
    CHECK(values_of(table.column("y")) == values_of(numbers));
  }
}

TEST_CASE("csv: columns that cannot be written are refused, and nothing is written") {
  const TempFolder folder;
  const auto refused = [&](const std::vector<CsvColumn>& columns, char separator = ',') {
    return message_of([&] { write_csv(folder / "x.csv", columns, separator); });
  };
  const Tensor two = Tensor::zeros({2});
  CHECK(refused({}) == "[write_csv] there are no columns: give at least one");
  CHECK(refused({{"a", Tensor()}}) == "[write_csv] column 'a' is undefined: give it values first");
  CHECK(refused({{"a", two}, {"b", Texts{"x"}}}) ==
        "[write_csv] column 'b' has 1 values but 'a' has 2: they must have as many, at least one");
  CHECK(refused({{"a", Tensor::zeros({0})}}) ==
        "[write_csv] column 'a' has 0 values but 'a' has 0: they must have as many, at least one");
  CHECK(refused({{"a", Tensor::zeros({2, 1})}}) ==
        "[write_csv] column 'a' has shape (2, 1): it must have one axis, (n)");
  CHECK(refused({{"a", two}, {"b", two}, {"a", two}}) ==
        "[write_csv] the name 'a' is there twice: give each column its own");
  CHECK(refused({{"a", Texts{"x\0"s}}}) ==
        "[write_csv] 'x\\u0000' has a byte 0, which no reader takes");
  CHECK(refused({{"a", two}}, '\n') ==
        "[write_csv] separator is '\\n': it must not be a quotation mark, a line break or byte 0");
  CHECK(folder.names().empty());
}
