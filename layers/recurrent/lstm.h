#pragma once

#include <string>
#include <vector>

#include "../../autograd/ops/lstm.h"
#include "../embedding.h"
#include "lstm_parameters.h"
#include "stack_options.h"

namespace tapegrad {

struct LSTMOptions {
  std::size_t input;       // I
  std::size_t hidden;      // H
  std::size_t layers = 1;  // L
  double dropout = 0;  // between layers, in [0, 1): masks the output of every layer but the last
  bool bidirectional = false;
  Merge merge = Merge::concat;  // of the two directions
  StackVariant variant = {};
  bool trained_state = false;  // the first state is learned, in place of zeros
  bool peepholes = false;
  LSTMBias bias = LSTMBias::two;
  LSTMInit init = LSTMInit::forget_one;
  DType dtype = DType::float32;
};

/// A stack of LSTM layers over whole sequences, fused: one node for a layer and direction. Names,
/// layout and equations are those of torch's nn.LSTM; sequences are (T, B, features), states
/// (L D, B, H), where D is 2 if it is bidirectional, else 1.
///
///   auto [y, next] = lstm(tape, x, state);   // next.detach() goes into the next window
class LSTM {
 public:
  std::vector<LSTMParameters> layers;  // L D: layer 0, its other direction, layer 1, ...

  LSTM() = default;
  /// Throws ShapeError for a size of 0; UsageError for a probability outside of [0, 1), a negative
  /// limit, or dropout with one layer, where it would do nothing (a Dropout after the LSTM is meant
  /// then).
  LSTM(const LSTMOptions& options, Rng& rng);

  /// Maps x (T, B, I), state (L D, B, H) to y (T, B, output()) and the last state (L D, B, H). With
  /// `lengths` (B) int32, each in [0, T], in any order, sequence b ends after lengths[b] steps: what is
  /// behind its end is neither read nor computed, y is 0 there, and the last state is that at the end
  /// (of the other direction: at the beginning). Throws ShapeError, for T = 0 and B = 0 too;
  /// UsageError for Vars of another tape and a length out of range. With dropout the tape must say
  /// whether it is training.
  LSTMResult operator()(Tape& tape, const Var& x, const LSTMState& state,
                        const Tensor& lengths = {}) const;
  /// Runs from the first state.
  LSTMResult operator()(Tape& tape, const Var& x) const;
  /// Runs with x = embedding(tape, ids), ids (T, B) int32: embedding_lstm(), which takes less time
  /// and memory where the table has fewer rows than there are ids. Ids behind a sequence's end may be
  /// any numbers. Throws as the Embedding does, too.
  LSTMResult operator()(Tape& tape, const Embedding& embedding, const Tensor& ids,
                        const LSTMState& state, const Tensor& lengths = {}) const;
  /// Computes the same value by a loop over lstm_cell(), the same masks: slow, to read and to test
  /// against.
  LSTMResult composed(Tape& tape, const Var& x, const LSTMState& state,
                      const Tensor& lengths = {}) const;

  /// Returns zeros (L D, B, H). Throws ShapeError for B = 0.
  LSTMState zero_state(std::size_t batch) const;
  /// Returns the first state (L D, B, H): the trained one, the same for all rows, or zeros.
  LSTMState first_state(Tape& tape, std::size_t batch) const;
  /// Returns the state after x, from `state` on, as a constant: a first state that is better than
  /// zeros. Throws as operator() does.
  LSTMState burn_in(Tape& tape, const Var& x, const LSTMState& state,
                    const Tensor& lengths = {}) const;
  /// Returns the last layer's output at each sequence's last step (of the other direction: at its
  /// first), (B, output()), from a result's last state.
  Var last_output(const LSTMState& last) const;
  /// Returns H. Throws UsageError for an LSTM without layers.
  std::size_t hidden() const;
  /// Returns how many features y has: 2H if it is bidirectional and concatenates, else H.
  std::size_t output() const;
  /// Returns what it does besides the work of its Parameters: directions, dropout, variants.
  const StackSettings& settings() const { return settings_; }

  void visit(auto&& v) {
    v("settings", settings_);
    v.size("layers", layers);
    for (std::size_t n = 0; n < layers.size(); ++n) layers[n].visit(v, settings_.suffix(n));
  }

 private:
  StackSettings settings_;
};

}  // namespace tapegrad
