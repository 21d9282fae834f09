#include "rnn_cell.h"

namespace tapegrad {

RNNCell::RNNCell(const RNNCellOptions& o, Rng& rng)
    : weights("RNN", {1, o.input, o.hidden, o.bias ? 2U : 0U, o.dtype}, rng),
      nonlinearity(o.nonlinearity) {}

Var RNNCell::operator()(Tape& tape, const Var& x, const Var& h) const {
  tape.require_same_tape(x, "RNNCell");
  tape.require_same_tape(h, "RNNCell", "h");
  return rnn_cell(x, h, weights.on(tape), nonlinearity);
}

}  // namespace tapegrad
