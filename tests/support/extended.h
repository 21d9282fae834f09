#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tapegrad::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TAPEGRAD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define TAPEGRAD_SANITIZED 1
#endif
#endif

#ifdef TAPEGRAD_SANITIZED
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// True in tests/neon.sh.
#ifdef TAPEGRAD_EMULATED
inline constexpr bool emulated = true;
#else
inline constexpr bool emulated = false;
#endif

/// True in the long tier, tests/extended.sh.
inline bool extended() { return std::getenv("TAPEGRAD_EXTENDED") != nullptr; }

/// From how many seeds a test of random inputs starts, TAPEGRAD_SEEDS; throws if that is no number.
inline std::uint64_t seeds() {
  const char* const said = std::getenv("TAPEGRAD_SEEDS");
  if (said == nullptr) return 1;
  const std::string_view digits = said;
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  if (error != std::errc() || end != digits.data() + digits.size() || n == 0) {
    throw std::invalid_argument("TAPEGRAD_SEEDS is " + std::string(said) +
                                ": it must be a number of at least 1");
  }
  return n;
}

/// How long a test goes on: a sanitizer or an emulator makes everything ten times slower, or more.
inline std::size_t length(std::size_t standard, std::size_t in_long_tier) {
  return (extended() ? in_long_tier : standard) / (sanitized || emulated ? 20 : 1);
}

}  // namespace tapegrad::testing
