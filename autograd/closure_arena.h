#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "../core/pool.h"

namespace tapegrad {

class Grads;

/// A backward rule as it lies in the arena: what to call, and the captures behind it.
struct Closure {
  void (*run)(Closure&, Grads&);
  void (*destroy)(Closure&) noexcept;
};

/// Memory for the rules of one pass: bumped forward, reset as a whole, its blocks kept for the next
/// pass. (std::function would allocate for every rule: 418 allocations for one composed LSTM step.)
class ClosureArena {
 public:
  ClosureArena() = default;
  ClosureArena(const ClosureArena&) = delete;
  ClosureArena& operator=(const ClosureArena&) = delete;
  ~ClosureArena() { release(); }

  template <class F>
  Closure* make(F&& rule) {
    struct Holder : Closure {
      std::decay_t<F> rule;
    };
    static_assert(alignof(Holder) <= alignof(std::max_align_t));
    return new (take(sizeof(Holder)))
        Holder{{[](Closure& c, Grads& g) { static_cast<Holder&>(c).rule(g); },
                [](Closure& c) noexcept { static_cast<Holder&>(c).~Holder(); }},
               std::forward<F>(rule)};
  }

  /// Forgets all closures (the caller has destroyed them) and keeps the memory.
  void reset() { block_ = used_ = 0; }
  /// Gives the memory back to the pool.
  void release() {
    for (const Block& b : blocks_) pool::release(b.memory, b.bytes);
    blocks_.clear();
    reset();
  }

 private:
  struct Block {
    void* memory;
    std::size_t bytes;
  };

  void* take(std::size_t bytes) {
    constexpr std::size_t step = alignof(std::max_align_t);
    bytes = (bytes + step - 1) / step * step;
    while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size()) {
      const std::size_t size = blocks_.empty() ? std::size_t{1} << 14 : 2 * blocks_.back().bytes;
      const std::size_t enough = bytes > size ? bytes : size;
      blocks_.reserve(blocks_.size() + 1);
      blocks_.push_back({pool::allocate(enough), enough});
    }
    void* place = static_cast<std::byte*>(blocks_[block_].memory) + used_;
    used_ += bytes;
    return place;
  }

  std::vector<Block> blocks_;
  std::size_t block_ = 0;
  std::size_t used_ = 0;
};

}  // namespace tapegrad
