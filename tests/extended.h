#pragma once

#include <cstddef>
#include <cstdlib>

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

/// True in the long tier, tests/extended.sh.
inline bool extended() { return std::getenv("TAPEGRAD_EXTENDED") != nullptr; }

/// How long a test goes on: a sanitizer makes everything some ten times slower.
inline std::size_t length(std::size_t standard, std::size_t in_long_tier) {
  return (extended() ? in_long_tier : standard) / (sanitized ? 20 : 1);
}

}  // namespace tapegrad::testing
