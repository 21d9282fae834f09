#pragma once

#include <cstddef>

#include "lstm.h"
#include "products-inl.h"

#pragma GCC visibility push(hidden)

// What one step of the LSTM does with its elements, apart from matrix products. The formulas and
// letters are those of lstm.h; `kept` numbers those of kept_gate-inl.h.
namespace tapegrad::kernels::lstm {

/// One step forward of `rows` rows. Rows follow each other without gaps. No two pointers alias.
template <class T>
struct StepForward {
  std::size_t hidden;  // H
  const T* bias;       // (4H) in: b_ih + b_hh
  const T* h_before;   // (rows, H) in: h_{t-1}
  T* c;                // (rows, H) in: c_{t-1}; out: c_t
  T* y;                // (rows, H) out: h_t
  T* gates;            // (rows, 4H) out: i, f, g, o, kept; null: nothing is kept for backward
  T* c_before;         // (rows, H) out: c_{t-1}; null with gates
  T* tanh_c;           // (rows, H) out: tanh(c~_t), kept; null with gates
  T* exported_gates;   // (rows, 4H) out: i, f, g, o; null: not exported
  T* exported_c;       // (rows, H) out: c_t; null: not exported
};

/// One step backward.
template <class T>
struct StepBackward {
  std::size_t rows;
  Units units;         // that are computed
  std::size_t hidden;  // H
  const T* gates;      // (rows, 4H) in: i, f, g, o, kept
  const T* c_before;   // (rows, H) in: c_{t-1}
  const T* tanh_c;     // (rows, H) in: tanh(c~_t), kept
  const T* dy;         // (rows, H) in; null: 0
  /// (rows, H) in: gradient of h_t from the later steps; out: what zoneout carries to h_{t-1} past
  /// the matrix product, 0 without zoneout.
  T* dh;
  T* dc;        // (rows, H) in: gradient of c_t from the later steps; out: gradient of c_{t-1}
  T* da;        // (rows, 4H) out: gradient of a_t; may be `gates`
  T* whole_dh;  // (rows, H) out: the whole gradient of h_t; null: not exported
  T* whole_dc;  // (rows, H) out: the whole gradient of c_t; null: not exported
};

/// Steps without variants of one instruction set.
template <class T>
struct StepTable {
  void (*forward)(const StepForward<T>&, const GateSums<T>&);
  void (*backward)(const StepBackward<T>&);
};

/// Steps without variants, in the machine's widest vectors. Forward takes the rows and units of
/// `sums`, which are a_t without the bias.
template <class T>
void step_forward(const StepForward<T>& step, const GateSums<T>& sums);
/// Leaves dh undefined: nothing is carried past the matrix product, which overwrites it.
template <class T>
void step_backward(const StepBackward<T>& step);

/// Steps with variants, element by element. `peephole` (3, H) may be null; `first` is where the
/// step's rows begin among all N, for the masks of zoneout.
template <class T>
void step_forward(const StepForward<T>& step, const GateSums<T>& sums, const T* peephole,
                  const Variant<T>& variant, std::size_t first);
/// `dpeephole` (rows, 3, H): the step's part is added; null: not wanted.
template <class T>
void step_backward(const StepBackward<T>& step, const T* peephole, const Variant<T>& variant,
                   std::size_t first, double* dpeephole);

}  // namespace tapegrad::kernels::lstm

#pragma GCC visibility pop
