#pragma once

#include <string>

#include "../../autograd/ops/recurrent.h"
#include "../../autograd/tape.h"
#include "../../core/rng.h"

namespace tapegrad {

/// One recurrent layer's Parameters under torch's names; a cell has one set, a stack one for each
/// layer. G is 4H (LSTM: i, f, g, o), 3H (GRU: r, z, n) or H (RNN).
struct RecurrentParameters {
  Parameter weight_ih;  // (G, I)
  Parameter weight_hh;  // (G, H)
  Parameter bias_ih;    // (G), or undefined
  Parameter bias_hh;    // (G), or undefined
  Parameter h0;         // (H): the first h of all sequences, if it is trained; or undefined

  struct Sizes {
    std::size_t gates;   // G / H
    std::size_t input;   // I
    std::size_t hidden;  // H
    std::size_t biases;  // 0; 1: only bias_ih; 2
    DType dtype;
  };

  RecurrentParameters() = default;
  /// Draws all of them, uniform in +-1/sqrt(H). Throws ShapeError, for the layer `type`, if a size is
  /// 0.
  RecurrentParameters(const char* type, const Sizes& sizes, Rng& rng);
  /// Returns their leaves on a tape, for recurrent ops.
  RecurrentWeights on(Tape& tape) const;
  /// Returns zeros (B, H), a state. Throws ShapeError, for the cell `type`, for B = 0.
  Tensor zero_state(const char* type, std::size_t batch) const;
  /// Names the members; in a stack with a suffix, as in torch's "weight_ih_l0".
  void visit(auto&& v, const std::string& suffix = "") {
    v("weight_ih" + suffix, weight_ih);
    v("weight_hh" + suffix, weight_hh);
    v("bias_ih" + suffix, bias_ih);
    v("bias_hh" + suffix, bias_hh);
    v("h0" + suffix, h0);
  }
};

}  // namespace tapegrad
