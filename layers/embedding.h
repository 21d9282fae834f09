#pragma once

#include "../autograd/tape.h"
#include "../core/rng.h"

namespace tapegrad {

/// A learned vector for each of V ids: (...) int32 -> (..., E).
class Embedding {
 public:
  Parameter weight;  // (V, E)

  Embedding() = default;
  /// Draws from the standard normal distribution, as torch's. Throws ShapeError if a size is 0.
  Embedding(std::size_t ids, std::size_t features, Rng& rng, DType dtype = DType::float32);

  /// Throws UsageError for an id outside of [0, V), DtypeError unless ids are int32.
  Var operator()(Tape& tape, const Tensor& ids) const;
  void visit(auto&& v) { v("weight", weight); }
};

}  // namespace tapegrad
