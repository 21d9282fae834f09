#pragma once

#include "../autograd/ops/cross_entropy.h"
#include "../autograd/tape.h"
#include "../core/rng.h"

namespace tapegrad {

struct LinearOptions {
  bool bias = true;
  DType dtype = DType::float32;
};

/// y = x W^T + b: (..., I) -> (..., O).
class Linear {
 public:
  Parameter weight;  // (O, I)
  Parameter bias;    // (O), undefined without bias

  Linear() = default;
  /// Draws uniformly in +-1/sqrt(I), as torch's. Throws ShapeError if a size is 0.
  Linear(std::size_t inputs, std::size_t outputs, Rng& rng, LinearOptions options = {});

  /// Maps x (..., I) to (..., O). Throws ShapeError for another x; UsageError for one of another
  /// tape.
  Var operator()(Tape& tape, const Var& x) const;
  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
};

/// Computes cross_entropy(head(tape, x), ids, options), fused: what linear_cross_entropy() of ops
/// makes of the Parameters of `head`. Throws like it; UsageError for an x of another tape.
Var linear_cross_entropy(Tape& tape, const Linear& head, const Var& x, const Tensor& ids,
                         const CrossEntropyOptions& options = {});

}  // namespace tapegrad
