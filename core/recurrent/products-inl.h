#pragma once

#include <cstddef>

#include "../simd/product-inl.h"
#include "memory-inl.h"
#include "schedule-inl.h"

#pragma GCC visibility push(hidden)

// The matrix products of a recurrent cell, whose pre-activations are G columns (blocks of H):
//
//   a_t = W_ih x_t + b + W_hh (m * h_{t-1})          W_ih (G, I), W_hh (G, H), m a recurrent mask
//
// Forward, W_ih x_t is one product for all steps of a chunk, and W_hh (m * h_{t-1}) one a step.
// Backward, dh_{t-1} = m * (da_t W_hh) is one product a step, and what is a sum over time is merged
// into one product over all N rows.
//
// All templates are instantiated for float and double.
namespace tapegrad::kernels {

/// The columns of the matrices.
struct Columns {
  std::size_t input;   // I
  std::size_t hidden;  // H
  std::size_t gates;   // G
};

/// Input products of one chunk at a time: gates (rows, G) = x W_ih^T.
template <class T>
class InputProduct {
 public:
  /// `all_gates` (N, G): where they are kept; null: only those of the current chunk.
  InputProduct(const Schedule& schedule, const Columns& columns, const T* x, const T* weight_ih,
               T* all_gates);
  void compute(const Chunk& chunk) const;
  /// The gates of some rows of the current chunk.
  T* of(const Chunk& chunk, const Rows& rows) const {
    return start(chunk) + (rows.first - chunk.first) * columns_.gates;
  }

 private:
  T* start(const Chunk& chunk) const {
    return all_ != nullptr ? all_ + chunk.first * columns_.gates : own_.get();
  }

  Columns columns_;
  const T* x_;
  const T* weight_ih_;
  T* all_;
  Scratch<T> own_;  // (rows of a chunk, G)
};

/// The product of one step with W_hh, one way. h and dh are running states (B, H).
template <class T>
class HiddenProduct {
 public:
  enum class Way : bool { forward, backward };
  /// `mask` (B, H): m; null: 1.
  HiddenProduct(Way way, const Schedule& schedule, const Columns& columns, const T* weight_hh,
                const T* mask);
  /// For Schedule's run_forward() and run_backward().
  std::size_t row_operations() const { return 2 * columns_.gates * columns_.hidden; }
  /// gates (rows, G) += (m * h) W_hh^T; with `overwrite` = instead of +=.
  void add_to_gates(const T* h, const Rows& rows, T* gates, bool overwrite = false) const;
  /// dh = m * (da W_hh), or with `add` += instead of =; da (rows, G).
  void pass_to_h_before(const T* da, const Rows& rows, T* dh, bool add) const;

 private:
  Columns columns_;
  Packed<T> weight_hh_;
  const T* mask_;
  Scratch<T> masked_;  // (B, H): m * h, or da W_hh before the mask; none without a mask
};

/// h_before (N, H) = m * h_{t-1}: a row of y (N, H), or of h0 (B, H) in a sequence's first step.
/// `h0`, `mask` (B, H): null stands for 0 and 1.
template <class T>
void states_before(const Schedule& schedule, std::size_t hidden, const T* y, const T* h0,
                   const T* mask, T* h_before);

/// The gradients that are sums over time. Results may be null: not wanted.
template <class T>
struct Merged {
  std::size_t rows;  // N
  Columns columns;
  const T* weight_ih;
  const T* x;
  const T* h_before;   // (N, H); not read if dweight_hh is null
  const T* da;         // (N, G): gradient of W_ih x_t + b
  const T* da_hidden;  // (N, G): gradient of W_hh (m * h_{t-1}), the same as `da` in most cells
  bool accumulate;     // results are added to what is there
  T* dx;               // (N, I) = da W_ih
  T* dweight_ih;       // (G, I) = da^T x
  T* dweight_hh;       // (G, H) = da_hidden^T h_before
  T* dbias;            // (G)    = sum of da over its rows
};
template <class T>
void multiply_merged(const Merged<T>& m);

/// sums (columns) = the sum of x (rows, columns) over its rows; added to what is there if
/// `accumulate`. Sums of 16 rows are added in double, so that the relative error does not grow with
/// the number of rows. The order of summation depends on the sizes alone.
template <class T>
[[gnu::visibility("hidden")]] void sum_rows(const T* x, std::size_t rows, std::size_t columns,
                                            bool accumulate, T* sums);

/// The product with an element of a mask, which selects: 0 where the mask is 0, whatever x is.
template <class T>
T masked(T mask, T x) {
  return mask == 0 ? T{0} : mask * x;
}

/// Writes a gradient into a result, or adds it to what is there.
template <class T>
void deliver(T gradient, bool accumulate, T& result) {
  result = accumulate ? result + gradient : gradient;
}

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
