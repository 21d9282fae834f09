#include "reduce.h"

#include <cstdint>

#include "../../core/check-inl.h"
#include "../../core/kernels/elementwise.h"
#include "../../core/kernels/indexing.h"
#include "../../core/kernels/reduce.h"
#include "../node.h"
#include "elementwise.h"
#include "gather.h"
#include "shape.h"

namespace tapegrad {

namespace {

/// The elements of x at `places` along `axis`, in the given shape.   dx = dy there, else 0
Var pick(const char* op, const Var& x, Axis axis, const Tensor& places, const Shape& shape) {
  const Var index = places;
  Node n(op, {x, index});
  n.note("axis", axis);
  Var y = n.out(kernels::gather(x.value(), axis, places).reshape(shape));
  n.branch([&] { return places; });
  n.rule([axis, index, size = x.size(axis)](Grads& g) {
    g.add(0, scatter_add(reshape(g.d(), index.shape()), axis, index.value(), size));
  });
  return y;
}

/// The element of x at `best` along `axis`, which disappears.
Var pick_one(const char* op, const Var& x, Axis axis, const Tensor& best) {
  return pick(op, x, axis, best.reshape(x.shape().with(axis, 1)), best.shape());
}

/// The axis counted from the first; its elements can be compared, and numbered by an int32.
Axis check_choice(const char* op, const Var& x, Axis axis) {
  check::real(op, "x", x.dtype());
  axis = check::axis(op, x.shape(), axis);
  if (x.size(axis) - 1 < INT32_MAX) return axis;  // 0 - 1 is the largest of all
  check::wrong_shape(op, "x", x.shape(), "of 1 to 2147483647 elements along the axis");
}

/// x / norm, and 0 where the norm (repeated to x's shape) is 0. The quotient is at most 1.
Var direction(const Var& x, const Var& norm) {
  const Tensor not_zero = kernels::is_positive(norm.value()).to(DType::int32);
  const auto constant = [&](double v) { return Var(Tensor::scalar(v, x.dtype())); };
  return where(not_zero, x / where(not_zero, norm, constant(1)), constant(0));
}

/// x as one axis.
Var flat(const char* op, const Var& x) {
  check::defined(op, {{"x", x}});
  check::real(op, "x", x.dtype());
  const std::size_t size = x.shape().numel();
  if (size == 0) check::wrong_shape(op, "x", x.shape(), "of at least one element");
  return reshape(x, {size});
}

}  // namespace

Var sum(const Var& x) {  // dx = dy everywhere
  check::defined("sum", {{"x", x}});
  check::real("sum", "x", x.dtype());
  Node n("sum", {x});
  Var y = n.out(kernels::sum(x.value()));
  n.rule([shape = x.shape()](Grads& g) { g.add(0, broadcast_to(g.d(), shape)); });
  return y;
}

Var sum(const Var& x, Axis axis) {
  check::defined("sum", {{"x", x}});
  check::real("sum", "x", x.dtype());
  axis = check::axis("sum", x.shape(), axis);
  Node n("sum", {x});
  n.note("axis", axis);
  Var y = n.out(kernels::sum(x.value(), axis));
  n.rule([axis, size = x.size(axis)](Grads& g) { g.add(0, repeat(g.d(), axis, size)); });
  return y;
}

Var mean(const Var& x) {
  check::defined("mean", {{"x", x}});
  check::real("mean", "x", x.dtype());
  if (x.shape().numel() == 0) check::wrong_shape("mean", "x", x.shape(), "of at least one element");
  return sum(x) / static_cast<double>(x.shape().numel());
}

Var mean(const Var& x, Axis axis) {
  check::defined("mean", {{"x", x}});
  check::real("mean", "x", x.dtype());
  axis = check::axis("mean", x.shape(), axis);
  if (x.size(axis) == 0)
    check::wrong_shape("mean", "x", x.shape(), "of at least one element along the axis");
  return sum(x, axis) / static_cast<double>(x.size(axis));
}

Tensor argmax(const Var& x, Axis axis) {
  check::defined("argmax", {{"x", x}});
  axis = check_choice("argmax", x, axis);
  return kernels::argmax(x.value(), axis);
}

Tensor argmin(const Var& x, Axis axis) {
  check::defined("argmin", {{"x", x}});
  axis = check_choice("argmin", x, axis);
  return kernels::argmin(x.value(), axis);
}

Var max(const Var& x, Axis axis) {
  check::defined("max", {{"x", x}});
  axis = check_choice("max", x, axis);
  return pick_one("max", x, axis, kernels::argmax(x.value(), axis));
}

Var min(const Var& x, Axis axis) {
  check::defined("min", {{"x", x}});
  axis = check_choice("min", x, axis);
  return pick_one("min", x, axis, kernels::argmin(x.value(), axis));
}

Var max(const Var& x) { return max(flat("max", x), 0); }
Var min(const Var& x) { return min(flat("min", x), 0); }

TopK topk(const Var& x, std::size_t k, Axis axis, bool largest) {
  check::defined("topk", {{"x", x}});
  const Axis typed = axis;
  axis = check_choice("topk", x, axis);
  check::count_in_axis("topk", "k", k, x.shape(), typed);
  const Tensor indices = kernels::topk(x.value(), k, axis, largest);
  return {pick("topk", x, axis, indices, indices.shape()), indices};
}

Var norm(const Var& x) {  // y = sqrt(sum(x^2));   dx = dy x / y, and 0 where y is 0
  check::defined("norm", {{"x", x}});
  check::real("norm", "x", x.dtype());
  Node n("norm", {x});
  Var y = n.out(Tensor::scalar(kernels::norm(x.value()), x.dtype()));
  n.rule([x, y](Grads& g) { g.add(0, g.d() * direction(x, broadcast_to(y, x.shape()))); });
  return y;
}

Var norm(const Var& x, Axis axis) {
  check::defined("norm", {{"x", x}});
  check::real("norm", "x", x.dtype());
  axis = check::axis("norm", x.shape(), axis);
  Node n("norm", {x});
  Var y = n.out(kernels::norm(x.value(), axis));
  n.rule([x, y, axis](Grads& g) {
    const auto repeated = [&](const Var& v) { return repeat(v, axis, x.size(axis)); };
    g.add(0, repeated(g.d()) * direction(x, repeated(y)));
  });
  return y;
}

Var cumsum(const Var& x, Axis axis, bool reverse) {  // dx = cumsum of dy from the other end
  check::defined("cumsum", {{"x", x}});
  check::real("cumsum", "x", x.dtype());
  axis = check::axis("cumsum", x.shape(), axis);
  Node n("cumsum", {x});
  n.note("axis", axis);
  n.note("reverse", reverse);
  Var y = n.out(kernels::cumsum(x.value(), axis, reverse));
  n.rule([axis, reverse](Grads& g) { g.add(0, cumsum(g.d(), axis, !reverse)); });
  return y;
}

Var sum_to(const Var& x, const Shape& shape) {
  check::defined("sum_to", {{"x", x}});
  check::real("sum_to", "x", x.dtype());
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
  check::defined("broadcast_to", {{"x", x}});
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

Var repeat(const Var& x, Axis axis, std::size_t size) {
  check::defined("repeat", {{"x", x}});
  axis = check::new_axis("repeat", x.shape(), axis);
  Node n("repeat", {x});
  n.note("axis", axis);
  Var y = n.out(kernels::repeat(x.value(), axis, size));
  n.rule([axis](Grads& g) { g.add(0, sum(g.d(), axis)); });
  return y;
}

}  // namespace tapegrad
