#pragma once

#include "../autograd/tape.h"
#include "../core/rng.h"

namespace tapegrad {

/// A learned vector for each of V ids: (...) int32 -> (..., E).
class Embedding {
 public:
  Parameter weight;  // (V, E)
  double row_dropout =
      0;  // in [0, 1): ids that are not there in a training pass, see row_dropout()

  Embedding() = default;
  /// Draws from the standard normal distribution, as torch's. Throws ShapeError if a size is 0.
  Embedding(std::size_t ids, std::size_t features, Rng& rng, DType dtype = DType::float32);

  /// Throws UsageError for an id outside of [0, V), DtypeError unless ids are int32.
  Var operator()(Tape& tape, const Tensor& ids) const;
  /// Maps ids (T, B) of padded sequences with lengths (B) int32: (T, B, E), and 0 behind each
  /// sequence's end, where ids are not read. Throws likewise, and UsageError for a length out of range.
  Var operator()(Tape& tape, const Tensor& ids, const Tensor& lengths) const;
  /// Returns the weight as this pass has it: with dropout of rows, in a tape that is training.
  Var table(Tape& tape) const;
  void visit(auto&& v) {
    v("weight", weight);
    v("row_dropout", row_dropout);
  }
};

}  // namespace tapegrad
