#pragma once

#include "../autograd/ops/lstm_cell.h"
#include "../autograd/tape.h"
#include "../core/rng.h"

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

/// One layer's Parameters under torch's names; LSTM has one set for each layer.
struct LSTMParameters {
  Parameter weight_ih;  // (4H, I), gates i, f, g, o
  Parameter weight_hh;  // (4H, H)
  Parameter bias_ih;    // (4H), undefined for LSTMBias::none
  Parameter bias_hh;    // (4H), undefined unless LSTMBias::two

  LSTMParameters() = default;
  /// Throws ShapeError if a size is 0.
  LSTMParameters(const LSTMCellOptions& options, Rng& rng);
  LSTMWeights on(Tape& tape) const;
  /// As a layer of a stack: torch's names end in the number, "weight_ih_l0".
  void visit(auto&& v, std::size_t layer) { visit_as(v, "_l" + std::to_string(layer)); }
  void visit_as(auto&& v, const std::string& suffix) {
    v("weight_ih" + suffix, weight_ih);
    v("weight_hh" + suffix, weight_hh);
    v("bias_ih" + suffix, bias_ih);
    v("bias_hh" + suffix, bias_hh);
  }
};

/// One LSTM step made of primitive ops: the equations are in autograd/ops/lstm_cell.cpp.
///
///   LSTMState s = cell.zero_state(batch);
///   for (const Var& x : unbind(sequence)) s = cell(tape, x, s);
class LSTMCell {
 public:
  LSTMParameters weights;

  LSTMCell() = default;
  LSTMCell(const LSTMCellOptions& options, Rng& rng) : weights(options, rng) {}

  /// x (B, I), state (B, H) each. Throws ShapeError; UsageError for Vars of another tape.
  LSTMState operator()(Tape& tape, const Var& x, const LSTMState& state) const {
    for (const Var* v : {&x, &state.h, &state.c}) tape.require_same_tape(*v, "lstm_cell");
    return lstm_cell(x, state, weights.on(tape));
  }
  /// Zeros (B, H). Throws ShapeError for B = 0.
  LSTMState zero_state(std::size_t batch) const;
  void visit(auto&& v) { weights.visit_as(v, ""); }
};

}  // namespace tapegrad
