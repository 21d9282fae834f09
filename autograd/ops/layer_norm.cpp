#include "layer_norm.h"

#include "../../core/check-inl.h"
#include "../../core/kernels/layer_norm.h"
#include "../../core/kernels/reduce.h"
#include "../node.h"
#include "elementwise.h"
#include "reduce.h"

namespace tapegrad {
namespace {

void check_parameter(const char* op, const Var& x, const char* name, const Var& parameter) {
  if (!parameter.defined()) return;
  check::real(op, name, parameter.dtype());
  if (parameter.shape() != Shape{x.size(x.shape().rank() - 1)}) {
    check::mismatch(op, {"x", "(..., I)", x.shape()}, {name, "(I)", parameter.shape()},
                    "I must match");
  }
}

void check_inputs(const char* op, const Var& x, const Var& gamma, const Var& beta, double epsilon) {
  const std::size_t rank = x.shape().rank();
  if (rank == 0) check::wrong_shape(op, "x", x.shape(), "of rank 1 or more, (..., I)");
  if (x.size(rank - 1) == 0) check::wrong_shape(op, "x", x.shape(), "(..., I) with I >= 1");
  check::real(op, "x", x.dtype());
  check_parameter(op, x, "gamma", gamma);
  check_parameter(op, x, "beta", beta);
  check::positive(op, "epsilon", epsilon);
}

Tensor value_of(const Var& parameter) { return parameter.defined() ? parameter.value() : Tensor(); }

}  // namespace

Var layer_norm(const Var& x, const Var& gamma, const Var& beta, double epsilon) {
  check::defined("layer_norm", {{"x", x}});
  check_inputs("layer_norm", x, gamma, beta, epsilon);
  Node n("layer_norm", {x, gamma, beta});
  n.note("epsilon", epsilon);
  const kernels::LayerNorm result =
      kernels::layer_norm(x.value(), value_of(gamma), value_of(beta), epsilon);
  Var y = n.out(result.y);
  const Var mean = result.mean, inverse = result.inverse;
  n.rule([x, gamma, beta, mean, inverse, epsilon](Grads& g) {
    if (g.graph()) {
      return g.through(
          [&](const Vars& in) { return Vars{layer_norm_composed(in[0], in[1], in[2], epsilon)}; },
          {x, gamma, beta});
    }
    const kernels::LayerNormGradients d = kernels::layer_norm_backward(
        x.value(), value_of(gamma), mean.value(), inverse.value(), g.d().value(),
        {.x = g.needs(0), .parameters = g.needs(1) || g.needs(2)});
    if (g.needs(0)) g.add(0, d.x);
    if (g.needs(1)) g.add(1, d.gamma);
    if (g.needs(2)) g.add(2, d.beta);
  });
  return y;
}

Var layer_norm_composed(const Var& x, const Var& gamma, const Var& beta, double epsilon) {
  check::defined("layer_norm_composed", {{"x", x}});
  check_inputs("layer_norm_composed", x, gamma, beta, epsilon);
  const std::size_t last = x.shape().rank() - 1;
  const auto along_rows = [&](const Var& v) { return repeat(v, last, x.size(last)); };
  const auto in_double = [](const Var& v) { return cast(v, DType::float64); };
  const Var wide = in_double(x);
  const Var centred = wide - along_rows(mean(wide, last));
  // y does not depend on this constant of a row; squares of what is far from the mean would overflow.
  const Var one = Tensor::scalar(1, DType::float64);
  const Var scale = one / maximum(kernels::norm(centred.value(), last), one);
  const Var scaled = centred * along_rows(scale);
  const Var variance = mean(square(scaled), last) + epsilon * square(scale);
  Var y = scaled / along_rows(sqrt(variance));
  if (gamma.defined()) y = y * in_double(gamma);
  if (beta.defined()) y = y + in_double(beta);
  return cast(y, x.dtype());
}

}  // namespace tapegrad
