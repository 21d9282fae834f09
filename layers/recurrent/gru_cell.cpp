#include "gru_cell.h"

namespace tapegrad {

GRUCell::GRUCell(const GRUCellOptions& o, Rng& rng)
    : weights("GRU", {3, o.input, o.hidden, o.bias ? 2U : 0U, o.dtype}, rng), reset(o.reset) {}

Var GRUCell::operator()(Tape& tape, const Var& x, const Var& h) const {
  tape.require_same_tape(x, "GRUCell");
  tape.require_same_tape(h, "GRUCell", "h");
  return gru_cell(x, h, weights.on(tape), reset);
}

}  // namespace tapegrad
