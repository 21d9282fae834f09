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
  static constexpr Part<Hidden> parts[] = {{"h", &Hidden::h}};
};

/// The layers' Parameters; `gates`: G / H.
template <class Cell, class Options>
std::vector<RecurrentParameters> make_layers(const Options& o, std::size_t gates, Rng& rng) {
  check_options<Cell>(o.layers, o.dropout);
  std::vector<RecurrentParameters> layers;
  for (std::size_t l = 0; l < o.layers; ++l) {
    const std::size_t input = l == 0 ? o.input : o.hidden, biases = o.bias ? 2 : 0;
    layers.emplace_back(Cell::type,
                        RecurrentParameters::Sizes{gates, input, o.hidden, biases, o.dtype}, rng);
  }
  return layers;
}

/// x (T, B, I), h (L, B, H) through all layers; `one_layer(x, h, weights)` is a fused op or its twin.
template <class Cell, class OneLayer>
Unrolled<Var> run_hidden(Tape& tape, const Var& x, const Var& h,
                         const std::vector<RecurrentParameters>& layers, double dropout,
                         OneLayer one_layer) {
  weight_hh<Cell>(layers);
  check::defined(Cell::type, {{"x", x}, {"h", h}});
  const auto layer = [&](const Var& in, const Hidden& state, const RecurrentWeights& weights) {
    const Unrolled<Var> r = one_layer(in, state.h, weights);
    return Unrolled<Hidden>{r.y, {r.last}};
  };
  const Unrolled<Hidden> r = run<Cell>(tape, x, Hidden{h}, layers, dropout, layer);
  return {r.y, r.last.h};
}

}  // namespace tapegrad::stack_of

#pragma GCC visibility pop
