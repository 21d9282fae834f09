#include "embedding.h"

#include "../autograd/ops/dropout.h"
#include "../autograd/ops/embedding.h"
#include "../core/check-inl.h"
#include "init.h"

namespace tapegrad {

Embedding::Embedding(std::size_t ids, std::size_t features, Rng& rng, DType dtype) {
  const Shape shape{ids, features};
  if (shape.numel() == 0)
    check::wrong_shape("Embedding", "weight (V, E)", shape, "without a size of 0");
  weight = Parameter(init::normal(shape, 1, rng, dtype));
}

Var Embedding::operator()(Tape& tape, const Tensor& ids) const {
  return embedding(table(tape), ids);
}

Var Embedding::operator()(Tape& tape, const Tensor& ids, const Tensor& lengths) const {
  return embedding(table(tape), ids, lengths);
}

Var Embedding::table(Tape& tape) const {
  return tapegrad::row_dropout(tape, tape.leaf(weight), row_dropout);
}

}  // namespace tapegrad
