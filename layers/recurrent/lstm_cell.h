#pragma once

#include "../../autograd/ops/lstm_cell.h"
#include "lstm_parameters.h"

namespace tapegrad {

/// One LSTM step made of primitive ops: the equations are in autograd/ops/lstm_cell.cpp.
///
///   LSTMState s = cell.zero_state(batch);
///   for (const Var& x : unbind(sequence)) s = cell(tape, x, s);
class LSTMCell {
 public:
  LSTMParameters weights;

  LSTMCell() = default;
  LSTMCell(const LSTMCellOptions& options, Rng& rng) : weights(options, rng) {}

  /// Maps x (B, I), state (B, H) each, to the next state. Throws ShapeError; UsageError for Vars of
  /// another tape.
  LSTMState operator()(Tape& tape, const Var& x, const LSTMState& state) const;
  /// Zeros (B, H). Throws ShapeError for B = 0.
  LSTMState zero_state(std::size_t batch) const;
  void visit(auto&& v) { weights.visit(v); }
};

}  // namespace tapegrad
