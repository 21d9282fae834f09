#include "fail-inl.h"

namespace tapegrad::detail {

std::string message(std::string_view where, fmt::string_view words, fmt::format_args args) {
  return fmt::format("[{}] {}", where, fmt::vformat(words, args));
}

}  // namespace tapegrad::detail
