#pragma once

#include <string>
#include <vector>

#include "../../autograd/ops/lstm.h"
#include "../embedding.h"
#include "lstm_parameters.h"

namespace tapegrad {

struct LSTMOptions {
  std::size_t input;       // I
  std::size_t hidden;      // H
  std::size_t layers = 1;  // L
  double dropout = 0;  // between layers, in [0, 1): masks the output of every layer but the last
  LSTMBias bias = LSTMBias::two;
  LSTMInit init = LSTMInit::forget_one;
  DType dtype = DType::float32;
};

/// A stack of LSTM layers over whole sequences, fused: one node a layer. Names, layout and
/// equations are those of torch's nn.LSTM; sequences are (T, B, features), states (L, B, H).
///
///   auto [y, next] = lstm(tape, x, state);   // next.detach() goes into the next window
class LSTM {
 public:
  std::vector<LSTMParameters> layers;

  LSTM() = default;
  /// Throws ShapeError for a size of 0; UsageError for dropout outside of [0, 1), or with one
  /// layer, where it would do nothing (a Dropout after the LSTM is meant then).
  LSTM(const LSTMOptions& options, Rng& rng);

  /// Maps x (T, B, I), state (L, B, H) to y (T, B, H) and the last state (L, B, H). Throws
  /// ShapeError, for T = 0 and B = 0 too; UsageError for Vars of another tape. With dropout the
  /// tape must say whether it is training.
  LSTMResult operator()(Tape& tape, const Var& x, const LSTMState& state) const;
  /// Runs from the zero state.
  LSTMResult operator()(Tape& tape, const Var& x) const;
  /// Runs with x = embedding(tape, ids), ids (T, B) int32: embedding_lstm(), which takes less time
  /// and memory where the table has fewer rows than there are ids. Throws as the Embedding does,
  /// too.
  LSTMResult operator()(Tape& tape, const Embedding& embedding, const Tensor& ids,
                        const LSTMState& state) const;
  /// Computes the same value by a loop over lstm_cell(), the same masks: slow, to read and to test
  /// against.
  LSTMResult composed(Tape& tape, const Var& x, const LSTMState& state) const;

  /// Zeros (L, B, H). Throws ShapeError for B = 0.
  LSTMState zero_state(std::size_t batch) const;
  /// Returns H. Throws UsageError for an LSTM without layers.
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
