#pragma once

#include <string>
#include <vector>

#include "../../autograd/ops/rnn.h"
#include "recurrent_parameters.h"

namespace tapegrad {

struct RNNOptions {
  std::size_t input;       // I
  std::size_t hidden;      // H
  std::size_t layers = 1;  // L
  double dropout = 0;  // between layers, in [0, 1): masks the output of every layer but the last
  bool bias = true;
  RNNNonlinearity nonlinearity = RNNNonlinearity::tanh;
  DType dtype = DType::float32;
};

/// A stack of RNN layers over whole sequences, fused: one node a layer. Names, layout, equations
/// and initial values are those of torch's nn.RNN; sequences are (T, B, features), states
/// (L, B, H).
///
///   auto [y, next] = rnn(tape, x, h);   // next.detach() goes into the next window
class RNN {
 public:
  std::vector<RecurrentParameters> layers;

  RNN() = default;
  /// Throws ShapeError for a size of 0; UsageError for dropout outside of [0, 1), or with one
  /// layer, where it would do nothing (a Dropout after the RNN is meant then).
  RNN(const RNNOptions& options, Rng& rng);

  /// Maps x (T, B, I), h (L, B, H) to y (T, B, H) and the last h (L, B, H). Throws ShapeError, for
  /// T = 0 and B = 0 too; UsageError for Vars of another tape. With dropout the tape must say
  /// whether it is training.
  RNNResult operator()(Tape& tape, const Var& x, const Var& h) const;
  /// Runs from the zero state.
  RNNResult operator()(Tape& tape, const Var& x) const;
  /// Computes the same value by a loop over rnn_cell(), the same masks: slow, to read and to test
  /// against.
  RNNResult composed(Tape& tape, const Var& x, const Var& h) const;

  /// Returns zeros (L, B, H). Throws ShapeError for B = 0.
  Var zero_state(std::size_t batch) const;
  /// Returns H. Throws UsageError for an RNN without layers.
  std::size_t hidden() const;

  void visit(auto&& v) {
    v.size("layers", layers);
    for (std::size_t l = 0; l < layers.size(); ++l) layers[l].visit(v, "_l" + std::to_string(l));
    v("dropout", dropout_);
    v("nonlinearity", nonlinearity_);
  }

 private:
  double dropout_ = 0;
  RNNNonlinearity nonlinearity_ = RNNNonlinearity::tanh;
};

}  // namespace tapegrad
