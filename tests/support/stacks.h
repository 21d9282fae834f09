#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../../layers/model/module.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/rnn.h"

/// LSTM, GRU and RNN as one type, for tests of what they have in common.
namespace tapegrad::testing {

struct Stack {
  std::string name;
  std::size_t sets;   // of Parameters: L D
  std::size_t parts;  // of the state
  std::size_t output;
  Parameters parameters;
  /// y and the parts of the last state, from x and the parts of a state.
  std::function<Vars(bool fused, Tape&, const Var& x, const Vars& state, const Tensor& lengths)>
      run;
};

template <class Layer>
Stack stack_of(std::string name, Layer made) {
  const auto layer = std::make_shared<Layer>(std::move(made));
  constexpr bool has_c = std::is_same_v<Layer, LSTM>;
  return {
      std::move(name),
      layer->layers.size(),
      has_c ? 2U : 1U,
      layer->output(),
      parameters(*layer),
      [layer](bool fused, Tape& tape, const Var& x, const Vars& s, const Tensor& lengths) -> Vars {
        if constexpr (has_c) {
          const LSTMState state{s[0], s[1]};
          const LSTMResult r =
              fused ? (*layer)(tape, x, state, lengths) : layer->composed(tape, x, state, lengths);
          return {r.y, r.last.h, r.last.c};
        } else {
          const auto r =
              fused ? (*layer)(tape, x, s[0], lengths) : layer->composed(tape, x, s[0], lengths);
          return {r.y, r.last};
        }
      }};
}

/// Options that all of them have.
struct StackCase {
  std::string name;
  std::size_t layers = 1;
  bool bidirectional = false;
  Merge merge = Merge::concat;
  double dropout = 0;
  StackVariant variant = {};
  bool peepholes = false;
};

inline constexpr std::size_t stack_input = 2, stack_hidden = 3;

template <class Layer, class Options>
Stack make_stack(std::string name, const StackCase& c, DType dtype) {
  Rng rng(11, "stacks");
  Options o{.input = stack_input, .hidden = stack_hidden, .layers = c.layers};
  o.dropout = c.dropout, o.bidirectional = c.bidirectional, o.merge = c.merge;
  o.variant = c.variant, o.dtype = dtype;
  if constexpr (std::is_same_v<Layer, LSTM>) {
    o.peepholes = c.peepholes;
  } else {
    o.variant.zoneout_c = o.variant.cell_clip = 0;
  }
  if constexpr (requires { o.nonlinearity; }) {
    if (name == "rnn relu") o.nonlinearity = RNNNonlinearity::relu;
  }
  return stack_of(std::move(name) + ", " + c.name, Layer(o, rng));
}

inline std::vector<Stack> all_stacks(const StackCase& c, DType dtype = DType::float64) {
  std::vector<Stack> stacks;
  stacks.push_back(make_stack<LSTM, LSTMOptions>("lstm", c, dtype));
  stacks.push_back(make_stack<GRU, GRUOptions>("gru", c, dtype));
  stacks.push_back(make_stack<RNN, RNNOptions>("rnn tanh", c, dtype));
  stacks.push_back(make_stack<RNN, RNNOptions>("rnn relu", c, dtype));
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
       .variant = {.input_dropout = 0.2,
                   .recurrent_dropout = 0.2,
                   .weight_dropout = 0.2,
                   .zoneout_h = 0.2,
                   .zoneout_c = 0.2,
                   .cell_clip = 0.5},
       .peepholes = true}};
}

}  // namespace tapegrad::testing
