#include "lstm_cell.h"

namespace tapegrad {

LSTMState LSTMCell::operator()(Tape& tape, const Var& x, const LSTMState& state) const {
  for (const Var* v : {&x, &state.h, &state.c}) tape.require_same_tape(*v, "LSTMCell");
  return lstm_cell(x, state, weights.on(tape));
}

LSTMState LSTMCell::zero_state(std::size_t batch) const {
  return {weights.zero_state("LSTMCell", batch), weights.zero_state("LSTMCell", batch)};
}

}  // namespace tapegrad
