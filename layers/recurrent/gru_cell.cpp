#include "gru_cell.h"

namespace tapegrad {

GRUCell::GRUCell(const GRUCellOptions& o, Rng& rng)
    : weights("GRU", {3, o.input, o.hidden, o.bias ? 2U : 0U, o.dtype}, rng), reset(o.reset) {}

Var GRUCell::operator()(Tape& tape, const Var& x, const Var& h) const {
  for (const Var* v : {&x, &h}) tape.require_same_tape(*v, "GRUCell");
  return gru_cell(x, h, weights.on(tape), reset);
}

}  // namespace tapegrad
