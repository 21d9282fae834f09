#pragma once

#include "cxx20.h"

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

/// Memory of tensors: a process-wide pool of 64-byte aligned blocks in size classes.
///
/// A training step asks for the same sizes again and again, so from the third step on (the first
/// leaves gradients and moments behind) every request is met from a free list: no heap allocation,
/// no page fault. Each thread has small lists of its own, of blocks below 64 KiB, in front of the
/// shared ones. The pool is never destroyed, so tensors of static Parameters may outlive
/// everything. Builds with a sanitizer bypass it, so that every block is watched.
///
/// What lies idle in the shared lists is at most 64 MiB or, if that is more, twice what was in use
/// at once since memory was last given back. Beyond that, and before std::bad_alloc is thrown, all
/// of it goes back to the system. (Twice: forward and backward may need blocks of different sizes.)
namespace tapegrad::pool {

inline constexpr std::size_t alignment = 64;

/// Returns a block of at least `bytes` bytes; throws std::bad_alloc if the system has none even
/// after all idle memory of the shared lists and of this thread has been given back.
void* allocate(std::size_t bytes);
/// Gives back a block; `bytes` is what was asked for.
void release(void* block, std::size_t bytes) noexcept;

/// Returns all free blocks of this thread and of the shared lists to the system.
void trim() noexcept;

/// Bytes of the pool, as its size classes round them.
struct Usage {
  std::size_t in_use;  // and in the threads' own lists
  std::size_t idle;    // in the shared lists
};
/// Returns the memory that the pool holds now; zeros in builds that bypass it.
Usage usage() noexcept;

/// Fills every block with bytes 0xFF (a NaN in float and double) as it is handed out: a test that
/// runs so proves that nothing reads memory before writing it.
void poison(bool on) noexcept;

/// The pool as the allocator of a standard container.
template <class T>
struct Allocator {
  using value_type = T;
  Allocator() = default;
  template <class U>
  Allocator(const Allocator<U>&) noexcept {
  }  // NOLINT(google-explicit-constructor): allocators convert

  T* allocate(std::size_t count) {
    if (count > PTRDIFF_MAX / sizeof(T)) throw std::bad_alloc();
    return static_cast<T*>(pool::allocate(count * sizeof(T)));
  }
  void deallocate(T* block, std::size_t count) noexcept { pool::release(block, count * sizeof(T)); }
  bool operator==(const Allocator&) const = default;
};

template <class T>
using Vector = std::vector<T, Allocator<T>>;

}  // namespace tapegrad::pool
