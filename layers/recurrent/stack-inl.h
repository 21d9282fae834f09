#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "../../autograd/inspect/scope.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/recurrent-inl.h"
#include "../../autograd/ops/recurrent.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/tape.h"
#include "../../core/fail-inl.h"
#include "stack_options.h"

#pragma GCC visibility push(hidden)

/// Common parts of all stacks of recurrent layers, for any cell: sizes, directions, states of all layers
/// in one Tensor, lengths, dropout, variants, scopes, checks. A cell is a struct with
///
///   using State = ...;                   what is carried from step to step
///   using Layer = ...;                   one layer's Parameters, with on(tape) and weight_hh
///   static constexpr const char* type;   "LSTM", for errors
///   static constexpr const char* scope;  "lstm", the name of scopes
///   static constexpr Part<State, Layer> parts[] = {{"h", &State::h, &Layer::h0}, ...};
///
/// The Parameters of a stack are those of layer 0, of its other direction, of layer 1, ...
namespace tapegrad::stack_of {

template <class State, class Layer>
struct Part {
  const char* name;
  Var State::*value;
  Parameter Layer::*first;  // if the first state is trained
};

/// Throws UsageError for a number of layers and settings that cannot be meant; `has_c`: of an LSTM.
void check_settings(const char* type, std::size_t layers, const StackSettings& settings,
                    bool has_c);

/// W_hh (.., H) of the first layer. Throws UsageError for a stack without layers.
template <class Cell>
const Tensor& weight_hh(const std::vector<typename Cell::Layer>& layers) {
  if (layers.empty()) {
    fail<UsageError>(Cell::type,
                     "this {0} has no layers: construct it with {0}Options and an Rng first",
                     Cell::type);
  }
  return layers.front().weight_hh.value();
}

/// Zeros (L, B, H).
template <class Cell>
typename Cell::State zero_state(const std::vector<typename Cell::Layer>& layers,
                                std::size_t batch) {
  const Tensor& hh = weight_hh<Cell>(layers);
  const Shape shape{layers.size(), batch, hh.size(1)};
  if (batch == 0) {
    check::wrong_shape(Cell::type, "the state (L, B, H)", shape, "of at least one row");
  }
  typename Cell::State zero;
  for (const auto& part : Cell::parts) zero.*part.value = Tensor::zeros(shape, hh.dtype());
  return zero;
}

/// Makes the Parameters of a trained first state, zeros.
template <class Cell>
void train_first_state(std::vector<typename Cell::Layer>& layers) {
  for (auto& layer : layers) {
    const Tensor& hh = layer.weight_hh.value();
    for (const auto& part : Cell::parts) {
      layer.*part.first = Parameter(Tensor::zeros({hh.size(1)}, hh.dtype()));
    }
  }
}

/// The first state (L, B, H): of each layer and part the trained one, the same for all rows, or zeros.
template <class Cell>
typename Cell::State first_state(Tape& tape, const std::vector<typename Cell::Layer>& layers,
                                 std::size_t batch) {
  typename Cell::State state = zero_state<Cell>(layers, batch);
  for (const auto& part : Cell::parts) {
    const auto trained = [&](const auto& layer) { return (layer.*part.first).defined(); };
    if (std::ranges::none_of(layers, trained)) continue;
    Vars rows = unbind(state.*part.value);
    for (std::size_t n = 0; n < layers.size(); ++n) {
      if (trained(layers[n])) rows[n] = rows[n] + tape.leaf(layers[n].*part.first);
    }
    state.*part.value = stack(rows);
  }
  return state;
}

template <class Cell>
void check_sequence(const Shape& x) {
  if (x.rank() == 3) return;
  check::wrong_shape(
      Cell::type, "x", x,
      fmt::format("a sequence, (T, B, I); one step (B, I) is for {}Cell", Cell::type));
}

template <class Cell>
void check_sequence(const Var& x) {
  check::defined(Cell::type, {{"x", x}});
  check::real(Cell::type, "x", x.dtype());
  check_sequence<Cell>(x.shape());
}

/// The constants of a layer's op, drawn where masks are: for a sequence of the shape `x` and H.
RecurrentVariant draw_variant(Tape& tape, const StackVariant& variant, const Shape& x,
                              std::size_t hidden, DType dtype);
/// The outputs of both directions as one, (T, B, .) or (B, .).
Var merge(const Var& forward, const Var& backward, Merge merge);

/// A sequence of the shape `x` (T, B, I) through all layers: `first_layer(leaves, state, steps,
/// variant)` knows it, `one_layer(y, leaves, state, steps, variant)` is the fused op or its twin.
template <class Cell, class FirstLayer, class OneLayer>
Unrolled<typename Cell::State> run(Tape& tape, const Shape& x, const typename Cell::State& state,
                                   const Tensor& lengths,
                                   const std::vector<typename Cell::Layer>& layers,
                                   const StackSettings& settings, FirstLayer first_layer,
                                   OneLayer one_layer) {
  using State = typename Cell::State;
  constexpr std::size_t parts = std::size(Cell::parts);
  const Tensor& hh = weight_hh<Cell>(layers);
  const std::size_t hidden = hh.size(1), directions = settings.directions();
  check_sequence<Cell>(x);
  for (const auto& part : Cell::parts) {
    const std::string name = fmt::format("state.{}", part.name);
    check::defined(Cell::type, {{name, state.*part.value}});
    check::state(Cell::type, x, part.name, state.*part.value, {layers.size(), x[1], hidden});
    tape.require_same_tape(state.*part.value, Cell::type, name);
  }
  std::array<Vars, parts> before, after;  // part -> layer and direction -> (B, H)
  for (std::size_t k = 0; k < parts; ++k) before[k] = unbind(state.*Cell::parts[k].value);
  Var y;
  for (std::size_t l = 0; l < layers.size() / directions; ++l) {
    const Scope scope(tape, Cell::scope, l);
    if (l > 0) y = dropout(tape, y, settings.dropout);
    if (l > 0) y = variational_dropout(tape, y, settings.variant.input_dropout);
    std::array<Var, 2> outputs;
    for (std::size_t direction = 0; direction < directions; ++direction) {
      const std::size_t n = l * directions + direction;
      std::optional<Scope> inside;
      if (direction == 1) inside.emplace(tape, "reverse");
      State first;
      for (std::size_t k = 0; k < parts; ++k) first.*Cell::parts[k].value = before[k][n];
      auto weights = layers[n].on(tape);
      weights.hh = dropout(tape, weights.hh, settings.variant.weight_dropout);
      RecurrentVariant variant = draw_variant(tape, settings.variant, x, hidden, hh.dtype());
      if constexpr (requires { layers[n].peephole; }) {
        if (layers[n].peephole.defined()) variant.peephole = tape.leaf(layers[n].peephole);
      }
      const Steps steps{lengths, direction == 1};
      const auto result = l == 0 ? first_layer(first, weights, steps, variant)
                                 : one_layer(y, first, weights, steps, variant);
      outputs[direction] = result.y;
      for (std::size_t k = 0; k < parts; ++k) after[k].push_back(result.last.*Cell::parts[k].value);
    }
    y = directions == 2 ? merge(outputs[0], outputs[1], settings.merge) : outputs[0];
  }
  const Scope scope(tape, Cell::scope);  // an error about a state that was not detached names it
  State last;
  for (std::size_t k = 0; k < parts; ++k) last.*Cell::parts[k].value = stack(after[k]);
  return {y, last};
}

/// x (T, B, I) through all layers.
template <class Cell, class OneLayer>
Unrolled<typename Cell::State> run(Tape& tape, const Var& x, const typename Cell::State& state,
                                   const Tensor& lengths,
                                   const std::vector<typename Cell::Layer>& layers,
                                   const StackSettings& settings, OneLayer one_layer) {
  weight_hh<Cell>(layers);
  check_sequence<Cell>(x);
  tape.require_same_tape(x, Cell::type);
  const Var seen = variational_dropout(tape, x, settings.variant.input_dropout);
  return run<Cell>(
      tape, x.shape(), state, lengths, layers, settings,
      [&](const auto&... rest) { return one_layer(seen, rest...); }, one_layer);
}

/// The last layer's h (B, H) at each sequence's end, of both directions merged; h (L D, B, H).
template <class Cell>
Var last_output(const Var& h, const std::vector<typename Cell::Layer>& layers,
                const StackSettings& settings) {
  const std::size_t hidden = weight_hh<Cell>(layers).size(1);
  check::defined(Cell::type, {{"last", h}});
  if (h.shape().rank() != 3 || h.size(0) != layers.size() || h.size(2) != hidden) {
    check::wrong_shape(
        Cell::type, "last", h.shape(),
        fmt::format("the last state of this stack, ({}, B, {})", layers.size(), hidden));
  }
  const Vars all = unbind(h);
  if (!settings.bidirectional) return all.back();
  return merge(all[all.size() - 2], all.back(), settings.merge);
}

}  // namespace tapegrad::stack_of

#pragma GCC visibility pop
