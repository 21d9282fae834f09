#pragma once

#include <doctest/doctest.h>

#include <map>
#include <span>
#include <string>
#include <vector>

#include "../fixtures/layer_values.h"
#include "filled.h"
#include "lstm_cases.h"
#include "stacks.h"

/// Comparison of recurrent layers with what another library has computed.
namespace tapegrad::testing {

inline void fill(const Parameters& all) {
  for (std::size_t seed = 1; const NamedParameter& p : all) {
    p.set_value(filled(p.value().shape(), seed++));
  }
}

/// Tensors in the shapes of `like`, out of lists of the same names.
inline std::vector<NamedValue> shaped(const NamedNumbers& numbers,
                                      const std::vector<NamedValue>& like) {
  std::vector<NamedValue> result;
  REQUIRE(numbers.size() == like.size());
  for (std::size_t i = 0; i < like.size(); ++i) {
    REQUIRE(numbers[i].first == like[i].name);
    const std::span<const double> values = numbers[i].second;
    REQUIRE(values.size() == like[i].value.numel());
    result.push_back({like[i].name, Tensor::from(like[i].value.shape(), values)});
  }
  return result;
}

/// y, the last state and all gradients, as layer_values.py says, under the names of LayerValues.
inline std::vector<NamedValue> layer_values(const Stack& stack, bool fused, const Tensor& lengths) {
  constexpr std::size_t steps = 4, batch = 3;
  const char* const parts[] = {"h", "c"};
  Tape tape;
  std::vector<NamedValue> result;
  Vars leaves = {tape.leaf(filled({steps, batch, stack_input}, 50))}, state;
  std::vector<std::string> names = {"dx"};
  for (const Shape& shape : stack.state(batch)) {
    state.push_back(tape.leaf(filled(shape, 51 + state.size())));
    names.push_back(std::string("d") + parts[state.size() - 1] + "0");
  }
  leaves.insert(leaves.end(), state.begin(), state.end());
  for (const NamedParameter& p : stack.parameters) {
    leaves.push_back(tape.leaf(p));
    names.push_back("d" + p.name);
  }
  Var loss;
  for (const Var& output : stack.run(fused, tape, leaves[0], state, lengths)) {
    const std::size_t n = result.size();
    const Var share = sum(output * Var(filled(output.shape(), 53 + n)));
    loss = n == 0 ? share : loss + share;
    result.push_back({n == 0 ? "y" : std::string(parts[n - 1]) + "_T", output.value()});
  }
  const Vars gradients = tape.gradient(loss, leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    result.push_back({names[i], gradients[i].value()});
  }
  return result;
}

/// Checks both forms of the layers that `make` builds: max|difference| / max|theirs| of each tensor.
template <class Make>
void check_parity(const std::vector<LayerValues>& all, Make make) {
  std::map<std::string, Deviation> kinds;
  for (const LayerValues& theirs : all) {
    const Stack stack = make(theirs);
    fill(stack.parameters);
    const Tensor lengths = theirs.lengths ? Tensor::from<std::int32_t>({3}, {2, 4, 1}) : Tensor();
    for (const bool fused : {true, false}) {
      INFO(theirs.kind, ", ", theirs.layers, " layers, ", theirs.merge, ", fused ", fused);
      const std::vector<NamedValue> ours = layer_values(stack, fused, lengths);
      Deviation& deviation = kinds[theirs.kind];
      deviation.compare(ours, shaped(theirs.values, ours));
      CHECK_MESSAGE(deviation.worst <= 1e-13, deviation.where);
    }
  }
  for (const auto& [kind, deviation] : kinds) {
    MESSAGE(kind, ": max|difference| / max|theirs| ", deviation.worst, " in ", deviation.where);
  }
}

}  // namespace tapegrad::testing
