#pragma once

#include <cstddef>
#include <cstdint>

#include "../simd/product-inl.h"
#include "memory-inl.h"
#include "schedule-inl.h"

#pragma GCC visibility push(hidden)

// The matrix products of a recurrent cell, whose pre-activations are G columns (gates of H units):
//
//   a_t = W_ih x_t + W_hh (m * h_{t-1})          W_ih (G, I), W_hh (G, H), m a recurrent mask
//
// Forward, a_t is never stored: the cell uses it unit by unit, while it is in the first cache. Where
// that is faster, W_ih x_t is one product for all steps of a chunk; or it is a row of a table that
// the caller has. A cell in which the two terms do not simply add up gets them apart: a_t is then
// W_hh (m * h_{t-1}) alone. Backward, dh_{t-1} = m * (da_t W_hh) is one product a step, and what is a sum
// over time is merged into one product over all N rows.
//
// All templates are instantiated for float and double.
namespace tapegrad::kernels {

/// The columns of the matrices.
struct Columns {
  std::size_t input;   // I
  std::size_t hidden;  // H
  std::size_t gates;   // G

  std::size_t gate_count() const { return gates / hidden; }
};

/// Units [begin, end).
struct Units {
  std::size_t begin, end;
};

/// The pre-activations of one step after another.
template <class T>
class PreActivations {
 public:
  struct Operands {
    const T* weight_ih;
    const T* weight_hh;
    const T* mask;  // m (B, H); null: 1
    const T* x;     // (N, I)
    /// (V, G): row ids[n] is in place of W_ih x_n, and I is 0; null: there is none.
    const T* table = nullptr;
    const std::int32_t* ids = nullptr;  // (N)
    /// The sums are of W_hh (m * h_{t-1}) alone, and the cell reads inputs(). Without a table.
    bool apart = false;
  };
  /// `all` (N, G): memory that the cell overwrites at its step; null: there is none.
  PreActivations(const Schedule& schedule, const Columns& columns, const Operands& operands,
                 T* all);

  /// For Schedule's run_forward().
  Work work() const;
  /// Multiplies a part of a chunk's inputs, if it is done for all its steps together.
  void project(const Chunk& chunk, Part part) const;
  /// W_ih x_t (rows, G), if it was multiplied for the chunk; in the memory of `all`, if there is any.
  const T* inputs(const Chunk& chunk, const Rows& rows) const {
    return projected(chunk) + (rows.first - chunk.first) * columns_.gates;
  }
  /// Calls finish(GateSums<T>) until it has had all `units` of the rows. `h_before` (rows, H).
  template <class Finish>
  void compute(const Chunk& chunk, const Rows& rows, Part units, const T* h_before,
               const Finish& finish) const {
    compute(chunk, rows, units, h_before, &finish, [](const void* cell, const GateSums<T>& sums) {
      (*static_cast<const Finish*>(cell))(sums);
    });
  }

 private:
  using Use = void (*)(const void* cell, const GateSums<T>& sums);
  void compute(const Chunk& chunk, const Rows& rows, Part units, const T* h_before,
               const void* cell, Use finish) const;
  T* projected(const Chunk& chunk) const {
    return all_ != nullptr ? all_ + chunk.first * columns_.gates : own_.get();
  }

  Columns columns_;
  Operands operands_;
  bool merged_;  // inputs of a chunk are multiplied together
  Packed<T> weight_ih_, weight_hh_;
  T* all_;
  Scratch<T> own_;     // (rows of a chunk, G)
  Scratch<T> masked_;  // (B, H): m * h
};

/// dh_{t-1} = m * (da_t W_hh), one step at a time.
template <class T>
class StateGradient {
 public:
  /// `mask` (B, H): m; null: 1.
  StateGradient(const Schedule& schedule, const Columns& columns, const T* weight_hh,
                const T* mask);
  /// For Schedule's run_backward().
  Work work() const;
  /// The units that one of several threads computes of dh; their da is what it should compute, too.
  Units units(Part part) const;
  /// dh, running, = m * (da W_hh), or with `add` += instead of =; da (rows, G).
  void compute(const T* da, const Rows& rows, Part units, T* dh, bool add) const;

 private:
  Columns columns_;
  Packed<T> weight_hh_;
  const T* mask_;
  Scratch<T> unmasked_;  // (B, H): da W_hh; none without a mask
};

/// h_before (N, H) = m * h_{t-1}, from y (N, H) and h0 (B, H). `mask` (B, H): null stands for 1.
template <class T>
void states_before(const Schedule& schedule, std::size_t hidden, const T* y, const T* h0,
                   const T* mask, T* h_before);

/// h_last (B, H): each row's last state, from y (N, H); h0 (B, H) of rows of length 0.
template <class T>
void last_states(const Schedule& schedule, std::size_t hidden, const T* y, const T* h0, T* h_last);

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
  T* dbias_hidden = nullptr;          // (G) = sum of da_hidden over its rows
  T* dtable = nullptr;                // (V, G): row v = sum of the rows n of da with ids[n] = v
  std::size_t table_rows = 0;         // V
  const std::int32_t* ids = nullptr;  // (N)
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
