#pragma once

#include <cstddef>

#include "../simd/product-inl.h"
#include "lstm.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::kernels::lstm {

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
  Sizes sizes_;
  kernels::Packed<T> weight_ih_, weight_hh_;
  std::size_t row_;
  Scratch<T> bias_;       // (4, row): b_ih + b_hh
  Scratch<T> projected_;  // (n B, 4H): W_ih x; none for one step
  Scratch<T> y_;          // (n + 1, B, row): h before the first step and after each
  Scratch<T> c_;          // (B, row)
};

}  // namespace tapegrad::kernels::lstm

#pragma GCC visibility pop
