#include "pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

#include "fork-inl.h"

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

void* from_heap(std::size_t bytes) { return ::operator new (bytes, std::align_val_t{alignment}); }
void to_heap(void* block) noexcept { ::operator delete (block, std::align_val_t{alignment}); }

#ifdef TAPEGRAD_BYPASS_POOL

void* take(std::size_t bytes) { return from_heap(bytes); }
void put(void* block, std::size_t) noexcept { to_heap(block); }
void trim_all() noexcept {}
Usage usage_now() noexcept { return {}; }

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

// Blocks from this size on are mapped one by one: what is given back then leaves the process, which
// the heap of the C library does not promise.
constexpr std::size_t mapped = std::size_t{1} << 20;

void* from_system(std::size_t bytes) {
  if (bytes < mapped) return from_heap(bytes);
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) throw std::bad_alloc();
  return block;
}

void to_system(void* block, std::size_t bytes) noexcept {
  if (bytes < mapped) {
    to_heap(block);
  } else {
    munmap(block, bytes);
  }
}

struct FreeBlock {
  FreeBlock* next;
  std::size_t bytes;
};

struct FreeList {
  FreeBlock* head = nullptr;
  std::size_t count = 0;

  void push(void* block, std::size_t bytes) noexcept {
    head = new (block) FreeBlock{head, bytes};
    ++count;
  }
  FreeBlock* pop() noexcept {
    FreeBlock* block = head;
    if (block != nullptr) {
      head = block->next;
      --count;
    }
    return block;
  }
};

using FreeLists = std::array<FreeList, class_count>;

void give_back(FreeLists& lists) noexcept {
  for (FreeList& list : lists) {
    while (FreeBlock* block = list.pop()) to_system(block, block->bytes);
  }
}

class SharedPool {
 public:
  /// A block of the class, or null.
  void* take(SizeClass c) noexcept {
    const std::lock_guard lock(mutex_);
    void* block = lists_[c.index].pop();
    if (block == nullptr) return nullptr;
    idle_ -= c.bytes;
    count_use(c);
    return block;
  }
  /// Counts a block that the system had.
  void add(SizeClass c) noexcept {
    const std::lock_guard lock(mutex_);
    count_use(c);
  }
  void put(void* block, SizeClass c) noexcept {
    std::optional<FreeLists> surplus;  // goes back without the lock
    {
      const std::lock_guard lock(mutex_);
      in_use_ -= c.bytes;
      if (idle_ + c.bytes > std::max(always_idle, 2 * most_in_use_)) surplus = all_idle();
      lists_[c.index].push(block, c.bytes);
      idle_ += c.bytes;
    }
    if (surplus) give_back(*surplus);
  }
  /// Returns whether there was anything to give back.
  bool trim() noexcept {
    FreeLists all;
    bool any = false;
    {
      const std::lock_guard lock(mutex_);
      any = idle_ != 0;
      all = all_idle();
    }
    give_back(all);
    return any;
  }
  Usage usage() noexcept {
    const std::lock_guard lock(mutex_);
    return {in_use_, idle_};
  }
  std::mutex& mutex() { return mutex_; }

 private:
  static constexpr std::size_t always_idle = std::size_t{64} << 20;

  void count_use(SizeClass c) noexcept {
    in_use_ += c.bytes;
    most_in_use_ = std::max(most_in_use_, in_use_);
  }
  FreeLists all_idle() noexcept {
    idle_ = 0;
    most_in_use_ = in_use_;
    return std::exchange(lists_, {});
  }

  std::mutex mutex_;
  FreeLists lists_;
  std::size_t idle_ = 0, in_use_ = 0, most_in_use_ = 0;
};

SharedPool& shared_pool() {
  static auto* pool =
      new SharedPool;  // never destroyed: static tensors may be released after main()
  return *pool;
}
std::mutex& shared_mutex() { return shared_pool().mutex(); }
[[maybe_unused]] const bool usable_after_fork = hold_in_fork<shared_mutex>();

/// Free lists of one thread, so that the common case takes no lock.
struct ThreadCache {
  // Bounded per class, or a thread that only releases would hoard what another one allocates; and
  // no large blocks, which no other thread could give back when memory is short. A pass of a
  // thousand small nodes finds all its blocks here.
  static constexpr std::size_t large = std::size_t{1} << 16;
  static constexpr std::size_t most(std::size_t bytes) {
    constexpr std::size_t blocks = 64, all_of_them = std::size_t{1} << 18;
    return std::max(blocks, all_of_them / bytes);
  }
  FreeLists lists;

  ~ThreadCache();
};

thread_local bool cache_is_gone = false;  // trivial, so it can be asked during thread exit
thread_local ThreadCache cache;

ThreadCache::~ThreadCache() {
  cache_is_gone = true;
  for (std::size_t i = 0; i < class_count; ++i) {
    while (FreeBlock* block = lists[i].pop()) shared_pool().put(block, {i, block->bytes});
  }
}

bool is_cached(SizeClass c) noexcept { return c.bytes < ThreadCache::large && !cache_is_gone; }

bool give_back_all() noexcept {
  bool any = false;
  if (!cache_is_gone) {
    for (FreeList& list : cache.lists) {
      while (FreeBlock* block = list.pop()) {
        shared_pool().put(block, size_class(block->bytes));
        any = true;
      }
    }
  }
  return shared_pool().trim() || any;
}

void* take(std::size_t bytes) {
  const SizeClass c = size_class(bytes);
  if (is_cached(c)) {
    if (void* block = cache.lists[c.index].pop()) return block;
  }
  if (void* block = shared_pool().take(c)) return block;
  void* block = nullptr;
  try {
    block = from_system(c.bytes);
  } catch (const std::bad_alloc&) {
    if (!give_back_all()) throw;
    block = from_system(c.bytes);
  }
  shared_pool().add(c);
  return block;
}

void put(void* block, std::size_t bytes) noexcept {
  const SizeClass c = size_class(bytes);
  if (is_cached(c) && cache.lists[c.index].count < ThreadCache::most(c.bytes)) {
    cache.lists[c.index].push(block, c.bytes);
  } else {
    shared_pool().put(block, c);
  }
}

void trim_all() noexcept { give_back_all(); }
Usage usage_now() noexcept { return shared_pool().usage(); }

#endif

}  // namespace

void* allocate(std::size_t bytes) {
  void* block = take(bytes);
  if (poisoned.load(std::memory_order_relaxed)) std::memset(block, 0xFF, bytes);
  return block;
}

void release(void* block, std::size_t bytes) noexcept { put(block, bytes); }

void trim() noexcept { trim_all(); }

Usage usage() noexcept { return usage_now(); }

void poison(bool on) noexcept { poisoned.store(on, std::memory_order_relaxed); }

}  // namespace tapegrad::pool
