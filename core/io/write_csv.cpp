#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "../dispatch-inl.h"
#include "../fail-inl.h"
#include "../words-inl.h"
#include "atomic_file.h"
#include "csv-inl.h"
#include "csv.h"

namespace tapegrad {
namespace {

using namespace csv;

/// Returns the number of rows that the columns have.
std::size_t check_columns(const std::vector<CsvColumn>& columns) {
  constexpr const char* op = "write_csv";
  if (columns.empty()) fail<UsageError>(op, "there are no columns: give at least one");
  std::vector<std::string> names;
  std::size_t rows = 0;
  for (const auto& [name, values] : columns) {
    const Tensor* const numbers = std::get_if<Tensor>(&values);
    if (numbers != nullptr && !numbers->defined())
      fail<UsageError>(op, "column '{}' is undefined: give it values first", shown(name));
    if (numbers != nullptr && numbers->rank() != 1) {
      fail<ShapeError>(op, "column '{}' has shape {}: it must have one axis, (n)", shown(name),
                       numbers->shape());
    }
    const std::size_t size =
        numbers != nullptr ? numbers->numel() : std::get<std::vector<std::string>>(values).size();
    if (names.empty()) rows = size;
    if (size != rows || size == 0) {
      fail<ShapeError>(
          op, "column '{}' has {} values but '{}' has {}: they must have as many, at least one",
          shown(name), size, shown(columns[0].name), rows);
    }
    names.push_back(name);
  }
  if (const std::size_t k = first_repeated(names); k < names.size()) {
    fail<UsageError>(op, "the name '{}' is there twice: give each column its own", shown(names[k]));
  }
  return rows;
}

/// Appends a text as a cell that reads back as the same text.
void append(std::string& line, std::string_view text, char separator) {
  if (text.find('\0') != std::string_view::npos) {
    fail<UsageError>("write_csv", "'{}' has a byte 0, which no reader takes", shown(text));
  }
  line += cell_of(text, separator);
}

void append(std::string& line, const Tensor& numbers, std::size_t row, char separator) {
  dispatch(numbers.dtype(), [&]<class T>(T) {
    const T value = numbers.data<T>()[row];
    const bool is_nan = value != value;  // fmt would show its sign
    line += cell_of(is_nan ? "nan" : fmt::format("{}", value), separator);  // which may be a point
  });
}

}  // namespace

void write_csv(const std::filesystem::path& path, const std::vector<CsvColumn>& columns,
               char separator) {
  check_separator("write_csv", separator);
  const std::size_t rows = check_columns(columns);
  std::string text;
  const auto end_cell = [&](const CsvColumn& column) {
    text += &column == &columns.back() ? '\n' : separator;
  };
  for (const CsvColumn& column : columns) {
    append(text, column.name, separator);
    end_cell(column);
  }
  for (std::size_t row = 0; row < rows; ++row) {
    for (const CsvColumn& column : columns) {
      if (const Tensor* const numbers = std::get_if<Tensor>(&column.values)) {
        append(text, *numbers, row, separator);
      } else {
        append(text, std::get<std::vector<std::string>>(column.values)[row], separator);
      }
      end_cell(column);
    }
  }
  write_file_atomically(path, text, "write_csv");
}

}  // namespace tapegrad
