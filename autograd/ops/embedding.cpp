#include "embedding.h"

#include "../../core/check-inl.h"
#include "../../core/data/sequences.h"
#include "../../core/kernels/indexing.h"
#include "../node.h"
#include "elementwise.h"
#include "packing-inl.h"

namespace tapegrad {

Var embedding(const Var& table, const Tensor& ids) {
  check::defined("embedding", {{"table", table}, {"ids", ids}});
  if (table.shape().rank() != 2) {
    check::wrong_shape("embedding", "table", table.shape(), "of rank 2, (V, E)");
  }
  check::ids("embedding", ids, table.size(0));
  const Var places = ids;
  Node n("embedding", {table, places});
  Var y = n.out(kernels::take_rows(table.value(), ids));
  n.rule([places, rows = table.size(0)](Grads& g) {
    if (g.graph()) return g.add(0, scatter_rows(g.d(), places.value(), rows));
    auto [dtable, beta] = g.into(0);
    if (beta == 0) dtable.fill(0);
    kernels::add_rows(dtable, places.value(), g.d().value());
  });
  return y;
}

Var embedding(const Var& table, const Tensor& ids, const Tensor& lengths) {
  if (!lengths.defined()) return embedding(table, ids);
  check::defined("embedding", {{"table", table}, {"ids", ids}});
  if (ids.rank() != 2)
    check::wrong_shape("embedding", "ids", ids.shape(), "(T, B), where there are lengths");
  const Var rows = embedding(table, recurrent::valid_ids("embedding", ids, {.lengths = lengths}));
  return masked(rows, valid_steps(lengths, rows.shape()).to(rows.dtype()));
}

Var scatter_rows(const Var& rows, const Tensor& ids, std::size_t table_rows) {
  check::defined("scatter_rows", {{"rows", rows}, {"ids", ids}});
  check::ids("scatter_rows", ids, table_rows);
  const Shape& shape = rows.shape();
  if (shape.rank() == 0 || shape.without(shape.rank() - 1) != ids.shape()) {
    check::mismatch("scatter_rows", {"rows", "(..., E)", shape}, {"ids", "(...)", ids.shape()},
                    "the leading axes must match");
  }
  const Var places = ids;
  Node n("scatter_rows", {rows, places});
  Tensor table = Tensor::zeros({table_rows, shape[shape.rank() - 1]}, rows.dtype());
  kernels::add_rows(table, ids, rows.value());
  Var y = n.out(std::move(table));
  n.rule([places](Grads& g) { g.add(0, embedding(g.d(), places.value())); });
  return y;
}

}  // namespace tapegrad
