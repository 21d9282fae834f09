#pragma once

#include <string>
#include <vector>

#include "../../autograd/ops/gru.h"
#include "recurrent_parameters.h"

namespace tapegrad {

struct GRUOptions {
  std::size_t input;       // I
  std::size_t hidden;      // H
  std::size_t layers = 1;  // L
  double dropout = 0;  // between layers, in [0, 1): masks the output of every layer but the last
  bool bias = true;
  DType dtype = DType::float32;
};

/// A stack of GRU layers over whole sequences, fused: one node a layer. Names, layout, equations
/// and initial values are those of torch's nn.GRU: the reset gate acts after the product; sequences are (T, B, features), states
/// (L, B, H).
///
///   auto [y, next] = gru(tape, x, h);   // next.detach() goes into the next window
class GRU {
 public:
  std::vector<RecurrentParameters> layers;

  GRU() = default;
  /// Throws ShapeError for a size of 0; UsageError for dropout outside of [0, 1), or with one
  /// layer, where it would do nothing (a Dropout after the GRU is meant then).
  GRU(const GRUOptions& options, Rng& rng);

  /// Maps x (T, B, I), h (L, B, H) to y (T, B, H) and the last h (L, B, H). Throws ShapeError, for
  /// T = 0 and B = 0 too; UsageError for Vars of another tape. With dropout the tape must say
  /// whether it is training.
  GRUResult operator()(Tape& tape, const Var& x, const Var& h) const;
  /// Runs from the zero state.
  GRUResult operator()(Tape& tape, const Var& x) const;
  /// Computes the same value by a loop over gru_cell(), the same masks: slow, to read and to test
  /// against.
  GRUResult composed(Tape& tape, const Var& x, const Var& h) const;

  /// Returns zeros (L, B, H). Throws ShapeError for B = 0.
  Var zero_state(std::size_t batch) const;
  /// Returns H. Throws UsageError for a GRU without layers.
  std::size_t hidden() const;

  void visit(auto&& v) {
    v.size("layers", layers);
    for (std::size_t l = 0; l < layers.size(); ++l) layers[l].visit(v, "_l" + std::to_string(l));
    v("dropout", dropout_);
  }

 private:
  double dropout_ = 0;
};

}  // namespace tapegrad
