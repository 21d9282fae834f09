#include "lstm.h"

#include <cmath>

#include "../init.h"
#include "stack-inl.h"

namespace tapegrad {
namespace {

struct Cell {
  using State = LSTMState;
  using Layer = LSTMParameters;
  static constexpr const char* type = "LSTM";
  static constexpr const char* scope = "lstm";
  static constexpr stack_of::Part<State, Layer> parts[] = {{"h", &State::h, &Layer::h0},
                                                           {"c", &State::c, &Layer::c0}};
};

}  // namespace

LSTM::LSTM(const LSTMOptions& o, Rng& rng)
    : settings_{o.dropout, o.bidirectional, o.merge, o.variant} {
  stack_of::check_settings(Cell::type, o.layers, settings_, true);
  for (std::size_t n = 0; n < o.layers * settings_.directions(); ++n) {
    const std::size_t input = n < settings_.directions() ? o.input : settings_.output(o.hidden);
    layers.emplace_back(LSTMCellOptions{input, o.hidden, o.bias, o.init, o.dtype}, rng);
    if (o.peepholes) {
      const double bound = 1 / std::sqrt(static_cast<double>(o.hidden));
      layers.back().peephole = Parameter(init::uniform({3, o.hidden}, bound, rng, o.dtype));
    }
  }
  if (o.trained_state) stack_of::train_first_state<Cell>(layers);
}

std::size_t LSTM::hidden() const { return stack_of::weight_hh<Cell>(layers).size(1); }
std::size_t LSTM::output() const { return settings_.output(hidden()); }

LSTMState LSTM::zero_state(std::size_t batch) const {
  return stack_of::zero_state<Cell>(layers, batch);
}
LSTMState LSTM::first_state(Tape& tape, std::size_t batch) const {
  return stack_of::first_state<Cell>(tape, layers, batch);
}
LSTMState LSTM::burn_in(Tape& tape, const Var& x, const LSTMState& state,
                        const Tensor& lengths) const {
  const Tape::Guard paused = tape.pause();
  return (*this)(tape, x, state, lengths).last.detach();
}
Var LSTM::last_output(const LSTMState& last) const {
  return stack_of::last_output<Cell>(last.h, layers, settings_);
}

LSTMResult LSTM::operator()(Tape& tape, const Var& x, const LSTMState& state,
                            const Tensor& lengths) const {
  return stack_of::run<Cell>(tape, x, state, lengths, layers, settings_, lstm);
}

LSTMResult LSTM::operator()(Tape& tape, const Var& x) const {
  stack_of::check_sequence<Cell>(x);
  return (*this)(tape, x, first_state(tape, x.size(1)));
}

LSTMResult LSTM::operator()(Tape& tape, const Embedding& embedding, const Tensor& ids,
                            const LSTMState& state, const Tensor& lengths) const {
  check::defined(Cell::type, {{"ids", ids}});
  if (ids.rank() != 2) check::wrong_shape(Cell::type, "ids", ids.shape(), "(T, B)");
  if (settings_.variant.input_dropout > 0) {
    fail<UsageError>(Cell::type,
                     "input_dropout acts on features, and embedding with LSTM has none: call the "
                     "Embedding first, and give the LSTM its result");
  }
  const Var table = embedding.table(tape);
  return stack_of::run<Cell>(
      tape, ids.shape().inserted(2, table.size(1)), state, lengths, layers, settings_,
      [&](const auto&... rest) { return embedding_lstm(table, ids, rest...); }, lstm);
}

LSTMResult LSTM::composed(Tape& tape, const Var& x, const LSTMState& state,
                          const Tensor& lengths) const {
  return stack_of::run<Cell>(tape, x, state, lengths, layers, settings_, lstm_composed);
}

}  // namespace tapegrad
