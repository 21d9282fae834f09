#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "../tensor.h"

/// Tables of comma-separated values (RFC 4180), as spreadsheets and Python's csv and pandas write
/// them.
namespace tapegrad {

struct CsvOptions {
  char separator = ',';  // ';' and '\t' are common too
  bool header = true;    // the first row has the columns' names; else they are "0", "1", "2", ...
  /// Cells of a column of numbers that have no value.
  std::vector<std::string> missing = {"",    "NA",   "N/A",  "NaN",  "nan",
                                      "n/a", "NULL", "null", "None", "?"};
};

/// Treatment of missing values: an error, NaN, or the value of the row before.
enum class Missing : std::uint8_t { refuse, nan, previous };

struct ColumnOptions {
  DType dtype = DType::float64;  // of the result; int32 takes integers alone
  Missing missing = Missing::refuse;
};

/// Table that read_csv() has read: the file's text, of which columns are made on demand. A column
/// takes one pass over the text, and so do many of them together.
class Table {
 public:
  /// Returns the number of rows, n, without the header.
  std::size_t rows() const { return rows_; }
  const std::vector<std::string>& names() const& { return names_; }
  std::vector<std::string> names() && { return std::move(names_); }

  /// Returns a column of numbers, (n). A number is decimal, with a point in every locale: 12, +1.5,
  /// -2e-3, inf; spaces and tabs around it do not count. Throws FileError, with line and column, for
  /// a cell that is missing (unless the options say what it becomes), is no number, or is out of the
  /// dtype's range; for a name that is no column's; UsageError for Missing::nan of int32.
  Tensor column(std::string_view name, const ColumnOptions& options = {}) const;
  /// Returns columns of numbers side by side, in the order of `names`, (n, k); throws likewise.
  Tensor columns(const std::vector<std::string>& names, const ColumnOptions& options = {}) const;
  /// Returns the n cells of a column as they stand in the file, without quotes around them.
  std::vector<std::string> text(std::string_view name) const;

 private:
  friend Table read_csv(const std::filesystem::path& path, const CsvOptions& options);
  Table() = default;
  std::vector<std::size_t> places_of(const std::vector<std::string>& names) const;

  std::filesystem::path path_;
  CsvOptions options_;
  std::string text_;
  std::vector<std::string> names_;
  std::size_t first_row_ = 0;  // where it begins in the text
  std::size_t rows_ = 0;
};

/// Reads a table of comma-separated values.
///
/// Rows end with LF, CR LF or CR, the last one also with the file; empty lines are no rows. A cell
/// that begins with a quotation mark ends with the next single one: separators and line breaks
/// between them belong to the cell, and two marks are one. Spaces around the names in the header do
/// not count. A byte order mark of UTF-8 is skipped; bytes that are not ASCII are taken as they are.
/// A Table takes as much memory as the file has bytes.
///
/// Throws FileError, with line and column, for a row with more or fewer cells than the first, a
/// quotation mark that is not closed or that text follows, a name that is there twice, a byte 0, a
/// file that is empty, has only a header, or has more than 1,000,000 columns or 16 GiB; UsageError
/// for a separator that is a quotation mark or a line break.
Table read_csv(const std::filesystem::path& path, const CsvOptions& options = {});

/// Column to be written: numbers, (n), or n texts.
struct CsvColumn {
  std::string name;
  std::variant<Tensor, std::vector<std::string>> values;
};

/// Writes columns side by side under a header with their names, whole or not at all
/// (write_file_atomically). Numbers have as few digits as give the same number of the column's dtype
/// again; NaN is "nan". Texts are in quotation marks where they must be. Rows end with LF.
///
/// Throws ShapeError unless all columns have the same number of values, at least one, and a tensor
/// one axis; UsageError without columns, for an undefined tensor, for a name that is there twice,
/// for a text with a byte 0, and for a separator as read_csv() does; FileError as
/// write_file_atomically() does.
void write_csv(const std::filesystem::path& path, const std::vector<CsvColumn>& columns,
               char separator = ',');

}  // namespace tapegrad
