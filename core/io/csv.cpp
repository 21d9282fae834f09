#include "csv.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <span>
#include <unordered_map>
#include <utility>

#include "../dispatch-inl.h"
#include "../fail-inl.h"
#include "../words-inl.h"
#include "../write-inl.h"
#include "atomic_file.h"
#include "csv-inl.h"

namespace tapegrad {
namespace {

using namespace csv;

constexpr std::size_t max_bytes = std::size_t{16} << 30;

/// Origin of cells, for messages about them.
struct Source {
  const char* op;
  const std::filesystem::path& path;
  const std::string& text;
  const std::vector<std::string>& names;  // none until they are known

  [[noreturn]] void fail(const Cell& cell, std::size_t column, std::string_view what) const {
    std::size_t line = 1;
    for (const char* c = text.c_str(); c < cell.text.data(); ++c) {
      if (*c == '\n' || (*c == '\r' && c[1] != '\n')) ++line;
    }
    const std::string name =
        column < names.size() ? "'" + shown(names[column]) + "'" : std::to_string(column + 1);
    tapegrad::fail<FileError>(op, "{}: line {}, column {}: {}", shown_path(path), line, name, what);
  }
};

void check_row(const Source& source, const std::vector<Cell>& row) {
  for (std::size_t k = 0; k < row.size(); ++k) {
    const char* fault = row[k].fault;
    if (row[k].text.find('\0') != std::string_view::npos) {
      fault = "has a byte 0: the file must be text, and not in UTF-16";
    }
    if (fault != nullptr) source.fail(row[k], k, fmt::format("'{}' {}", shown(row[k].text), fault));
  }
  if (row.size() > max_columns) {
    source.fail(row.back(), row.size() - 1,
                fmt::format("there may be at most {} columns", max_columns));
  }
  const std::size_t columns = source.names.empty() ? row.size() : source.names.size();
  if (row.size() != columns) {
    const std::size_t first = std::min(row.size(), columns);  // that has no cell, or no column
    source.fail(row[std::min(first, row.size() - 1)], first,
                fmt::format("the row has {} cells but there are {} columns", row.size(), columns));
  }
}

/// Reads all of `text` as one number.
template <class T>
std::errc parse(std::string_view text, T& value) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const char* const end = text.data() + text.size();
  value = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const bool is_nan = value != value;
  return stop != end || is_nan ? std::errc::invalid_argument : error;
}

/// Writes the numbers of the wanted columns, row by row.
template <class T>
void read_numbers(const Source& source, Rows rows, std::span<const std::size_t> wanted,
                  Missing policy, std::span<const std::string> missing, T* const into) {
  T* next = into;
  while (rows.next()) {
    for (const std::size_t column : wanted) {
      const Cell& cell = rows.cells()[column];
      const std::string_view text = trimmed(cell.text);
      const auto fail = [&](std::string_view what) {
        source.fail(cell, column, fmt::format("'{}' {}", shown(text), what));
      };
      if (std::ranges::find(missing, text) == missing.end()) {
        const std::errc error = parse(text, *next);
        if (error == std::errc::result_out_of_range) {
          fail(fmt::format("is out of the range of {}", to_string(dtype_of<T>)));
        }
        if (error != std::errc{}) {
          fail(dtype_of<T> == DType::int32 ? "is not an integer"
                                           : "is not a number, as 12, -1.5 and 2e-3 are");
        }
      } else if (policy == Missing::nan) {
        *next = std::numeric_limits<T>::quiet_NaN();
      } else if (policy == Missing::refuse) {
        fail("is a missing value: choose Missing::nan or Missing::previous");
      } else if (next < into + wanted.size()) {
        fail("is a missing value, and there is no row before");
      } else {
        *next = *(next - wanted.size());
      }
      ++next;
    }
  }
}

}  // namespace

std::vector<std::size_t> Table::places_of(const std::vector<std::string>& names) const {
  std::unordered_map<std::string_view, std::size_t> columns;
  for (const std::string& name : names_) columns.emplace(name, columns.size());
  std::vector<std::size_t> places;
  for (const std::string& name : names) {
    const auto found = columns.find(name);
    if (found == columns.end()) {
      fail<FileError>("Table", "{} has no column {}: {}", shown_path(path_), shown(name),
                      near_names(name, names_));
    }
    places.push_back(found->second);
  }
  return places;
}

Tensor Table::columns(const std::vector<std::string>& names, const ColumnOptions& options) const {
  if (options.dtype == DType::int32 && options.missing == Missing::nan) {
    fail<UsageError>("Table", "int32 has no NaN: choose Missing::previous, or another dtype");
  }
  const std::vector<std::size_t> wanted = places_of(names);
  Tensor numbers = Tensor::empty({rows_, wanted.size()}, options.dtype);
  dispatch(options.dtype, [&]<class T>(T) {
    read_numbers({"Table", path_, text_, names_}, Rows(text_, options_.separator, first_row_),
                 wanted, options.missing, options_.missing, detail::write<T>(numbers));
  });
  return numbers;
}

Tensor Table::column(std::string_view name, const ColumnOptions& options) const {
  return columns({std::string(name)}, options).reshape({rows_});
}

std::vector<std::string> Table::text(std::string_view name) const {
  const std::size_t column = places_of({std::string(name)})[0];
  std::vector<std::string> texts;
  texts.reserve(rows_);
  for (Rows rows(text_, options_.separator, first_row_); rows.next();) {
    texts.push_back(rows.cells()[column].value());
  }
  return texts;
}

Table read_csv(const std::filesystem::path& path, const CsvOptions& options) {
  constexpr const char* op = "read_csv";
  check_separator(op, options.separator);
  Table table;
  table.path_ = path;
  table.options_ = options;
  table.text_ = read_file(path, max_bytes, op);
  table.first_row_ = table.text_.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
  const Source source{op, table.path_, table.text_, table.names_};
  Rows rows(table.text_, options.separator, table.first_row_);
  if (!rows.next()) fail<FileError>(op, "{}: is empty: it has no rows", shown_path(path));
  check_row(source, rows.cells());
  std::vector<std::string> names;
  for (const Cell& cell : rows.cells()) {
    names.push_back(!options.header ? std::to_string(names.size())
                    : cell.quoted   ? cell.value()
                                    : std::string(trimmed(cell.text)));
  }
  if (const std::size_t k = first_repeated(names); k < names.size()) {
    source.fail(rows.cells()[k], k, fmt::format("the name '{}' is there twice", shown(names[k])));
  }
  table.names_ = std::move(names);
  table.rows_ = options.header ? 0 : 1;
  if (options.header) table.first_row_ = rows.at();
  for (; rows.next(); ++table.rows_) check_row(source, rows.cells());
  if (table.rows_ == 0) {
    fail<FileError>(op, "{}: has a header but no rows: {{.header = false}} takes it for a row",
                    shown_path(path));
  }
  return table;
}

}  // namespace tapegrad
