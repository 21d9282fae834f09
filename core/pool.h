#pragma once

#include <cstddef>

/// Memory of tensors: a process-wide pool of 64-byte aligned blocks in size classes.
///
/// A training step asks for the same sizes again and again, so from the second step on every
/// request is met from a free list: no heap allocation, no page fault. Each thread has a small list
/// of its own in front of the shared one. The pool is never destroyed, so tensors of static
/// Parameters may outlive everything. Builds with a sanitizer bypass it, so that every block is
/// watched.
namespace tapegrad::pool {

inline constexpr std::size_t alignment = 64;

/// A block of at least `bytes` bytes; throws std::bad_alloc.
void* allocate(std::size_t bytes);
/// Gives back a block; `bytes` is what was asked for.
void release(void* block, std::size_t bytes) noexcept;

/// Returns all free blocks of this thread and of the shared lists to the system.
void trim() noexcept;

/// Fills every block with bytes 0xFF (a NaN in float and double) as it is handed out: a test that
/// runs so proves that nothing reads memory before writing it.
void poison(bool on) noexcept;

}  // namespace tapegrad::pool
