#pragma once

#include <cstddef>

#include "../scratch-inl.h"

#pragma GCC visibility push(hidden)

// Matrix products C (m, n) = A (m, k) B (k, n) in the machine's widest vectors. B is packed first:
// cut into panels of some columns, in each of which the k rows lie one after the other, so that the
// inner loop reads it in order. Who multiplies by the same B again packs it once.
//
// An element of C is the sum of parts of `product_depth` terms: each part is summed in the order of
// k, and the parts are added in order, whatever m, n and the blocks are that a caller makes of them.
// So its bits depend on its row of A, its column of B and the instruction set.
namespace tapegrad::kernels {

/// Element (i, j) is data[i * row + j * column].
template <class T>
struct Strided {
  const T* data;
  std::size_t row;
  std::size_t column;

  Strided from(std::size_t i, std::size_t j) const {
    return {data + i * row + j * column, row, column};
  }
};

/// Terms of a sum that are added in registers.
inline constexpr std::size_t product_depth = 384;

/// Columns of a panel; where columns are split, they are split there.
template <class T>
[[gnu::visibility("hidden")]] std::size_t panel_columns();

/// A right operand in panels.
template <class T>
class Packed {
 public:
  Packed(std::size_t k, std::size_t n, const Strided<T>& b);

  /// C = A B, or with `add` += instead of =, for the columns [first, first + n) of B and C. `first` is
  /// a multiple of panel_columns(). C (m, n) has rows `ldc` apart.
  void multiply(std::size_t m, const Strided<T>& a, std::size_t first, std::size_t n, bool add,
                T* c, std::size_t ldc) const;
  std::size_t columns() const { return n_; }

 private:
  std::size_t k_, n_;
  Scratch<T> panels_;
};

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
