#include "rnn.h"

#include "hidden-inl.h"

namespace tapegrad {
namespace {

struct Cell : stack_of::HiddenCell {
  static constexpr const char* type = "RNN";
  static constexpr const char* scope = "rnn";
};

}  // namespace

RNN::RNN(const RNNOptions& o, Rng& rng)
    : layers(stack_of::make_layers<Cell>(o, 1, rng)),
      dropout_(o.dropout),
      nonlinearity_(o.nonlinearity) {}

std::size_t RNN::hidden() const { return stack_of::weight_hh<Cell>(layers).size(1); }

Var RNN::zero_state(std::size_t batch) const { return stack_of::zero_state<Cell>(layers, batch).h; }

RNNResult RNN::operator()(Tape& tape, const Var& x, const Var& h) const {
  return stack_of::run_hidden<Cell>(
      tape, x, h, layers, dropout_,
      [&](const Var& in, const Var& state, const RecurrentWeights& weights) {
        return rnn(in, state, weights, nonlinearity_);
      });
}

RNNResult RNN::operator()(Tape& tape, const Var& x) const {
  stack_of::check_sequence<Cell>(x);
  return (*this)(tape, x, zero_state(x.size(1)));
}

RNNResult RNN::composed(Tape& tape, const Var& x, const Var& h) const {
  return stack_of::run_hidden<Cell>(
      tape, x, h, layers, dropout_,
      [&](const Var& in, const Var& state, const RecurrentWeights& weights) {
        return rnn_composed(in, state, weights, nonlinearity_);
      });
}

}  // namespace tapegrad
