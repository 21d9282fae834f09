#pragma once

#include <cstddef>
#include <optional>

#include "../simd/product-inl.h"
#include "cells.h"
#include "lstm.h"

#pragma GCC visibility push(hidden)

// A recurrent layer that is run as its input comes, for as long as there is some: a copy of its
// weights, laid out for the products, and the state of its rows. G is its gates, 4, 3 or 1 blocks.
namespace tapegrad::kernels::stream {

/// Steps of one row, for which the kernel of an instruction set exists.
template <class T>
struct RowSteps {
  std::size_t steps, input, hidden, row;
  const T* x;  // (steps, input), rows `x_stride` apart
  std::size_t x_stride;
  const T* projected;  // (steps, G, row): W_ih x; null: not there
  const T* weight_ih;  // as Packed has them
  const T* weight_hh;
  const T* bias;  // (G, row), and (row) more if a block is apart: as in cells_step-inl.h
  T* h;           // (steps + 1, row) in: the first; out: the others
  T* c;           // (row) in and out; only of the LSTM
};

/// Parameters of a layer. Read only.
template <class T>
struct Weights {
  lstm::Weights<T> cell;  // G for 4H in its shapes
  const T* h0 = nullptr;  // (H): the first h of all rows; null: 0
  const T* c0 = nullptr;  // (H), likewise
};

/// Variants, as in lstm.h and cells.h; 0: off. gradient_clip changes no value, but the LSTM computes
/// elements otherwise for it.
template <class T>
struct Variant {
  T zoneout_h = 0;
  T zoneout_c = 0;
  T cell_clip = 0;
  T gradient_clip = 0;
};

/// A layer of one cell. The bits are those of its forward(), however the steps are divided among
/// calls.
///
/// Rows of states have `row_size()` elements: H, and zeros up to whole vectors. Nothing here
/// allocates after the constructor. The caller makes FlushSubnormals, for the constructor, too.
template <class T>
class Stream {
 public:
  struct Sizes {
    std::size_t steps;   // n: those of a call
    std::size_t batch;   // B
    std::size_t input;   // I
    std::size_t hidden;  // H
  };
  /// From the first state. `cell`: one of cells.h; none: the LSTM.
  Stream(std::optional<cells::Cell> cell, const Sizes& sizes, const Weights<T>& weights,
         const Variant<T>& variant);
  /// Takes other weights of the same sizes, and with peepholes where there were some.
  void load(const Weights<T>& weights) noexcept;

  /// x (n B, I), in the order of time. Returns h_t, (n B, row_size()); the next call overwrites it.
  const T* run(const Strided<T>& x) noexcept;

  T* h() const { return y_.get(); }  // (B, row_size())
  T* c() const { return c_.get(); }  // likewise; null: the cell has none
  std::size_t row_size() const { return row_; }
  void reset() noexcept;

 private:
  std::size_t gates() const { return weight_hh_.gates(); }
  std::size_t projected_rows() const;
  void project(const Strided<T>& x) noexcept;
  void move_rows(Strided<T> x) noexcept;
  void move_elements(std::size_t t, const GateSums<T>& sums) noexcept;

  std::optional<cells::Cell> cell_;
  Sizes sizes_;
  std::size_t apart_;  // 1: W_ih x of the last block stays apart from W_hh h, as in cells.h; or 0
  bool with_variant_;  // the elements are computed by the steps with variants
  void (*move_row_)(const RowSteps<T>&);  // null: several rows, or variants
  kernels::Packed<T> weight_ih_, weight_hh_;
  std::size_t row_;
  Scratch<T> bias_;       // (gates + apart, row): b_ih + b_hh
  Scratch<T> projected_;  // (projected_rows(), gates, row): W_ih x
  Scratch<T> first_;      // (2, row): h and c before the first step
  Scratch<T> y_;          // (n + 1, B, row): h before the first step and after each
  Scratch<T> c_;          // (B, row)
  Scratch<T> peephole_;   // (3, row)
  Scratch<T> zoneout_h_;  // (B, row): the rate
  Scratch<T> zoneout_c_;
  lstm::Variant<T> variant_;
};

}  // namespace tapegrad::kernels::stream

#pragma GCC visibility pop
