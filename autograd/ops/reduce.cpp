#include "reduce.h"

#include "../../core/kernels/reduce.h"
#include "../node.h"
#include "check.h"
#include "elementwise.h"

namespace tapegrad {

Var sum(const Var& x) {  // dx = dy everywhere
  check::real("sum", "x", x.dtype());
  Node n("sum", {x});
  Var y = n.out(kernels::sum(x.value()));
  n.rule([shape = x.shape()](Grads& g) { g.add(0, broadcast_to(g.d(), shape)); });
  return y;
}

Var sum(const Var& x, std::size_t axis) {
  check::real("sum", "x", x.dtype());
  check::axis_exists("sum", x.shape(), axis);
  Node n("sum", {x});
  Var y = n.out(kernels::sum(x.value(), axis));
  n.rule([axis, size = x.size(axis)](Grads& g) { g.add(0, repeat(g.d(), axis, size)); });
  return y;
}

Var mean(const Var& x) {
  if (x.shape().numel() == 0) check::wrong_shape("mean", "x", x.shape(), "of at least one element");
  return sum(x) / static_cast<double>(x.shape().numel());
}

Var mean(const Var& x, std::size_t axis) {
  check::axis_exists("mean", x.shape(), axis);
  if (x.size(axis) == 0)
    check::wrong_shape("mean", "x", x.shape(), "of at least one element along the axis");
  return sum(x, axis) / static_cast<double>(x.size(axis));
}

Var sum_to(const Var& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  if (!shape.is_suffix_of(x.shape())) {
    check::mismatch("sum_to", {"x", "", x.shape()}, {"the result", "", shape},
                    "the result must be the last axes of x");
  }
  Node n("sum_to", {x});
  Var y = n.out(kernels::sum_to(x.value(), shape));
  n.rule([whole = x.shape()](Grads& g) { g.add(0, broadcast_to(g.d(), whole)); });
  return y;
}

Var broadcast_to(const Var& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  if (!x.shape().is_suffix_of(shape)) {
    check::mismatch("broadcast_to", {"x", "", x.shape()}, {"the result", "", shape},
                    "x must be the last axes of the result");
  }
  Node n("broadcast_to", {x});
  Var y = n.out(kernels::broadcast(x.value(), shape));
  n.rule([part = x.shape()](Grads& g) { g.add(0, sum_to(g.d(), part)); });
  return y;
}

Var repeat(const Var& x, std::size_t axis, std::size_t size) {
  Node n("repeat", {x});
  Var y = n.out(kernels::repeat(x.value(), axis, size));
  n.rule([axis](Grads& g) { g.add(0, sum(g.d(), axis)); });
  return y;
}

}  // namespace tapegrad
