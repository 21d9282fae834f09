#pragma once

#include <cstdint>

#include "recurrent_parameters.h"

namespace tapegrad {

/// `two`: bias_ih and bias_hh, as torch has; `one`: only bias_ih (their sum is all that matters);
/// `none`.
enum class LSTMBias : std::uint8_t { none, one, two };
/// `forget_one`: all uniform in +-1/sqrt(H), but the forget gate's bias_ih is 1, so that at first
/// the cell remembers (Jozefowicz et al. 2015). `torch`: all uniform.
enum class LSTMInit : std::uint8_t { forget_one, torch };

struct LSTMCellOptions {
  std::size_t input;   // I
  std::size_t hidden;  // H
  LSTMBias bias = LSTMBias::two;
  LSTMInit init = LSTMInit::forget_one;
  DType dtype = DType::float32;
};

/// One layer's Parameters; G is 4H, gates i, f, g, o. bias_ih is undefined for LSTMBias::none,
/// bias_hh unless LSTMBias::two.
struct LSTMParameters : RecurrentParameters {
  Parameter c0;        // (H): the first c, if it is trained; or undefined
  Parameter peephole;  // (3, H): p_i, p_f, p_o; or undefined

  LSTMParameters() = default;
  /// Throws ShapeError if a size is 0.
  LSTMParameters(const LSTMCellOptions& options, Rng& rng);
  void visit(auto&& v, const std::string& suffix = "") {
    RecurrentParameters::visit(v, suffix);
    v("c0" + suffix, c0);
    v("peephole" + suffix, peephole);
  }
};

}  // namespace tapegrad
