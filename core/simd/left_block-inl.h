// Private: the left operand of a product. Highway compiles this once for each
// instruction set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_SIMD_LEFT_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_SIMD_LEFT_BLOCK_INL_H_
#undef TAPEGRAD_CORE_SIMD_LEFT_BLOCK_INL_H_
#else
#define TAPEGRAD_CORE_SIMD_LEFT_BLOCK_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <optional>

#include "product-inl.h"

#pragma GCC visibility push(hidden)
HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

// A tile of C lives in registers: rows x vectors sums, a vector each of B, and one element of A.
constexpr std::size_t max_rows = 6;

template <class T>
constexpr std::size_t line = 64 / sizeof(T);  // elements of a cache line

/// Memory for a copy, or null if there is none: C may be half-written already, and a copy is only
/// faster.
template <class T>
class Copy {
 public:
  explicit Copy(std::size_t count) {
    try {
      if (count > 0) memory_.emplace(count);
    } catch (const std::bad_alloc&) {
    }
  }
  T* get() const { return memory_ ? memory_->get() : nullptr; }

 private:
  std::optional<Scratch<T>> memory_;
};

/// A block of A, which all panels are multiplied with. What a tile reads in turn is copied together
/// if it is far apart: where A is transposed, and where rows would push each other out of a cache.
template <class T>
class LeftBlock {
 public:
  LeftBlock(std::size_t rows, std::size_t depth, const Strided<T>& a, bool often)
      : transposed_(a.column != 1),
        copy_(often && (transposed_ || (a.row * sizeof(T) % 4096 == 0 && rows > 128))
                  ? rows * (depth + line<T>)
                  : 0) {}

  void fill(const Parts& rows, std::size_t depth, const Strided<T>& a) {
    a_ = a;
    depth_ = depth;
    T* const to = copy_.get();
    if (to != nullptr && transposed_) copy_transposed(rows, to);
    for (std::size_t i = 0; to != nullptr && !transposed_ && i < rows.total; ++i) {
      std::copy_n(a.data + i * a.row, depth, to + i * (depth + line<T>));
    }
  }
  /// `rows` rows from `row` on, terms from `term` on.
  Strided<T> at(std::size_t row, std::size_t rows, std::size_t term) const {
    const T* const copy = copy_.get();
    if (copy == nullptr) return a_.from(row, term);
    if (transposed_) return {copy + row * depth_ + term * rows, 1, rows};
    return {copy + row * (depth_ + line<T>)+term, depth_ + line<T>, 1};
  }

 private:
  /// Each tile's rows (depth, rows).
  void copy_transposed(const Parts& rows, T* copy) const {
    constexpr std::size_t run = 8;  // terms, so that the lines of A stay in the first cache
    for (std::size_t first = 0; first < depth_; first += run) {
      const std::size_t count = std::min(run, depth_ - first);
      for (std::size_t t = 0; t < rows.count; ++t) {
        const std::size_t row = rows.begin(t), height = rows.size(t);
        T* to = copy + row * depth_ + first * height;
        const Strided<T> from = a_.from(row, first);
        if (from.row == 1 && height == max_rows) {
          for (std::size_t p = 0; p < count; ++p, to += max_rows) {
            std::memcpy(to, from.data + p * from.column, max_rows * sizeof(T));
          }
          continue;
        }
        for (std::size_t p = 0; p < count; ++p) {
          for (std::size_t i = 0; i < height; ++i)
            *to++ = from.data[i * from.row + p * from.column];
        }
      }
    }
  }

  bool transposed_;
  Copy<T> copy_;
  Strided<T> a_{};
  std::size_t depth_ = 0;
};

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#pragma GCC visibility pop

#endif  // per-target include guard
