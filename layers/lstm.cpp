#include "lstm.h"

#include <fmt/format.h>

#include "../autograd/inspect/scope.h"
#include "../autograd/ops/check-inl.h"
#include "../autograd/ops/dropout.h"
#include "../autograd/ops/shape.h"
#include "../core/error.h"

namespace tapegrad {

LSTM::LSTM(const LSTMOptions& o, Rng& rng) : dropout_(o.dropout) {
  check::probability("LSTM", "dropout", o.dropout);
  if (o.layers == 0) throw UsageError("[LSTM] layers is 0: it must be at least 1");
  if (o.dropout > 0 && o.layers == 1) {
    throw UsageError(
        fmt::format("[LSTM] dropout = {} acts between layers, but there is only one: put a Dropout "
                    "after the LSTM",
                    o.dropout));
  }
  for (std::size_t l = 0; l < o.layers; ++l) {
    layers.emplace_back(
        LSTMCellOptions{l == 0 ? o.input : o.hidden, o.hidden, o.bias, o.init, o.dtype}, rng);
  }
}

std::size_t LSTM::hidden() const {
  if (layers.empty()) {
    throw UsageError(
        "[LSTM] this LSTM has no layers: construct it with LSTMOptions and an Rng first");
  }
  return layers.front().weight_hh.value().size(1);
}

LSTMState LSTM::zero_state(std::size_t batch) const {
  const Shape shape{layers.size(), batch, hidden()};
  if (batch == 0) check::wrong_shape("LSTM", "the state (L, B, H)", shape, "of at least one row");
  const DType dtype = layers.front().weight_hh.value().dtype();
  return {Tensor::zeros(shape, dtype), Tensor::zeros(shape, dtype)};
}

LSTMResult LSTM::operator()(Tape& tape, const Var& x, const LSTMState& state) const {
  return run(tape, x, state, lstm);
}

LSTMResult LSTM::operator()(Tape& tape, const Var& x) const {
  if (x.shape().rank() != 3) {
    check::wrong_shape("lstm", "x", x.shape(),
                       "a sequence, (T, B, I); one step (B, I) is for LSTMCell");
  }
  return run(tape, x, zero_state(x.size(1)), lstm);
}

LSTMResult LSTM::composed(Tape& tape, const Var& x, const LSTMState& state) const {
  return run(tape, x, state, lstm_composed);
}

LSTMResult LSTM::run(Tape& tape, const Var& x, const LSTMState& state, Layer layer) const {
  const std::size_t depth = layers.size();
  (void)hidden();  // refuses a stack without layers
  for (const auto& [name, s] : {std::pair("h", &state.h), std::pair("c", &state.c)}) {
    if (s->shape().rank() == 3 && s->size(0) == depth) continue;
    throw ShapeError(fmt::format(
        "[lstm] the stack has {} layers but {} has shape {}: states are (L, B, H); make it with "
        "zero_state(batch)",
        depth, name, to_string(s->shape())));
  }
  for (const Var* v : {&x, &state.h, &state.c}) tape.require_same_tape(*v, "lstm");
  const Vars h = unbind(state.h);
  const Vars c = unbind(state.c);
  Vars h_last, c_last;
  Var y = x;
  for (std::size_t l = 0; l < depth; ++l) {
    const Scope scope(tape, "lstm", l);
    if (l > 0) y = dropout(tape, y, dropout_);
    const LSTMResult r = layer(y, {h[l], c[l]}, layers[l].on(tape));
    y = r.y;
    h_last.push_back(r.last.h);
    c_last.push_back(r.last.c);
  }
  return {y, {stack(h_last), stack(c_last)}};
}

}  // namespace tapegrad
