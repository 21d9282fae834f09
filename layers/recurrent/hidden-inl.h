#pragma once

#include "recurrent_parameters.h"
#include "stack-inl.h"

#pragma GCC visibility push(hidden)

/// Stacks of layers whose state is h alone, a Var, on those of stack-inl.h.
namespace tapegrad::stack_of {

struct Hidden {
  Var h;
};

/// Base of a cell of stack-inl.h, which adds `type` and `scope`.
struct HiddenCell {
  using State = Hidden;
  using Layer = RecurrentParameters;
  static constexpr Part<State, Layer> parts[] = {{"h", &State::h, &Layer::h0}};
};

/// The layers' Parameters; `gates`: G / H.
template <class Cell, class Options>
std::vector<RecurrentParameters> make_layers(const Options& o, const StackSettings& settings,
                                             std::size_t gates, Rng& rng) {
  check_settings(Cell::type, o.layers, settings, false);
  std::vector<RecurrentParameters> layers;
  for (std::size_t n = 0; n < o.layers * settings.directions(); ++n) {
    const std::size_t input = n < settings.directions() ? o.input : settings.output(o.hidden);
    const std::size_t biases = o.bias ? 2 : 0;
    layers.emplace_back(Cell::type,
                        RecurrentParameters::Sizes{gates, input, o.hidden, biases, o.dtype}, rng);
  }
  if (o.trained_state) train_first_state<Cell>(layers);
  return layers;
}

/// x (T, B, I), h (L D, B, H) through all layers; `one_layer(x, h, weights, steps, variant)` is a fused
/// op or its twin.
template <class Cell, class OneLayer>
Unrolled<Var> run_hidden(Tape& tape, const Var& x, const Var& h, const Tensor& lengths,
                         const std::vector<RecurrentParameters>& layers,
                         const StackSettings& settings, OneLayer one_layer) {
  weight_hh<Cell>(layers);
  check::defined(Cell::type, {{"x", x}, {"h", h}});
  const auto layer = [&](const Var& in, const Hidden& state, const auto&... rest) {
    const Unrolled<Var> r = one_layer(in, state.h, rest...);
    return Unrolled<Hidden>{r.y, {r.last}};
  };
  const Unrolled<Hidden> r = run<Cell>(tape, x, Hidden{h}, lengths, layers, settings, layer);
  return {r.y, r.last.h};
}

}  // namespace tapegrad::stack_of

#pragma GCC visibility pop
