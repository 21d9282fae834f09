#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/shape.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/recurrent.h"
#include "../../layers/recurrent/rnn.h"

/// Recurrent layers of all kinds as one type, for tests of what they have in common.
namespace tapegrad::testing {

struct Stack {
  std::string name;
  std::size_t output;
  Parameters parameters;
  /// Shapes of the parts of a state.
  std::function<std::vector<Shape>(std::size_t batch)> state;
  /// The parts of the first state: a trained one, or zeros.
  std::function<Vars(Tape&, std::size_t batch)> first_state;
  /// y and the parts of the last state, from x and the parts of a state.
  std::function<Vars(bool fused, Tape&, const Var& x, const Vars& state, const Tensor& lengths)>
      run;
};

template <class State>
std::vector<Shape> shapes_of(State state) {
  std::vector<Shape> shapes;
  for_each_part(state, [&](const std::string&, Var& part) { shapes.push_back(part.shape()); });
  return shapes;
}
template <class State>
Vars outputs_of(const Unrolled<State>& r) {
  Vars all = {r.y};
  for (const Var& part : detail::parts_of(r.last)) all.push_back(part);
  return all;
}

/// A fused stack: LSTM, GRU or RNN.
template <class Layer>
Stack stack_of(std::string name, const std::shared_ptr<const Layer>& layer) {
  return {std::move(name),
          layer->output(),
          parameters(*layer),
          [layer](std::size_t batch) { return shapes_of(layer->zero_state(batch)); },
          [layer](Tape& tape, std::size_t batch) {
            return detail::parts_of(layer->first_state(tape, batch));
          },
          [layer](bool fused, Tape& tape, const Var& x, const Vars& s, const Tensor& lengths) {
            const auto state = detail::with_parts(layer->zero_state(1), s);
            return outputs_of(fused ? (*layer)(tape, x, state, lengths)
                                    : layer->composed(tape, x, state, lengths));
          }};
}

/// Ways through a sequence.
enum class Way { forward, reverse, both };

/// How cells are put together.
struct CellsCase {
  std::size_t input = 2, layers = 1;
  Way way = Way::forward;
  double dropout = 0;        // between layers
  double input_dropout = 0;  // variational, of each layer's input
};

/// Any cells in layers and directions, as the fused stacks have them: `make(input)` makes a cell;
/// "fused" is Recurrent's call, the other form its loop.
template <class Make>
Stack stack_of_cells(std::string name, const CellsCase& c, std::size_t output, Make make) {
  using Cell = decltype(make(std::size_t{1}));
  const std::size_t directions = c.way == Way::both ? 2 : 1;
  const auto sets = std::make_shared<std::vector<Recurrent<Cell>>>();
  Parameters all;
  for (std::size_t n = 0; n < c.layers * directions; ++n) {
    sets->emplace_back(make(n < directions ? c.input : output * directions));
    const std::string suffix = StackSettings{.bidirectional = directions == 2}.suffix(n);
    for (const NamedParameter& p : parameters(sets->back().cell))
      all.push_back({p.name + suffix, p});
  }
  return {std::move(name),
          output * directions,
          std::move(all),
          [sets](std::size_t batch) {
            std::vector<Shape> shapes = shapes_of(sets->front().zero_state(batch));
            for (Shape& shape : shapes) shape = shape.inserted(0, sets->size());
            return shapes;
          },
          [sets](Tape& tape, std::size_t batch) {
            std::vector<Vars> parts;  // part -> layer and direction
            for (const Recurrent<Cell>& layer : *sets) {
              const Vars one = detail::parts_of(layer.first_state(tape, batch));
              parts.resize(one.size());
              for (std::size_t k = 0; k < one.size(); ++k) parts[k].push_back(one[k]);
            }
            Vars first;
            for (const Vars& part : parts) first.push_back(stack(part));
            return first;
          },
          [sets, c, directions](bool fused, Tape& tape, const Var& x, const Vars& s,
                                const Tensor& lengths) {
            std::vector<Vars> before, after(s.size());  // part -> layer and direction
            for (const Var& part : s) before.push_back(unbind(part));
            Var y = x;
            for (std::size_t n = 0; n < sets->size(); n += directions) {
              if (n > 0) y = dropout(tape, y, c.dropout);
              y = variational_dropout(tape, y, c.input_dropout);
              Vars shown;
              for (std::size_t k = n; k < n + directions; ++k) {
                const Recurrent<Cell>& layer = (*sets)[k];
                Vars parts;
                for (const Vars& part : before) parts.push_back(part[k]);
                const auto state = detail::with_parts(layer.zero_state(1), parts);
                const Steps steps{lengths, c.way == Way::reverse || k > n};
                const Vars r = outputs_of(fused ? layer(tape, y, state, steps)
                                                : layer.composed(tape, y, state, steps));
                shown.push_back(r[0]);
                for (std::size_t part = 0; part < s.size(); ++part) {
                  after[part].push_back(r[1 + part]);
                }
              }
              y = directions == 2 ? concat(shown, 2) : shown[0];
            }
            Vars outputs = {y};
            for (const Vars& part : after) outputs.push_back(stack(part));
            return outputs;
          }};
}

/// Options that all fused stacks have.
struct StackCase {
  std::string name;
  std::size_t layers = 1;
  bool bidirectional = false;
  Merge merge = Merge::concat;
  double dropout = 0;
  StackVariant variant = {};
  bool trained_state = false;
  bool peepholes = false;
  bool bias = true;
};

/// Every variant at once, but the gradient clip, which is no derivative.
inline constexpr StackVariant all_variants{.input_dropout = 0.2,
                                           .recurrent_dropout = 0.2,
                                           .weight_dropout = 0.2,
                                           .zoneout_h = 0.2,
                                           .zoneout_c = 0.2,
                                           .cell_clip = 0.5};

inline constexpr std::size_t stack_input = 2, stack_hidden = 3;

template <class Layer, class Options>
std::shared_ptr<const Layer> make_fused(const StackCase& c, DType dtype,
                                        RNNNonlinearity phi = RNNNonlinearity::tanh) {
  Rng rng(11, "stacks");
  Options o{.input = stack_input, .hidden = stack_hidden, .layers = c.layers};
  o.dropout = c.dropout, o.bidirectional = c.bidirectional, o.merge = c.merge;
  o.variant = c.variant, o.trained_state = c.trained_state, o.dtype = dtype;
  if constexpr (std::is_same_v<Layer, LSTM>) {
    o.peepholes = c.peepholes, o.bias = c.bias ? LSTMBias::two : LSTMBias::none;
  } else {
    o.bias = c.bias;
    o.variant.zoneout_c = o.variant.cell_clip = 0;
  }
  if constexpr (requires { o.nonlinearity; }) o.nonlinearity = phi;
  Layer layer(o, rng);
  for (auto& set : layer.layers) {  // a trained state begins as zeros
    if (set.h0.defined()) set.h0.set_value(rng.uniform({stack_hidden}, -1, 1, dtype));
    if constexpr (requires { set.c0; }) {
      if (set.c0.defined()) set.c0.set_value(rng.uniform({stack_hidden}, -1, 1, dtype));
    }
  }
  return std::make_shared<const Layer>(std::move(layer));
}

inline constexpr const char* stack_kinds[] = {"lstm", "gru", "rnn tanh", "rnn relu"};

/// A fused stack of one of `stack_kinds`. What only the LSTM has is left out of the others.
inline Stack make_stack(const std::string& kind, const StackCase& c, DType dtype = DType::float64) {
  const std::string name = kind + ", " + c.name;
  if (kind == "lstm") return stack_of(name, make_fused<LSTM, LSTMOptions>(c, dtype));
  if (kind == "gru") return stack_of(name, make_fused<GRU, GRUOptions>(c, dtype));
  const auto phi = kind == "rnn relu" ? RNNNonlinearity::relu : RNNNonlinearity::tanh;
  return stack_of(name, make_fused<RNN, RNNOptions>(c, dtype, phi));
}

inline std::vector<Stack> all_stacks(const StackCase& c, DType dtype = DType::float64) {
  std::vector<Stack> stacks;
  for (const char* const kind : stack_kinds) stacks.push_back(make_stack(kind, c, dtype));
  return stacks;
}

inline std::vector<StackCase> stack_cases() {
  return {
      {.name = "plain"},
      {.name = "three layers, dropout", .layers = 3, .dropout = 0.3},
      {.name = "both directions", .bidirectional = true},
      {.name = "two layers, both directions", .layers = 2, .bidirectional = true},
      {.name = "sum", .layers = 2, .bidirectional = true, .merge = Merge::sum},
      {.name = "multiply", .bidirectional = true, .merge = Merge::multiply},
      {.name = "average", .bidirectional = true, .merge = Merge::average},
      {.name = "input dropout", .layers = 2, .variant = {.input_dropout = 0.3}},
      {.name = "recurrent dropout", .bidirectional = true, .variant = {.recurrent_dropout = 0.3}},
      {.name = "weight dropout", .variant = {.weight_dropout = 0.3}},
      {.name = "zoneout", .bidirectional = true, .variant = {.zoneout_h = 0.3, .zoneout_c = 0.2}},
      {.name = "cell clip", .variant = {.cell_clip = 0.2}},
      {.name = "peepholes", .bidirectional = true, .peepholes = true},
      {.name = "gradient clip", .variant = {.gradient_clip = 0.05}},
      {.name = "all",
       .layers = 2,
       .bidirectional = true,
       .dropout = 0.2,
       .variant = all_variants,
       .peepholes = true}};
}

}  // namespace tapegrad::testing
