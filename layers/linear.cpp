#include "linear.h"

#include <cmath>

#include "../autograd/ops/matrix.h"
#include "../core/check-inl.h"
#include "init.h"

namespace tapegrad {

Linear::Linear(std::size_t inputs, std::size_t outputs, Rng& rng, LinearOptions options) {
  const Shape shape{outputs, inputs};
  if (shape.numel() == 0)
    check::wrong_shape("Linear", "weight (O, I)", shape, "without a size of 0");
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  weight = Parameter(init::uniform(shape, bound, rng, options.dtype));
  if (options.bias) bias = Parameter(init::uniform({outputs}, bound, rng, options.dtype));
}

Var Linear::operator()(Tape& tape, const Var& x) const {
  tape.require_same_tape(x, "Linear");
  return linear(x, tape.leaf(weight), bias.defined() ? tape.leaf(bias) : Var());
}

Var linear_cross_entropy(Tape& tape, const Linear& head, const Var& x, const Tensor& ids,
                         const CrossEntropyOptions& options) {
  tape.require_same_tape(x, "linear_cross_entropy");
  return linear_cross_entropy(x, tape.leaf(head.weight),
                              head.bias.defined() ? tape.leaf(head.bias) : Var(), ids, options);
}

}  // namespace tapegrad
