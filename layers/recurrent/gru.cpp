#include "gru.h"

#include "hidden-inl.h"

namespace tapegrad {
namespace {

struct Cell : stack_of::HiddenCell {
  static constexpr const char* type = "GRU";
  static constexpr const char* scope = "gru";
};

}  // namespace

GRU::GRU(const GRUOptions& o, Rng& rng)
    : layers(stack_of::make_layers<Cell>(o, 3, rng)), dropout_(o.dropout) {}

std::size_t GRU::hidden() const { return stack_of::weight_hh<Cell>(layers).size(1); }

Var GRU::zero_state(std::size_t batch) const { return stack_of::zero_state<Cell>(layers, batch).h; }

GRUResult GRU::operator()(Tape& tape, const Var& x, const Var& h) const {
  return stack_of::run_hidden<Cell>(tape, x, h, layers, dropout_, gru);
}

GRUResult GRU::operator()(Tape& tape, const Var& x) const {
  stack_of::check_sequence<Cell>(x);
  return (*this)(tape, x, zero_state(x.size(1)));
}

GRUResult GRU::composed(Tape& tape, const Var& x, const Var& h) const {
  return stack_of::run_hidden<Cell>(
      tape, x, h, layers, dropout_,
      [](const Var& in, const Var& state, const RecurrentWeights& weights) {
        return gru_composed(in, state, weights);
      });
}

}  // namespace tapegrad
