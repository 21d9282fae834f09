#include <doctest/doctest.h>

#include <vector>

#include "../../core/error.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/gru_cell.h"
#include "../../layers/recurrent/rnn.h"
#include "../../layers/recurrent/rnn_cell.h"

using namespace tapegrad;

TEST_CASE("messages: GRU and RNN") {
  Rng rng(10);
  const GRU model({.input = 2, .hidden = 4, .layers = 2}, rng);
  const RNN plain({.input = 2, .hidden = 4}, rng);
  const GRUCell cell({.input = 2, .hidden = 4}, rng);
  const RNNCell plain_cell({.input = 2, .hidden = 4}, rng);
  Tape tape;
  const auto zeros = [](const Shape& shape) { return Var(Tensor::zeros(shape)); };
  const Var x = zeros({5, 3, 2}), h = model.zero_state(3);
  CHECK_THROWS_WITH_AS(model(tape, zeros({3, 2}), h),
                       "[GRU] x has shape (3, 2): it must be a sequence, (T, B, I); one step (B, "
                       "I) is for GRUCell",
                       ShapeError);
  CHECK_THROWS_WITH_AS(model(tape, zeros({0, 3, 2}), h),
                       "[gru] x has shape (0, 3, 2): it must be (T, B, I) with T >= 1 (in gru.0)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(model(tape, zeros({5, 3, 7}), h),
                       "[gru] weight_ih has shape (3H, I) = (12, 2) but x has shape (T, B, I) = "
                       "(5, 3, 7): I must match (in gru.0)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(model(tape, x, model.zero_state(4)),
                       "[GRU] x has shape (T, B, I) = (5, 3, 2) but h has shape (L, B, H) = (2, 4, "
                       "4): B must match; make the state with zero_state(3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(model(tape, x, zeros({1, 3, 4})),
                       "[GRU] the stack has 2 layers but h has shape (1, 3, 4): states are (L, B, "
                       "H); make the state with zero_state(3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(model(tape, x, Var()), "[GRU] h is undefined: give it a value first",
                       UsageError);
  CHECK_THROWS_WITH_AS(model(tape, Var(), h), "[GRU] x is undefined: give it a value first",
                       UsageError);
  CHECK_THROWS_WITH_AS(model.zero_state(0),
                       "[GRU] the state (L, B, H) has shape (2, 0, 4): it must be of at least one "
                       "row",
                       ShapeError);
  CHECK_THROWS_WITH_AS(plain(tape, zeros({5, 3, 7})),
                       "[rnn] weight_ih has shape (H, I) = (4, 2) but x has shape (T, B, I) = (5, "
                       "3, 7): I must match (in rnn.0)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      GRU()(tape, x, h),
      "[GRU] this GRU has no layers: construct it with GRUOptions and an Rng first", UsageError);
  CHECK_THROWS_WITH_AS(
      RNN().hidden(), "[RNN] this RNN has no layers: construct it with RNNOptions and an Rng first",
      UsageError);
  CHECK_THROWS_WITH_AS(GRU({.input = 2, .hidden = 4, .dropout = 0.2}, rng),
                       "[GRU] dropout = 0.2 acts between layers, but there is only one: put a "
                       "Dropout after the GRU",
                       UsageError);
  CHECK_THROWS_WITH_AS(RNN({.input = 2, .hidden = 4, .layers = 2, .dropout = 1}, rng),
                       "[RNN] dropout is 1: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(RNN({.input = 2, .hidden = 4, .layers = 0}, rng),
                       "[RNN] layers is 0: it must be at least 1", UsageError);
  CHECK_THROWS_WITH_AS(GRU({.input = 2, .hidden = 0}, rng),
                       "[GRU] weight_ih (3H, I) has shape (0, 2): it must be without a size of 0",
                       ShapeError);
  CHECK_THROWS_WITH_AS(RNNCell({.input = 0, .hidden = 3}, rng),
                       "[RNN] weight_ih (H, I) has shape (3, 0): it must be without a size of 0",
                       ShapeError);

  CHECK_THROWS_WITH_AS(cell(tape, x, cell.zero_state(3)),
                       "[gru_cell] x has shape (5, 3, 2): it must be one step, (B, I); a sequence "
                       "(T, B, I) is for GRU, or step over unbind(x)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cell(tape, zeros({0, 2}), zeros({0, 4})),
                       "[gru_cell] x has shape (0, 2): it must be (B, I) with B >= 1", ShapeError);
  CHECK_THROWS_WITH_AS(
      plain_cell(tape, zeros({3, 7}), plain_cell.zero_state(3)),
      "[rnn_cell] weight_ih has shape (H, I) = (4, 2) but x has shape (B, I) = (3, "
      "7): I must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(plain_cell(tape, zeros({3, 2}), plain_cell.zero_state(4)),
                       "[rnn_cell] x has shape (B, I) = (3, 2) but h has shape (B, H) = (4, 4): B "
                       "must match; make the state with zero_state(3), or, if x is a step of "
                       "unbind(), look whether the sequence is (T, B, I)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      plain_cell.zero_state(0),
      "[RNNCell] the state (B, H) has shape (0, 4): it must be of at least one row", ShapeError);

  const RecurrentWeights w = model.layers[0].on(tape);
  const Var state = zeros({3, 4});
  CHECK_THROWS_WITH_AS(gru(x, state, {}), "[gru] weights.ih is undefined: give it a value first",
                       UsageError);
  CHECK_THROWS_WITH_AS(gru(x, state, {zeros({8, 2}), w.hh, {}, {}}),
                       "[gru] weight_ih has shape (8, 2): it must be (3H, I) with H >= 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      gru(x, state, {w.ih, zeros({12, 3}), {}, {}}),
      "[gru] weight_ih has shape (3H, I) = (12, 2) but weight_hh has shape (3H, H) "
      "= (12, 3): H must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(gru(x, state, {w.ih, w.hh, zeros({4}), {}}),
                       "[gru] weight_ih has shape (3H, I) = (12, 2) but bias_ih has shape (3H) = "
                       "(4): H must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(gru(x, state, {w.ih, w.hh, {}, zeros({4})}),
                       "[gru] weight_ih has shape (3H, I) = (12, 2) but bias_hh has shape (3H) = "
                       "(4): H must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      gru(x, zeros({3, 5}), w),
      "[gru] h has shape (3, 5): it must be (B, H) with H = 4; make the state with "
      "zero_state(3)",
      ShapeError);

  Tape other;
  const Var elsewhere = other.leaf(Tensor::zeros({2, 3, 4}));
  CHECK_THROWS_WITH_AS((void)model(tape, x, elsewhere),
                       "[GRU] state.h was recorded on another tape than the one given: use one "
                       "tape for a pass, or detach() state.h",
                       UsageError);
  CHECK_THROWS_WITH_AS((void)model(tape, other.leaf(Tensor::zeros({5, 3, 2})), h),
                       "[GRU] x was recorded on another tape than the one given: use one tape for "
                       "a pass, or detach() x",
                       UsageError);
}
