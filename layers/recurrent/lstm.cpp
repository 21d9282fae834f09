#include "lstm.h"

#include "stack-inl.h"

namespace tapegrad {
namespace {

struct Cell {
  using State = LSTMState;
  using Layer = LSTMParameters;
  static constexpr const char* type = "LSTM";
  static constexpr const char* scope = "lstm";
  static constexpr stack_of::Part<State> parts[] = {{"h", &State::h}, {"c", &State::c}};
};

}  // namespace

LSTM::LSTM(const LSTMOptions& o, Rng& rng) : dropout_(o.dropout) {
  stack_of::check_options<Cell>(o.layers, o.dropout);
  for (std::size_t l = 0; l < o.layers; ++l) {
    layers.emplace_back(
        LSTMCellOptions{l == 0 ? o.input : o.hidden, o.hidden, o.bias, o.init, o.dtype}, rng);
  }
}

std::size_t LSTM::hidden() const { return stack_of::weight_hh<Cell>(layers).size(1); }

LSTMState LSTM::zero_state(std::size_t batch) const {
  return stack_of::zero_state<Cell>(layers, batch);
}

LSTMResult LSTM::operator()(Tape& tape, const Var& x, const LSTMState& state) const {
  return stack_of::run<Cell>(tape, x, state, layers, dropout_, lstm);
}

LSTMResult LSTM::operator()(Tape& tape, const Var& x) const {
  stack_of::check_sequence<Cell>(x);
  return (*this)(tape, x, zero_state(x.size(1)));
}

LSTMResult LSTM::operator()(Tape& tape, const Embedding& embedding, const Tensor& ids,
                            const LSTMState& state) const {
  check::defined(Cell::type, {{"ids", ids}});
  const Var table = tape.leaf(embedding.weight);
  return stack_of::run<Cell>(
      tape, ids.shape().inserted(ids.rank(), table.size(1)), state, layers, dropout_,
      [&](const LSTMState& first, const LSTMWeights& weights) {
        return embedding_lstm(table, ids, first, weights);
      },
      lstm);
}

LSTMResult LSTM::composed(Tape& tape, const Var& x, const LSTMState& state) const {
  return stack_of::run<Cell>(tape, x, state, layers, dropout_, lstm_composed);
}

}  // namespace tapegrad
