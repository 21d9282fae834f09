#include "gather.h"

#include "../../core/check-inl.h"
#include "../../core/kernels/indexing.h"
#include "../node.h"
#include "embedding.h"
#include "shape.h"

namespace tapegrad {

Var gather(const Var& x, Axis axis, const Tensor& index) {
  check::defined("gather", {{"x", x}, {"index", index}});
  axis = check::axis("gather", x.shape(), axis);
  if (index.rank() != x.shape().rank() || index.shape().with(axis, 0) != x.shape().with(axis, 0)) {
    check::mismatch("gather", {"x", "", x.shape()}, {"index", "", index.shape()},
                    "all axes but the one of the indices must be equal");
  }
  check::ids("gather", index, x.size(axis));
  const Var places = index;
  Node n("gather", {x, places});
  n.note("axis", axis);
  Var y = n.out(kernels::gather(x.value(), axis, index));
  n.rule([axis, places, size = x.size(axis)](Grads& g) {
    if (g.graph()) return g.add(0, scatter_add(g.d(), axis, places.value(), size));
    auto [dx, beta] = g.into(0);
    if (beta == 0) dx.fill(0);
    kernels::scatter_add(dx, axis, places.value(), g.d().value());
  });
  return y;
}

Var index_select(const Var& x, Axis axis, const Tensor& ids) {
  check::defined("index_select", {{"x", x}, {"ids", ids}});
  axis = check::axis("index_select", x.shape(), axis);
  if (ids.rank() != 1) check::wrong_shape("index_select", "ids", ids.shape(), "of rank 1, (N)");
  check::ids("index_select", ids, x.size(axis));
  if (axis != 0) return transpose(index_select(transpose(x, 0, axis), 0, ids), 0, axis);
  const Shape rest = x.shape().without(0);
  const Var rows = embedding(reshape(x, {x.size(0), rest.numel()}), ids);
  return reshape(rows, rest.inserted(0, ids.numel()));
}

Var scatter_add(const Var& x, Axis axis, const Tensor& index, std::size_t size) {
  check::defined("scatter_add", {{"x", x}, {"index", index}});
  axis = check::axis("scatter_add", x.shape(), axis);
  check::equal_shapes("scatter_add", "x", x.shape(), "index", index.shape());
  check::real("scatter_add", "x", x.dtype());
  check::ids("scatter_add", index, size);
  const Var places = index;
  Node n("scatter_add", {x, places});
  n.note("axis", axis);
  Tensor whole = Tensor::zeros(x.shape().with(axis, size), x.dtype());
  kernels::scatter_add(whole, axis, index, x.value());
  Var y = n.out(std::move(whole));
  n.rule([axis, places](Grads& g) { g.add(0, gather(g.d(), axis, places.value())); });
  return y;
}

}  // namespace tapegrad
