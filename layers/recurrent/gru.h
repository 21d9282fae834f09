#pragma once

#include <string>
#include <vector>

#include "../../autograd/ops/gru.h"
#include "recurrent_parameters.h"
#include "stack_options.h"

namespace tapegrad {

struct GRUOptions {
  std::size_t input;       // I
  std::size_t hidden;      // H
  std::size_t layers = 1;  // L
  double dropout = 0;  // between layers, in [0, 1): masks the output of every layer but the last
  bool bidirectional = false;
  Merge merge = Merge::concat;  // of the two directions
  StackVariant variant = {};
  bool trained_state = false;  // the first state is learned, in place of zeros
  bool bias = true;
  DType dtype = DType::float32;
};

/// A stack of GRU layers over whole sequences, fused: one node for a layer and direction. Names,
/// layout, equations and initial values are those of torch's nn.GRU: the reset gate acts after the
/// product; sequences are (T, B, features), states (L D, B, H), where D is 2 if it is
/// bidirectional, else 1.
///
///   auto [y, next] = gru(tape, x, h);   // next.detach() goes into the next window
class GRU {
 public:
  std::vector<RecurrentParameters> layers;  // L D: layer 0, its other direction, layer 1, ...

  GRU() = default;
  /// Throws ShapeError for a size of 0; UsageError for a probability outside of [0, 1), a negative
  /// limit, dropout with one layer, where it would do nothing (a Dropout after the GRU is meant then),
  /// or a variant of the LSTM alone.
  GRU(const GRUOptions& options, Rng& rng);

  /// Maps x (T, B, I), h (L D, B, H) to y (T, B, output()) and the last h (L D, B, H); `lengths` as for
  /// the LSTM. Throws ShapeError, for T = 0 and B = 0 too; UsageError for Vars of another tape and a
  /// length out of range. With dropout the tape must say whether it is training.
  GRUResult operator()(Tape& tape, const Var& x, const Var& h, const Tensor& lengths = {}) const;
  /// Runs from the first state.
  GRUResult operator()(Tape& tape, const Var& x) const;
  /// Computes the same value by a loop over gru_cell(), the same masks: slow, to read and to test
  /// against.
  GRUResult composed(Tape& tape, const Var& x, const Var& h, const Tensor& lengths = {}) const;

  /// Returns zeros (L D, B, H). Throws ShapeError for B = 0.
  Var zero_state(std::size_t batch) const;
  /// Returns the first state (L D, B, H): the trained one, the same for all rows, or zeros.
  Var first_state(Tape& tape, std::size_t batch) const;
  /// Returns the state after x, from h on, as a constant: a first state that is better than zeros.
  /// Throws as operator() does.
  Var burn_in(Tape& tape, const Var& x, const Var& h, const Tensor& lengths = {}) const;
  /// Returns the last layer's output at each sequence's last step (of the other direction: at its
  /// first), (B, output()), from a result's last state.
  Var last_output(const Var& last) const;
  /// Returns H. Throws UsageError for a GRU without layers.
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
