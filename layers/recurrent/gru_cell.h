#pragma once

#include "../../autograd/ops/gru.h"
#include "recurrent_parameters.h"

namespace tapegrad {

struct GRUCellOptions {
  std::size_t input;   // I
  std::size_t hidden;  // H
  bool bias = true;
  GRUReset reset = GRUReset::after;
  DType dtype = DType::float32;
};

/// One GRU step made of primitive ops: the equations are in autograd/ops/gru.cpp.
///
///   Var h = cell.zero_state(batch);
///   for (const Var& x : unbind(sequence)) h = cell(tape, x, h);
class GRUCell {
 public:
  RecurrentParameters weights;
  GRUReset reset = GRUReset::after;

  GRUCell() = default;
  /// Throws ShapeError if a size is 0.
  GRUCell(const GRUCellOptions& options, Rng& rng);

  /// Maps x (B, I), h (B, H) to the next h. Throws ShapeError; UsageError for Vars of another tape.
  Var operator()(Tape& tape, const Var& x, const Var& h) const;
  /// Returns zeros (B, H). Throws ShapeError for B = 0.
  Var zero_state(std::size_t batch) const { return weights.zero_state("GRUCell", batch); }
  void visit(auto&& v) {
    weights.visit(v);
    v("reset", reset);
  }
};

}  // namespace tapegrad
