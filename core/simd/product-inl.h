#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "../scratch-inl.h"

#pragma GCC visibility push(hidden)

// Matrix products C (m, n) = A (m, k) B (k, n) in the machine's widest vectors. B is packed first:
// cut into panels of some columns, in each of which the k rows lie one after the other, so that the
// inner loop reads it in order. Who multiplies by the same B again packs it once.
//
// An element of C is the sum of parts of part_depth(k) terms: each part is summed in the order of k,
// and the parts are added in order, whatever m, n and the blocks are that a caller makes of them. So
// its bits depend on its row of A, its column of B and the instruction set.
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

/// Terms of a sum that are added in registers: so many rows of a panel stay in the first cache.
inline constexpr std::size_t product_depth = 128;

/// Terms of a part of a sum of k terms. A short sum is two chains of additions that do not wait for
/// each other: one row, a streamed sample, has nothing else to do meanwhile.
constexpr std::size_t part_depth(std::size_t k) {
  return k >= 8 && k <= 32 ? (k + 1) / 2 : product_depth;
}

/// A right operand (k, gates * units) in panels. The columns of a recurrent cell's weights are gates
/// of `units` columns each: then the vectors of all gates for the same units lie side by side. Other
/// matrices are one gate.
template <class T>
class Packed {
 public:
  Packed(std::size_t k, std::size_t units, const Strided<T>& b, std::size_t gates = 1);
  /// Takes the elements of another operand of the same sizes, in the same memory.
  void pack(const Strided<T>& b) noexcept;

  /// Returns how many panels, of nearly equal width, the columns are cut into. One gate only.
  std::size_t panels() const;
  /// The first column of panel `panel`; the number of columns for one more than there are.
  std::size_t first_column(std::size_t panel) const;
  /// C (m, n) = A B, or with `add` += instead of =, in the columns of `count` panels from `first`
  /// on. C has rows `ldc` apart. One gate only.
  void multiply(std::size_t m, const Strided<T>& a, std::size_t first, std::size_t count, bool add,
                T* c, std::size_t ldc) const;
  void multiply(std::size_t m, const Strided<T>& a, bool add, T* c, std::size_t ldc) const {
    multiply(m, a, 0, panels(), add, c, ldc);
  }

  std::size_t terms() const { return k_; }
  std::size_t units() const { return units_; }
  /// Units, rounded up to whole vectors: those behind the last are zeros.
  std::size_t padded_units() const;
  std::size_t gates() const { return gates_; }
  const T* data() const { return data_.get(); }

 private:
  std::size_t k_, units_, gates_;
  Scratch<T> data_;
};

/// `total` things in parts of nearly equal size, at most `most`.
struct Parts {
  std::size_t total, count;
  constexpr Parts(std::size_t things, std::size_t most)
      : total(things), count((things + most - 1) / most) {}
  constexpr std::size_t begin(std::size_t i) const { return total * i / count; }
  constexpr std::size_t size(std::size_t i) const { return begin(i + 1) - begin(i); }
};

/// The i-th of n parts: what one of several threads does.
struct Part {
  std::size_t index = 0, count = 1;

  std::size_t begin(std::size_t things) const { return things * index / count; }
  std::size_t end(std::size_t things) const { return things * (index + 1) / count; }
};

/// Sums of some rows and units, for all gates: element (row, gate, unit), counted from the first row
/// and unit, is data[row * row_stride + gate * gate_stride + unit].
template <class T>
struct GateSums {
  std::size_t row, rows;
  std::size_t unit, units;
  const T* data;
  std::size_t row_stride, gate_stride;
};

/// start + A_0 B_0 + A_1 B_1, which nobody stores: finish(cell, sums) uses it in parts that are in
/// the first cache.
template <class T>
struct GateProduct {
  struct Term {
    Strided<T> a;        // (rows, k)
    const Packed<T>* b;  // (k, gates * units)
  };
  std::size_t rows;
  const T* start;  // (rows, gates * units); null: zeros
  /// (rows): row i begins with row start_rows[i] of `start`, which has any number of them; null:
  /// with row i.
  const std::int32_t* start_rows = nullptr;
  Term terms[2];
  std::size_t count;  // of terms, at least 1
  Part part;          // of the units
  void (*finish)(const void* cell, const GateSums<T>& sums);
  const void* cell;
};
template <class T>
[[gnu::visibility("hidden")]] void run(const GateProduct<T>& product);

/// Runs such a product with finish(sums) of any type; one term or two.
template <class T, class Finish>
void run(std::size_t rows, const T* start,
         std::span<const std::type_identity_t<typename GateProduct<T>::Term>> terms,
         const Finish& finish) {
  run<T>({.rows = rows,
          .start = start,
          .terms = {terms.front(), terms.back()},
          .count = terms.size(),
          .finish = [](const void* cell,
                       const GateSums<T>& sums) { (*static_cast<const Finish*>(cell))(sums); },
          .cell = &finish});
}

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
