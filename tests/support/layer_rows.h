#pragma once

#include <functional>
#include <string>
#include <vector>

#include "stacks.h"

/// All recurrent layers with each of their options: the rows of the gradient table.
namespace tapegrad::testing {

/// Options that are an axis of the table.
struct LayerSetting {
  std::size_t layers = 1;
  std::size_t way = 0;         // of LayerRow::ways
  bool trained_state = false;  // the first state has Parameters
};

struct LayerRow {
  std::string layer, option;
  std::vector<std::string> ways;  // directions, and how they are merged
  bool can_train_state;
  bool has_twin;       // two forms: a fused one and a loop
  bool is_derivative;  // false: the gradient is cut on purpose, or values lie on kinks
  std::function<Stack(const LayerSetting&)> make;
  Tensor ids = {};  // (50, B) in place of x, if the layer takes ids
};

inline constexpr std::size_t row_batch = 4, row_steps = 50;

/// The rows of a layer: "lstm", "gru", "rnn tanh", "rnn relu", "lstm of ids", "lstm variants",
/// "min cells" or "cells".
std::vector<LayerRow> layer_rows(const std::string& layer);

}  // namespace tapegrad::testing
