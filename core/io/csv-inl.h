#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "../fail-inl.h"
#include "../words-inl.h"

#pragma GCC visibility push(hidden)

/// Parts of reading and writing comma-separated values: checks, and the grammar of rows and cells,
/// which are views of the text.
namespace tapegrad::csv {

inline constexpr std::size_t max_columns = 1'000'000;  // a cell takes more memory than its text
inline constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

inline void check_separator(const char* op, char separator) {
  if (std::string_view("\"\r\n\0", 4).find(separator) == std::string_view::npos) return;
  fail<UsageError>(op, "separator is '{}': it must not be a quotation mark, a line break or byte 0",
                   escaped(std::string_view(&separator, 1)));
}

/// Returns the index of the first name that an earlier one equals, or how many there are.
inline std::size_t first_repeated(const std::vector<std::string>& names) {
  std::unordered_set<std::string_view> seen;
  const auto is_new = [&](std::string_view name) { return seen.insert(name).second; };
  return static_cast<std::size_t>(std::ranges::find_if_not(names, is_new) - names.begin());
}

/// Returns the text without spaces and tabs around it.
inline std::string_view trimmed(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

/// Returns the cell that is read back as `text`: in quotation marks where it must be.
inline std::string cell_of(std::string_view text, char separator) {
  const char special[] = {separator, '"', '\r', '\n'};
  // An empty cell alone would make an empty line.
  const bool plain = !text.empty() && text == trimmed(text) && !text.starts_with(byte_order_mark) &&
                     text.find_first_of(special, 0, sizeof special) == std::string_view::npos;
  if (plain) return std::string(text);
  std::string cell = "\"";
  for (const char c : text) cell.append(c == '"' ? 2 : 1, c);
  return cell += '"';
}

/// A cell as it stands in the text, less the quotation marks around it.
struct Cell {
  std::string_view text;
  bool quoted = false;
  const char* fault = nullptr;  // why the row cannot be read on from here

  std::string value() const {
    std::string value;
    value.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
      value += text[i];
      if (quoted && text[i] == '"') ++i;  // there are two
    }
    return value;
  }
};

/// The rows of a text from byte `at` on, one after the other.
class Rows {
 public:
  Rows(std::string_view text, char separator, std::size_t at)
      : text_(text), separator_(separator), at_(at) {}

  /// Reads the next row; returns whether there was one. Line breaks before it are skipped: what ends
  /// the row before, and empty lines. A row ends early at a fault, and after max_columns + 1 cells.
  bool next() {
    at_ = std::min(text_.find_first_not_of("\r\n", at_), text_.size());
    cells_.clear();
    if (at_ == text_.size()) return false;
    for (cells_.push_back(cell()); goes_on(); cells_.push_back(cell())) ++at_;
    return true;
  }
  const std::vector<Cell>& cells() const { return cells_; }
  /// Returns where that row ends.
  std::size_t at() const { return at_; }

 private:
  bool ends_cell(char c) const { return c == separator_ || c == '\n' || c == '\r'; }
  bool goes_on() const {
    return cells_.back().fault == nullptr && cells_.size() <= max_columns &&
           text_.substr(at_).starts_with(separator_);
  }

  /// Reads the cell at at_, and moves to what ends it.
  Cell cell() {
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with('"')) return quoted_cell(rest);
    const auto end = std::ranges::find_if(rest, [this](char c) { return ends_cell(c); });
    const std::string_view text(rest.begin(), end);
    at_ += text.size();
    return {text};
  }
  Cell quoted_cell(std::string_view rest) {
    std::size_t end = rest.find('"', 1);
    while (end != rest.npos && rest.substr(end + 1).starts_with('"')) end = rest.find('"', end + 2);
    if (end == rest.npos) return {rest.substr(1), true, "has no closing quotation mark"};
    at_ += end + 1;
    const bool ended = at_ == text_.size() || ends_cell(text_[at_]);
    return {rest.substr(1, end - 1), true,
            ended ? nullptr : "goes on behind its closing quotation mark"};
  }

  std::string_view text_;
  char separator_;
  std::size_t at_;
  std::vector<Cell> cells_;
};

}  // namespace tapegrad::csv

#pragma GCC visibility pop
