#pragma once

#include <cstddef>

#include "cells.h"
#include "products-inl.h"

#pragma GCC visibility push(hidden)

// What one step of a cell of cells.h does with its elements, apart from matrix products. Rows follow
// each other without gaps. `kept` numbers are those of kept_gate-inl.h.
namespace tapegrad::kernels::cells {

/// One step forward.
template <class T>
struct StepForward {
  std::size_t hidden;  // H
  /// In: b_ih + b_hh (G); of a last block that is apart b_ih, and then its b_hh (H) behind all.
  const T* bias;
  const T* inputs;    // (rows, G) in: W_ih x_t; read only if a block is apart; may be `gates`
  const T* h_before;  // (rows, H) in: h_{t-1}
  const T* zoneout;   // (rows, H) in; null: 0
  T* y;               // (rows, H) out: h_t
  T* gates;           // (rows, G) out: gates, kept; null: nothing is kept for backward
  T* apart;  // (rows, H) out: W_hh (m * h_{t-1}) + b_hh of the block apart; null with gates
  T* exported_gates;  // (rows, G) out: gates; null: not exported
};

/// A step backward.
template <class T>
struct StepBackward {
  std::size_t rows;
  Units units;         // that are computed
  std::size_t hidden;  // H
  const T* gates;      // (rows, G) in: as forward left it
  const T* apart;      // (rows, H) in: likewise; null if no block is apart
  const T* h_before;   // (rows, H) in: h_{t-1}
  const T* zoneout;    // (rows, H) in; null: 0
  T gradient_clip;     // 0: off
  const T* dy;         // (rows, H) in; null: 0
  /// (rows, H) in: gradient of h_t from the later steps; out: what reaches h_{t-1} past the matrix
  /// product. Undefined if nothing does: without zoneout in a cell that does not `carry`.
  T* dh;
  T* da;         // (rows, G) out: gradient of W_ih x_t + b_ih; may be `gates`
  T* da_hidden;  // (rows, G) out: gradient of W_hh (m * h_{t-1}) + b_hh; `da` if no block is apart
  T* whole_dh;   // (rows, H) out: the whole gradient of h_t; null: not exported
};

/// A cell's elements, of one instruction set.
template <class T>
struct StepTable {
  std::size_t gates;  // blocks
  std::size_t
      apart;     // 1: the terms of the last block do not simply add up; 0: there is no such block
  bool carries;  // h_{t-1} goes on past the matrix product
  void (*forward)(const StepForward<T>&, const GateSums<T>&);
  void (*backward)(const StepBackward<T>&);
};

/// Returns the elements in the machine's widest vectors.
template <class T>
const StepTable<T>& step_table(Cell cell);

}  // namespace tapegrad::kernels::cells

#pragma GCC visibility pop
