#pragma once

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
  /// Uniform in +-1/sqrt(I), as torch's. Throws ShapeError if a size is 0.
  Linear(std::size_t inputs, std::size_t outputs, Rng& rng, LinearOptions options = {});

  /// x (..., I) -> (..., O). Throws ShapeError for another x; UsageError for one of another tape.
  Var operator()(Tape& tape, const Var& x) const;
  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
};

}  // namespace tapegrad
