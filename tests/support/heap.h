#pragma once

#include <cstddef>

/// What this program asks of operator new, in all its forms, which heap.cpp replaces. Sanitizer
/// builds too: they watch the malloc beneath.
namespace tapegrad::testing {

/// Calls of operator new so far.
std::size_t allocations();
/// Blocks that were not deleted so far, and their bytes as the heap rounded them, by more or less.
std::size_t blocks_in_use();
std::size_t bytes_in_use();

/// While it lives, the n-th call of operator new from here on throws std::bad_alloc, and so do all
/// after it if `lasting`.
class FailingAllocation {
 public:
  explicit FailingAllocation(std::size_t n, bool lasting = false);
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;
  ~FailingAllocation();

  /// Whether there were n calls.
  bool happened() const;
};

}  // namespace tapegrad::testing
