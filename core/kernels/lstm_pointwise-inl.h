#pragma once

// Private: what the LSTM does apart from matrix products, above all with the elements of one step.
// The formulas and letters are those of lstm.h.

#include <cstddef>

#include "lstm.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::kernels {

/// One step forward of `rows` rows. Rows follow each other without gaps. No two pointers alias.
template <class T>
struct LstmStepForward {
  std::size_t rows;
  std::size_t hidden;  // H
  const T* bias;       // (4H) in: b_ih + b_hh
  T* gates;            // (rows, 4H) in: a_t without the bias; out: i, f, g, o
  T* h;                // (rows, H) in: h_{t-1}; out: h_t
  T* c;                // (rows, H) in: c_{t-1}; out: c_t
  T* y;                // (rows, H) out: h_t
  T* c_before;         // (rows, H) out: c_{t-1}; null: not kept
  T* tanh_c;           // (rows, H) out: tanh(c~_t); null: not kept
};

/// The same step backward.
template <class T>
struct LstmStepBackward {
  std::size_t rows;
  std::size_t hidden;  // H
  const T* gates;      // (rows, 4H) in: i, f, g, o
  const T* c_before;   // (rows, H) in: c_{t-1}
  const T* tanh_c;     // (rows, H) in: tanh(c~_t)
  const T* dy;         // (rows, H) in; null: 0
  T* dh;        // (rows, H) in: gradient of h_t from the later steps; out: what zoneout carries to
                // h_{t-1} past the matrix product, 0 without zoneout
  T* dc;        // (rows, H) in: gradient of c_t from the later steps; out: gradient of c_{t-1}
  T* da;        // (rows, 4H) out: gradient of a_t; may be `gates`
  T* whole_dh;  // (rows, H) out: the whole gradient of h_t; null: not exported
  T* whole_dc;  // (rows, H) out: the whole gradient of c_t; null: not exported
};

/// Steps without options, in the machine's widest vectors.
template <class T>
void lstm_step_forward(const LstmStepForward<T>& step);
/// Leaves dh undefined: nothing is carried past the matrix product, which overwrites it.
template <class T>
void lstm_step_backward(const LstmStepBackward<T>& step);

/// Steps with options, element by element. `peephole` (3, H) may be null; `first` is where the
/// step's rows begin among all N, for the masks of zoneout.
template <class T>
void lstm_step_forward(const LstmStepForward<T>& step, const T* peephole,
                       const LstmOptions<T>& options, std::size_t first);
/// `dpeephole` (3, H): the step's part is added; null: not wanted.
template <class T>
void lstm_step_backward(const LstmStepBackward<T>& step, const T* peephole,
                        const LstmOptions<T>& options, std::size_t first, double* dpeephole);

/// sums (columns): the sum of x (rows, columns) over its rows, added to what is there if
/// `accumulate`. The order of summation depends on the sizes alone.
template <class T>
[[gnu::visibility("hidden")]] void lstm_sum_rows(const T* x, std::size_t rows, std::size_t columns,
                                                 bool accumulate, T* sums);

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
