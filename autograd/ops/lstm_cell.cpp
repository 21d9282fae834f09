#include "lstm_cell.h"

#include "elementwise.h"
#include "matrix.h"
#include "recurrent-inl.h"
#include "shape.h"

namespace tapegrad {
LSTMState lstm_cell(const Var& x, const LSTMState& state, const LSTMWeights& weights) {
  check::defined("lstm_cell", {{"x", x},
                               {"state.h", state.h},
                               {"state.c", state.c},
                               {"weights.ih", weights.ih},
                               {"weights.hh", weights.hh}});
  check::step({"lstm_cell", "LSTM", 4}, x.shape(), weights);
  const Shape demanded{x.size(0), weights.hh.size(1)};
  check::state("lstm_cell", x, "h", state.h, demanded);
  check::state("lstm_cell", x, "c", state.c, demanded);
  // a = W_ih x + b_ih + W_hh h + b_hh
  const Var a =
      linear(x, weights.ih, weights.bias_ih) + linear(state.h, weights.hh, weights.bias_hh);
  const auto [ai, af, ag, ao] = split<4>(a, 1);
  const Var i = sigmoid(ai);  // how much of the new candidate enters
  const Var f = sigmoid(af);  // how much of the old cell stays
  const Var g = tanh(ag);     // the candidate
  const Var o = sigmoid(ao);  // how much of the cell is shown
  const Var c = f * state.c + i * g;
  const Var h = o * tanh(c);
  return {h, c};
}

}  // namespace tapegrad
