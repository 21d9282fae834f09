#pragma once

#include <string>
#include <string_view>

namespace tapegrad::testing {

/// Is `word` one of those in `classes`, as in "a|b"?
inline bool is_one_of(std::string_view classes, std::string_view word) {
  const auto fenced = [](std::string_view s) { return "|" + std::string(s) + "|"; };
  return fenced(classes).find(fenced(word)) != std::string::npos;
}

}  // namespace tapegrad::testing
