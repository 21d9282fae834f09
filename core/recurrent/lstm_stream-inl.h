#pragma once

#include <cstddef>

#include "../simd/product-inl.h"
#include "lstm.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::kernels::lstm {

/// Steps of one row, for which the kernel of an instruction set exists.
template <class T>
struct RowSteps {
  std::size_t steps, input, hidden, row;
  const T* x;  // (steps, input), rows `x_stride` apart
  std::size_t x_stride;
  const T* projected;  // (steps, 4, row): W_ih x; null: not there
  const T* weight_ih;  // as Packed has them
  const T* weight_hh;
  const T* bias;  // (4, row)
  T* h;           // (steps + 1, row) in: the first; out: the others
  T* c;           // (row) in and out
};

/// A layer without variants that is run as its input comes, for as long as there is some: a copy of
/// its weights, laid out for the products, and the state of its rows. The bits are those of
/// forward(), however the steps are divided among calls.
///
/// Rows of states have `row_size()` elements: H, and zeros up to whole vectors. Nothing here
/// allocates after the constructor. The caller makes FlushSubnormals.
template <class T>
class Stream {
 public:
  struct Sizes {
    std::size_t steps;   // n: those of a call
    std::size_t batch;   // B
    std::size_t input;   // I
    std::size_t hidden;  // H
  };
  /// From the zero state.
  Stream(const Sizes& sizes, const Weights<T>& weights);
  /// Takes other weights of the same sizes.
  void load(const Weights<T>& weights) noexcept;

  /// x (n B, I), in the order of time. Returns h_t, (n B, row_size()); the next call overwrites it.
  const T* run(const Strided<T>& x) noexcept;

  T* h() const { return y_.get(); }  // (B, row_size())
  T* c() const { return c_.get(); }
  std::size_t row_size() const { return row_; }
  void reset() noexcept;

 private:
  void project(const Strided<T>& x) noexcept;
  void move_rows(Strided<T> x) noexcept;

  Sizes sizes_;
  kernels::Packed<T> weight_ih_, weight_hh_;
  std::size_t row_;
  Scratch<T> bias_;  // (4, row): b_ih + b_hh
  Scratch<T>
      projected_;  // (n, 4, row): W_ih x of one row, if it is computed for all steps together
  Scratch<T> y_;   // (n + 1, B, row): h before the first step and after each
  Scratch<T> c_;   // (B, row)
};

}  // namespace tapegrad::kernels::lstm

#pragma GCC visibility pop
