#include "heap.h"

#include <malloc.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> calls{0};
std::atomic<std::size_t> blocks{0}, bytes_used{0};
std::atomic<std::size_t> first_failing{0}, last_failing{0};  // numbers of calls; 0: none

void* take(std::size_t bytes, std::size_t alignment) noexcept {
  const std::size_t call = ++calls;
  if (first_failing <= call && call <= last_failing) return nullptr;
  if (bytes > PTRDIFF_MAX) return nullptr;  // rounded up it might wrap
  const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
  void* const block = std::aligned_alloc(alignment, whole);
  if (block != nullptr) {
    ++blocks;
    bytes_used += malloc_usable_size(block);
  }
  return block;
}

void* take_or_throw(std::size_t bytes, std::size_t alignment) {
  if (void* const block = take(bytes, alignment)) return block;
  throw std::bad_alloc();
}

void give(void* block) noexcept {
  if (block == nullptr) return;
  --blocks;
  bytes_used -= malloc_usable_size(block);
  std::free(block);
}

constexpr std::size_t plain = alignof(std::max_align_t);
std::size_t number(std::align_val_t alignment) { return static_cast<std::size_t>(alignment); }

}  // namespace

namespace tapegrad::testing {

std::size_t allocations() { return calls; }
std::size_t blocks_in_use() { return blocks; }
std::size_t bytes_in_use() { return bytes_used; }

FailingAllocation::FailingAllocation(std::size_t n, bool lasting) {
  first_failing = calls + n;
  last_failing = lasting ? SIZE_MAX : first_failing.load();
}
FailingAllocation::~FailingAllocation() { last_failing = 0; }
bool FailingAllocation::happened() const { return calls >= first_failing; }

}  // namespace tapegrad::testing

// All forms, or those of a sanitizer would mix with these.
// clang-format off
void* operator new(std::size_t n) { return take_or_throw(n, plain); }
void* operator new[](std::size_t n) { return take_or_throw(n, plain); }
void* operator new(std::size_t n, std::align_val_t a) { return take_or_throw(n, number(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return take_or_throw(n, number(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return take(n, plain); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return take(n, plain); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return take(n, number(a)); }
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return take(n, number(a)); }
void operator delete(void* p) noexcept { give(p); }
void operator delete[](void* p) noexcept { give(p); }
void operator delete(void* p, std::size_t) noexcept { give(p); }
void operator delete[](void* p, std::size_t) noexcept { give(p); }
void operator delete(void* p, std::align_val_t) noexcept { give(p); }
void operator delete[](void* p, std::align_val_t) noexcept { give(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { give(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { give(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { give(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { give(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { give(p); }
// clang-format on
