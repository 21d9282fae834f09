#pragma once

#include <cstdint>
#include <string>

#include "../../autograd/ops/recurrent.h"
#include "../../autograd/tape.h"
#include "../../core/rng.h"

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

/// One layer's Parameters under torch's names; LSTMCell has one set, LSTM one for each layer.
struct LSTMParameters {
  Parameter weight_ih;  // (4H, I), gates i, f, g, o
  Parameter weight_hh;  // (4H, H)
  Parameter bias_ih;    // (4H), undefined for LSTMBias::none
  Parameter bias_hh;    // (4H), undefined unless LSTMBias::two

  LSTMParameters() = default;
  /// Throws ShapeError if a size is 0.
  LSTMParameters(const LSTMCellOptions& options, Rng& rng);
  /// Returns their leaves on a tape, for lstm() and lstm_cell().
  LSTMWeights on(Tape& tape) const;
  /// Names the members; in a stack with a suffix, as in torch's "weight_ih_l0".
  void visit(auto&& v, const std::string& suffix = "") {
    v("weight_ih" + suffix, weight_ih);
    v("weight_hh" + suffix, weight_hh);
    v("bias_ih" + suffix, bias_ih);
    v("bias_hh" + suffix, bias_hh);
  }
};

}  // namespace tapegrad
