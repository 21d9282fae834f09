#include "gru.h"

#include "hidden-inl.h"

namespace tapegrad {
namespace {

struct Cell : stack_of::HiddenCell {
  static constexpr const char* type = "GRU";
  static constexpr const char* scope = "gru";
};

StackSettings settings_of(const GRUOptions& o) {
  return {o.dropout, o.bidirectional, o.merge, o.variant};
}

}  // namespace

GRU::GRU(const GRUOptions& o, Rng& rng)
    : layers(stack_of::make_layers<Cell>(o, settings_of(o), 3, rng)), settings_(settings_of(o)) {}

std::size_t GRU::hidden() const { return stack_of::weight_hh<Cell>(layers).size(1); }
std::size_t GRU::output() const { return settings_.output(hidden()); }

Var GRU::zero_state(std::size_t batch) const { return stack_of::zero_state<Cell>(layers, batch).h; }
Var GRU::first_state(Tape& tape, std::size_t batch) const {
  return stack_of::first_state<Cell>(tape, layers, batch).h;
}
Var GRU::burn_in(Tape& tape, const Var& x, const Var& h, const Tensor& lengths) const {
  const Tape::Guard paused = tape.pause();
  return (*this)(tape, x, h, lengths).last.detach();
}
Var GRU::last_output(const Var& last) const {
  return stack_of::last_output<Cell>(last, layers, settings_);
}

GRUResult GRU::operator()(Tape& tape, const Var& x, const Var& h, const Tensor& lengths) const {
  return stack_of::run_hidden<Cell>(tape, x, h, lengths, layers, settings_, gru);
}

GRUResult GRU::operator()(Tape& tape, const Var& x) const {
  stack_of::check_sequence<Cell>(x);
  return (*this)(tape, x, first_state(tape, x.size(1)));
}

GRUResult GRU::composed(Tape& tape, const Var& x, const Var& h, const Tensor& lengths) const {
  return stack_of::run_hidden<Cell>(
      tape, x, h, lengths, layers, settings_,
      [](const Var& in, const Var& state, const RecurrentWeights& weights, const auto&... rest) {
        return gru_composed(in, state, weights, GRUReset::after, rest...);
      });
}

}  // namespace tapegrad
