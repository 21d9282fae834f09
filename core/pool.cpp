#include "pool.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TAPEGRAD_BYPASS_POOL 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define TAPEGRAD_BYPASS_POOL 1
#endif
#endif

namespace tapegrad::pool {
namespace {

std::atomic<bool> poisoned{false};

void* from_system(std::size_t bytes) { return ::operator new (bytes, std::align_val_t{alignment}); }
void to_system(void* block) noexcept { ::operator delete (block, std::align_val_t{alignment}); }

#ifdef TAPEGRAD_BYPASS_POOL

void* take(std::size_t bytes) { return from_system(bytes); }
void put(void* block, std::size_t) noexcept { to_system(block); }
void trim_all() noexcept {}

#else

// Four classes per power of two: at most a quarter of a block is unused.
constexpr std::size_t class_count = 4 * 59;  // of sizes up to 2^64

struct SizeClass {
  std::size_t index;
  std::size_t bytes;
};

SizeClass size_class(std::size_t bytes) {
  const std::size_t size = bytes < alignment ? alignment : bytes;
  const auto power =
      static_cast<std::size_t>(std::bit_width(size - 1)) - 1;  // 2^power < size <= 2^(power+1)
  const std::size_t quarter = std::size_t{1} << (power - 2);
  const std::size_t base = std::size_t{1} << power;
  const std::size_t step = (size - base + quarter - 1) / quarter;  // 1..4
  return {4 * (power - 5) + step - 1, base + step * quarter};
}

struct FreeBlock {
  FreeBlock* next;
};

struct FreeList {
  FreeBlock* head = nullptr;
  std::size_t count = 0;

  void push(void* block) noexcept {
    head = new (block) FreeBlock{head};
    ++count;
  }
  void* pop() noexcept {
    FreeBlock* block = head;
    if (block != nullptr) {
      head = block->next;
      --count;
    }
    return block;
  }
};

using FreeLists = std::array<FreeList, class_count>;

struct SharedPool {
  std::mutex mutex;
  FreeLists lists;
};

SharedPool& shared_pool() {
  static auto* pool =
      new SharedPool;  // never destroyed: static tensors may be released after main()
  return *pool;
}

void empty(FreeLists& lists) noexcept {
  for (FreeList& list : lists) {
    while (void* block = list.pop()) to_system(block);
  }
}

/// What one thread keeps for itself, so that the common case takes no lock.
struct ThreadCache {
  // Bounded per class, or a thread that only releases would hoard what another one allocates.
  static constexpr std::size_t most = 64;
  FreeLists lists;

  ~ThreadCache();
};

thread_local bool cache_is_gone = false;  // trivial, so it can be asked during thread exit
thread_local ThreadCache cache;

ThreadCache::~ThreadCache() {
  cache_is_gone = true;
  SharedPool& pool = shared_pool();
  const std::lock_guard lock(pool.mutex);
  for (std::size_t i = 0; i < class_count; ++i) {
    while (void* block = lists[i].pop()) pool.lists[i].push(block);
  }
}

void* take(std::size_t bytes) {
  const SizeClass c = size_class(bytes);
  if (!cache_is_gone) {
    if (void* block = cache.lists[c.index].pop()) return block;
  }
  {
    SharedPool& pool = shared_pool();
    const std::lock_guard lock(pool.mutex);
    if (void* block = pool.lists[c.index].pop()) return block;
  }
  return from_system(c.bytes);
}

void put(void* block, std::size_t bytes) noexcept {
  const std::size_t index = size_class(bytes).index;
  if (!cache_is_gone && cache.lists[index].count < ThreadCache::most) {
    cache.lists[index].push(block);
    return;
  }
  SharedPool& pool = shared_pool();
  const std::lock_guard lock(pool.mutex);
  pool.lists[index].push(block);
}

void trim_all() noexcept {
  if (!cache_is_gone) empty(cache.lists);
  SharedPool& pool = shared_pool();
  const std::lock_guard lock(pool.mutex);
  empty(pool.lists);
}

#endif

}  // namespace

void* allocate(std::size_t bytes) {
  void* block = take(bytes);
  if (poisoned.load(std::memory_order_relaxed)) std::memset(block, 0xFF, bytes);
  return block;
}

void release(void* block, std::size_t bytes) noexcept { put(block, bytes); }

void trim() noexcept { trim_all(); }

void poison(bool on) noexcept { poisoned.store(on, std::memory_order_relaxed); }

}  // namespace tapegrad::pool
