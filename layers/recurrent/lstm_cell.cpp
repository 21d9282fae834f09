#include "lstm_cell.h"

namespace tapegrad {

LSTMState LSTMCell::operator()(Tape& tape, const Var& x, const LSTMState& state) const {
  tape.require_same_tape(x, "LSTMCell");
  tape.require_same_tape(state.h, "LSTMCell", "state.h");
  tape.require_same_tape(state.c, "LSTMCell", "state.c");
  return lstm_cell(x, state, weights.on(tape));
}

LSTMState LSTMCell::zero_state(std::size_t batch) const {
  return {weights.zero_state("LSTMCell", batch), weights.zero_state("LSTMCell", batch)};
}

}  // namespace tapegrad
