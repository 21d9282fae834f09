#include "words-inl.h"

#include <fmt/core.h>

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

}  // namespace tapegrad
