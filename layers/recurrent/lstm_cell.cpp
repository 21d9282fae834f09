#include "lstm_cell.h"

#include "../../core/check-inl.h"

namespace tapegrad {

LSTMState LSTMCell::operator()(Tape& tape, const Var& x, const LSTMState& state) const {
  for (const Var* v : {&x, &state.h, &state.c}) tape.require_same_tape(*v, "LSTMCell");
  return lstm_cell(x, state, weights.on(tape));
}

LSTMState LSTMCell::zero_state(std::size_t batch) const {
  const Tensor& hh = weights.weight_hh.value();
  const Shape shape{batch, hh.size(1)};
  if (batch == 0) check::wrong_shape("LSTMCell", "the state (B, H)", shape, "of at least one row");
  return {Tensor::zeros(shape, hh.dtype()), Tensor::zeros(shape, hh.dtype())};
}

}  // namespace tapegrad
