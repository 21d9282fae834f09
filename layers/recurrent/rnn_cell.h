#pragma once

#include "../../autograd/ops/rnn.h"
#include "recurrent_parameters.h"

namespace tapegrad {

struct RNNCellOptions {
  std::size_t input;   // I
  std::size_t hidden;  // H
  bool bias = true;
  RNNNonlinearity nonlinearity = RNNNonlinearity::tanh;
  DType dtype = DType::float32;
};

/// One RNN step made of primitive ops: the equations are in autograd/ops/rnn.cpp.
///
///   Var h = cell.zero_state(batch);
///   for (const Var& x : unbind(sequence)) h = cell(tape, x, h);
class RNNCell {
 public:
  RecurrentParameters weights;
  RNNNonlinearity nonlinearity = RNNNonlinearity::tanh;

  RNNCell() = default;
  /// Throws ShapeError if a size is 0.
  RNNCell(const RNNCellOptions& options, Rng& rng);

  /// Maps x (B, I), h (B, H) to the next h. Throws ShapeError; UsageError for Vars of another tape.
  Var operator()(Tape& tape, const Var& x, const Var& h) const;
  /// Returns zeros (B, H). Throws ShapeError for B = 0.
  Var zero_state(std::size_t batch) const { return weights.zero_state("RNNCell", batch); }
  void visit(auto&& v) {
    weights.visit(v);
    v("nonlinearity", nonlinearity);
  }
};

}  // namespace tapegrad
