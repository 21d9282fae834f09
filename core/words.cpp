#include "words-inl.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>
#include <vector>

namespace tapegrad {
namespace {

using Json = nlohmann::json;

/// The text as a string of JSON.
std::string quoted(std::string_view text) {
  return Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Number of letters to change, add or remove (Levenshtein 1966) to get from `a` to `b`, or to
/// what `b` begins with.
std::size_t distance(std::string_view a, std::string_view b, bool beginning) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t k = 0; k < b.size(); ++k) {
      const std::size_t changed = diagonal + (a[i] == b[k] ? 0 : 1);
      diagonal = row[k + 1];
      row[k + 1] = std::min({row[k] + 1, diagonal + 1, changed});
    }
  }
  return beginning ? std::ranges::min(row) : row.back();
}

}  // namespace

std::string joined(std::span<const std::string> words, std::string_view between) {
  std::string text;
  for (const std::string& word : words) {
    if (&word != words.data()) text += between;
    text += word;
  }
  return text;
}

std::string joined(std::span<const std::size_t> numbers, std::string_view between) {
  std::vector<std::string> words;
  for (const std::size_t number : numbers) words.push_back(std::to_string(number));
  return joined(words, between);
}

std::string described(DType dtype, const Shape& shape) {
  return fmt::format("{} {}", to_string(dtype), to_string(shape));
}

std::string as_utf8(std::string_view text) { return Json::parse(quoted(text)).get<std::string>(); }

std::string escaped(std::string_view text) {
  const std::string marked = quoted(text);
  return marked.substr(1, marked.size() - 2);
}

std::string shown(std::string_view text) {
  constexpr std::size_t most = 60;
  return escaped(text.substr(0, most)) + (text.size() > most ? "..." : "");
}

std::string shown_path(const std::filesystem::path& path) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  const std::string& text = path.native();
  return std::ranges::any_of(text, is_control) ? escaped(text) : text;
}

std::string near_names(std::string_view wanted, std::span<const std::string> names,
                       bool beginning) {
  std::vector<std::pair<std::size_t, std::string_view>> ranked;
  for (const std::string& name : names) {
    ranked.emplace_back(distance(wanted, name, beginning), name);
  }
  std::ranges::stable_sort(ranked, {}, [](const auto& pair) { return pair.first; });
  ranked.resize(std::min<std::size_t>(ranked.size(), 3));
  std::string list = "is it " + shown(ranked[0].second);
  for (std::size_t i = 1; i < ranked.size() && ranked[i].first < 2 * ranked[0].first; ++i)
    list += ", " + shown(ranked[i].second);
  return list + "?";
}

void Listing::add(std::string_view item) {
  constexpr std::size_t most_characters = 3000;
  if (text_.size() > most_characters) {
    ++more_;
  } else {
    text_.append(text_.empty() ? "" : "; ").append(item);
  }
}

std::string Listing::text() const {
  return more_ == 0 ? text_ : fmt::format("{}; and {} more", text_, more_);
}

}  // namespace tapegrad
