#pragma once

#include <cstddef>
#include <utility>

#include "recurrent.h"

namespace tapegrad {

/// Any cell, a stack of cells among them, that is run as its input comes: Recurrent with a state
/// that is kept from call to call. A Stream, of LSTM, GRU or RNN, is for real time; this is made of
/// ops, so a call takes longer, and memory of the pool.
///
///   Recurrent layer(StackedCells(LSTMCell(...), Residual(MyCell(...))));
///   CellStream stream(layer);
///   const Tensor y = stream.step(x);          // x (1, 1, I): a step of one session
///
/// It refers to the layer, whose Parameters may change meanwhile, and belongs to one thread at a
/// time; any number of them can be made of one layer.
template <RecurrentCell Cell>
class CellStream {
 public:
  using State = StateOf<Cell>;

  /// Begins at the layer's first state, of B independent sessions. Throws as the cell's
  /// zero_state() does.
  explicit CellStream(const Recurrent<Cell>& layer, std::size_t sessions = 1)
      : layer_(&layer), sessions_(sessions) {
    reset();
  }
  explicit CellStream(const Recurrent<Cell>&& layer, std::size_t sessions = 1) = delete;

  /// Maps the next n steps x (n, B, I) to y (n, B, H). Throws as Recurrent does, and then the state
  /// is as before.
  Tensor step(const Tensor& x) {
    Tape tape = Tape::inference();
    auto [y, last] = (*layer_)(tape, x, state_);
    state_ = detached(std::move(last));
    return y.value();
  }

  /// Goes back to the first state.
  void reset() {
    Tape tape = Tape::inference();
    state_ = detached(layer_->first_state(tape, sessions_));
  }
  /// Returns the state, whose parts are constants (B, ...).
  const State& state() const { return state_; }
  /// Goes on from another state, which the next step() checks.
  void set_state(State state) { state_ = detached(std::move(state)); }

 private:
  const Recurrent<Cell>* layer_;
  std::size_t sessions_;
  State state_;
};

}  // namespace tapegrad
