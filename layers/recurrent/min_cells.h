#pragma once

#include <cstdint>

#include "../linear.h"
#include "recurrent.h"

namespace tapegrad {

/// Functions that make a candidate of its pre-activation u. `linear`: u itself. `positive`: g(u), u
/// + 1/2 for u >= 0, else sigmoid(u), which the authors need for a scan in log space (Feng et al.
/// 2024, appendix B).
enum class MinCandidate : std::uint8_t { linear, positive };

struct MinCellOptions {
  std::size_t input;   // I
  std::size_t hidden;  // H
  bool bias = true;
  MinCandidate candidate = MinCandidate::linear;
  DType dtype = DType::float32;
};

/// One step of a minGRU: a GRU whose gate and candidate do not see h (Feng et al. 2024, "Were RNNs all
/// we needed?", section 3.1),
///
///   z = sigmoid(u_z),  h~ = u_h or g(u_h)          (u_z, u_h) = W x + b
///   h' = (1 - z) * h + z * h~
///
/// so that all steps' z and h~ are one product, and what is left is scan().
class MinGRUCell {
 public:
  Linear linear;  // (2H, I): z, h~
  MinCandidate candidate = MinCandidate::linear;

  MinGRUCell() = default;
  /// Draws as Linear does. Throws ShapeError if a size is 0.
  MinGRUCell(const MinCellOptions& options, Rng& rng);

  /// Maps x (B, I), h (B, H) to the next h. Throws ShapeError; UsageError for Vars of another tape.
  Var operator()(Tape& tape, const Var& x, const Var& h) const;
  /// Returns a = 1 - z and b = z * h~ (..., H) for x (..., I). Throws likewise.
  ScanCoefficients coefficients(Tape& tape, const Var& x) const;
  /// Returns zeros (B, H). Throws ShapeError for B = 0.
  Var zero_state(std::size_t batch) const;
  void visit(auto&& v) {
    v("linear", linear);
    v("candidate", candidate);
  }
};

/// One step of a minLSTM with normalised gates (Feng et al. 2024, section 3.2):
///
///   f = sigmoid(u_f),  i = sigmoid(u_i),  h~ = u_h or g(u_h)    (u_f, u_i, u_h) = W x + b
///   f' = f / (f + i),  i' = i / (f + i)
///   h' = f' * h + i' * h~
///
/// f' is computed as sigmoid(log f - log i), which is right where f and i are rounded to 0.
class MinLSTMCell {
 public:
  Linear linear;  // (3H, I): f, i, h~
  MinCandidate candidate = MinCandidate::linear;

  MinLSTMCell() = default;
  /// Draws as Linear does. Throws ShapeError if a size is 0.
  MinLSTMCell(const MinCellOptions& options, Rng& rng);

  /// Maps x (B, I), h (B, H) to the next h. Throws ShapeError; UsageError for Vars of another tape.
  Var operator()(Tape& tape, const Var& x, const Var& h) const;
  /// Returns a = f' and b = i' * h~ (..., H) for x (..., I). Throws likewise.
  ScanCoefficients coefficients(Tape& tape, const Var& x) const;
  /// Returns zeros (B, H). Throws ShapeError for B = 0.
  Var zero_state(std::size_t batch) const;
  void visit(auto&& v) {
    v("linear", linear);
    v("candidate", candidate);
  }
};

/// Both over whole sequences.
using MinGRU = Recurrent<MinGRUCell>;
using MinLSTM = Recurrent<MinLSTMCell>;

}  // namespace tapegrad
