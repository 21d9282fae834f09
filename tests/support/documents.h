#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

/// Reading the documents, so that tests can hold them to what the code does.
namespace tapegrad::testing {

using Lines = std::vector<std::string>;

/// A file of the checkout, in or below which the tests run, line by line.
inline Lines read_lines(const std::filesystem::path& name) {
  namespace fs = std::filesystem;
  fs::path folder = fs::current_path();
  while (!fs::exists(folder / name) && folder != folder.parent_path())
    folder = folder.parent_path();
  std::ifstream in(folder / name);
  REQUIRE_MESSAGE(in.good(), name.string(), " is not there; run the tests in the checkout");
  Lines lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

inline std::string trimmed(std::string_view s) {
  const std::size_t begin = s.find_first_not_of(' ');
  if (begin == std::string_view::npos) return "";
  return std::string(s.substr(begin, s.find_last_not_of(' ') + 1 - begin));
}

/// A fenced block: what stands behind its opening fence, on the line before it, and inside.
struct Block {
  std::string language;
  std::string before;
  Lines lines;
};

inline std::vector<Block> blocks_of(const Lines& document) {
  std::vector<Block> blocks;
  bool inside = false;
  for (std::size_t n = 0; n < document.size(); ++n) {
    const std::string line = trimmed(document[n]);
    if (line.starts_with("```")) {
      if (!inside) blocks.push_back({line.substr(3), n > 0 ? document[n - 1] : "", {}});
      inside = !inside;
    } else if (inside) {
      blocks.back().lines.push_back(document[n]);
    }
  }
  REQUIRE_FALSE(inside);
  return blocks;
}

/// The rows of all tables by their first cell, which must be their own; heads have an empty one.
using Rows = std::map<std::string, std::vector<std::string>>;

inline Rows rows_of(const Lines& document) {
  Rows rows;
  for (const std::string& line : document) {
    if (!line.starts_with("| ") || line.starts_with("| |") || line.starts_with("|-")) continue;
    std::vector<std::string> cells;
    for (std::size_t begin = 1; begin < line.size();) {
      const std::size_t end = line.find('|', begin);
      REQUIRE_MESSAGE(end != std::string::npos, line);
      cells.push_back(trimmed(std::string_view(line).substr(begin, end - begin)));
      begin = end + 1;
    }
    const std::string name = cells.front();
    cells.erase(cells.begin());
    REQUIRE_MESSAGE(rows.emplace(name, cells).second, "two rows are called ", name);
  }
  return rows;
}

}  // namespace tapegrad::testing
