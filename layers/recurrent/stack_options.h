#pragma once

#include "../../core/cxx20.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace tapegrad {

/// Ways to make one output of the two directions of a layer: concat gives (T, B, 2H), the forward one
/// first, the others (T, B, H).
enum class Merge : std::uint8_t { concat, sum, multiply, average };

/// Variants of all layers of a stack; 0: off. Masks act in training; in evaluation zoneout takes its
/// rate. Each mask is a function of (seed, pass, its place in the order of the pass, t, row of the
/// batch, column), the same for the fused ops and their composed twins.
struct StackVariant {
  double input_dropout =
      0;  // of each layer's input, one mask for all steps (Gal and Ghahramani 2016)
  double recurrent_dropout = 0;  // of h in front of W_hh, one mask for all steps (the same)
  double weight_dropout =
      0;                 // of W_hh's elements: DropConnect (Wan et al. 2013; Merity et al. 2018)
  double zoneout_h = 0;  // probability that an element of h stays as it is (Krueger et al. 2017)
  double zoneout_c = 0;  // of c, likewise; LSTM only
  double gradient_clip = 0;  // cuts gradients of pre-activations, at every step (Graves 2013)
  double cell_clip = 0;      // cuts c to [-cell_clip, cell_clip]; LSTM only
};

/// Settings of a stack of recurrent layers, which it has besides its Parameters.
struct StackSettings {
  double dropout = 0;
  bool bidirectional = false;
  Merge merge = Merge::concat;
  StackVariant variant = {};

  std::size_t directions() const { return bidirectional ? 2 : 1; }
  /// Returns torch's suffix of the n-th set of Parameters: "_l0", "_l0_reverse", "_l1", ...
  std::string suffix(std::size_t n) const {
    return "_l" + std::to_string(n / directions()) + (n % directions() == 1 ? "_reverse" : "");
  }
  /// Returns how many features a layer gives to the next one, or as its output.
  std::size_t output(std::size_t hidden) const {
    return bidirectional && merge == Merge::concat ? 2 * hidden : hidden;
  }
};

}  // namespace tapegrad
