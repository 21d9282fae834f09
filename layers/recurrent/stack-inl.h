#pragma once

#include <fmt/core.h>

#include <array>
#include <string>
#include <vector>

#include "../../autograd/inspect/scope.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/recurrent-inl.h"
#include "../../autograd/ops/recurrent.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/tape.h"
#include "../../core/fail-inl.h"

#pragma GCC visibility push(hidden)

/// Common parts of all stacks of recurrent layers, for any cell: sizes, states of all layers in one
/// Tensor, dropout between layers, scopes, checks. A cell is a struct with
///
///   using State = ...;                   what is carried from step to step
///   using Layer = ...;                   one layer's Parameters, with on(tape) and weight_hh
///   static constexpr const char* type;   "LSTM", for errors
///   static constexpr const char* scope;  "lstm", the name of scopes
///   static constexpr Part<State> parts[] = {{"h", &State::h}, ...};
namespace tapegrad::stack_of {

template <class State>
struct Part {
  const char* name;
  Var State::*value;
};

/// Throws UsageError for a number of layers and a dropout that cannot be meant.
template <class Cell>
void check_options(std::size_t layers, double dropout) {
  check::probability(Cell::type, "dropout", dropout);
  if (layers == 0) {
    fail<UsageError>(Cell::type, "layers is 0: it must be at least 1");
  }
  if (dropout > 0 && layers == 1) {
    fail<UsageError>(
        Cell::type,
        "dropout = {} acts between layers, but there is only one: put a Dropout after the {}",
        dropout, Cell::type);
  }
}

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
  check_sequence<Cell>(x.shape());
}

/// A sequence of the shape `x` (T, B, I) through all layers: `first_layer(state, leaves)` knows it,
/// `one_layer(y, state, leaves)` is the fused op or its twin.
template <class Cell, class FirstLayer, class OneLayer>
Unrolled<typename Cell::State> run(Tape& tape, const Shape& x, const typename Cell::State& state,
                                   const std::vector<typename Cell::Layer>& layers, double p,
                                   FirstLayer first_layer, OneLayer one_layer) {
  constexpr std::size_t parts = std::size(Cell::parts);
  const std::size_t hidden = weight_hh<Cell>(layers).size(1);
  check_sequence<Cell>(x);
  for (const auto& part : Cell::parts) {
    check::defined(Cell::type, {{fmt::format("state.{}", part.name), state.*part.value}});
    check::state(Cell::type, x, part.name, state.*part.value, {layers.size(), x[1], hidden});
    tape.require_same_tape(state.*part.value, Cell::type);
  }
  std::array<Vars, parts> before, after;  // part -> layer -> (B, H)
  for (std::size_t k = 0; k < parts; ++k) before[k] = unbind(state.*Cell::parts[k].value);
  Var y;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const Scope scope(tape, Cell::scope, l);
    if (l > 0) y = dropout(tape, y, p);
    typename Cell::State first;
    for (std::size_t k = 0; k < parts; ++k) first.*Cell::parts[k].value = before[k][l];
    const auto weights = layers[l].on(tape);
    const auto result = l == 0 ? first_layer(first, weights) : one_layer(y, first, weights);
    y = result.y;
    for (std::size_t k = 0; k < parts; ++k) after[k].push_back(result.last.*Cell::parts[k].value);
  }
  typename Cell::State last;
  for (std::size_t k = 0; k < parts; ++k) last.*Cell::parts[k].value = stack(after[k]);
  return {y, last};
}

/// x (T, B, I) through all layers.
template <class Cell, class OneLayer>
Unrolled<typename Cell::State> run(Tape& tape, const Var& x, const typename Cell::State& state,
                                   const std::vector<typename Cell::Layer>& layers, double p,
                                   OneLayer one_layer) {
  weight_hh<Cell>(layers);
  check_sequence<Cell>(x);
  tape.require_same_tape(x, Cell::type);
  return run<Cell>(
      tape, x.shape(), state, layers, p,
      [&](const typename Cell::State& s, const auto& weights) { return one_layer(x, s, weights); },
      one_layer);
}

}  // namespace tapegrad::stack_of

#pragma GCC visibility pop
