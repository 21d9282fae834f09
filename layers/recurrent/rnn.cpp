#include "rnn.h"

#include "hidden-inl.h"

namespace tapegrad {
namespace {

struct Cell : stack_of::HiddenCell {
  static constexpr const char* type = "RNN";
  static constexpr const char* scope = "rnn";
};

StackSettings settings_of(const RNNOptions& o) {
  return {o.dropout, o.bidirectional, o.merge, o.variant};
}

}  // namespace

RNN::RNN(const RNNOptions& o, Rng& rng)
    : layers(stack_of::make_layers<Cell>(o, settings_of(o), 1, rng)),
      settings_(settings_of(o)),
      nonlinearity_(o.nonlinearity) {}

std::size_t RNN::hidden() const { return stack_of::weight_hh<Cell>(layers).size(1); }
std::size_t RNN::output() const { return settings_.output(hidden()); }

Var RNN::zero_state(std::size_t batch) const { return stack_of::zero_state<Cell>(layers, batch).h; }
Var RNN::first_state(Tape& tape, std::size_t batch) const {
  return stack_of::first_state<Cell>(tape, layers, batch).h;
}
Var RNN::burn_in(Tape& tape, const Var& x, const Var& h, const Tensor& lengths) const {
  const Tape::Guard paused = tape.pause();
  return (*this)(tape, x, h, lengths).last.detach();
}
Var RNN::last_output(const Var& last) const {
  return stack_of::last_output<Cell>(last, layers, settings_);
}

RNNResult RNN::operator()(Tape& tape, const Var& x, const Var& h, const Tensor& lengths) const {
  return stack_of::run_hidden<Cell>(
      tape, x, h, lengths, layers, settings_,
      [&](const Var& in, const Var& state, const RecurrentWeights& weights, const auto&... rest) {
        return rnn(in, state, weights, nonlinearity_, rest...);
      });
}

RNNResult RNN::operator()(Tape& tape, const Var& x) const {
  stack_of::check_sequence<Cell>(x);
  return (*this)(tape, x, first_state(tape, x.size(1)));
}

RNNResult RNN::composed(Tape& tape, const Var& x, const Var& h, const Tensor& lengths) const {
  return stack_of::run_hidden<Cell>(
      tape, x, h, lengths, layers, settings_,
      [&](const Var& in, const Var& state, const RecurrentWeights& weights, const auto&... rest) {
        return rnn_composed(in, state, weights, nonlinearity_, rest...);
      });
}

}  // namespace tapegrad
