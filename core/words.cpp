#include "words-inl.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

namespace tapegrad {

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

std::string escaped(std::string_view text) {
  using Json = nlohmann::json;
  const std::string quoted =
      Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
  return quoted.substr(1, quoted.size() - 2);
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
