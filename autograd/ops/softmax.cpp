#include "softmax.h"

#include "../../core/check-inl.h"
#include "../../core/kernels/softmax.h"
#include "../node.h"
#include "elementwise.h"
#include "reduce.h"

namespace tapegrad {
namespace {

void check_rows(const char* op, const Var& x) {
  if (x.shape().rank() == 0) check::wrong_shape(op, "x", x.shape(), "of rank 1 or more");
  check::real(op, "x", x.dtype());
}

/// The row's value for each of its elements: y (...) -> (..., V).
Var along_rows(const Var& y, const Shape& shape) {
  const std::size_t last = shape.rank() - 1;
  return repeat(y, last, shape[last]);
}
Var row_sums(const Var& x) { return sum(x, x.shape().rank() - 1); }

// The two halves of the slope of softmax, each other's transpose. Written as sums of ops they would
// lose what is left of 1 - p in the tails.

Var minus_share(const Var& x, const Var& p);

/// y = x - sum(p x);   dx = dy - p sum(dy), dp = -x sum(dy)
Var minus_mean(const Var& x, const Var& p) {
  Node n("minus_mean", {x, p});
  Var y = n.out(kernels::minus_mean(x.value(), p.value()));
  n.rule([x, p](Grads& g) {
    if (g.needs(0)) g.add(0, minus_share(g.d(), p));
    if (g.needs(1)) g.add(1, neg(x) * along_rows(row_sums(g.d()), x.shape()));
  });
  return y;
}

/// y = x - p sum(x);   dx = dy - sum(p dy), dp = -dy sum(x)
Var minus_share(const Var& x, const Var& p) {
  Node n("minus_share", {x, p});
  Var y = n.out(kernels::minus_share(x.value(), p.value()));
  n.rule([x, p](Grads& g) {
    if (g.needs(0)) g.add(0, minus_mean(g.d(), p));
    if (g.needs(1)) g.add(1, neg(g.d()) * along_rows(row_sums(x), x.shape()));
  });
  return y;
}

}  // namespace

Var softmax(const Var& x) {  // dx = y (dy - sum(dy y))
  check::defined("softmax", {{"x", x}});
  check_rows("softmax", x);
  Node n("softmax", {x});
  Var y = n.out(kernels::softmax(x.value()));
  n.rule([y](Grads& g) {
    if (!g.graph()) return g.add(0, kernels::softmax_backward(y.value(), g.d().value()));
    g.add(0, y * minus_mean(g.d(), y));
  });
  return y;
}

Var log_softmax(const Var& x) {  // dx = dy - softmax(x) sum(dy)
  check::defined("log_softmax", {{"x", x}});
  check_rows("log_softmax", x);
  Node n("log_softmax", {x});
  Var y = n.out(kernels::log_softmax(x.value()));
  // Not exp(y): the rounding of y would be that of p, times |y|.
  n.rule([x](Grads& g) { g.add(0, minus_share(g.d(), softmax(x))); });
  return y;
}

Var logsumexp(const Var& x) {  // dx = dy softmax(x)
  check::defined("logsumexp", {{"x", x}});
  check_rows("logsumexp", x);
  Node n("logsumexp", {x});
  Var y = n.out(kernels::logsumexp(x.value()));
  n.rule([x](Grads& g) { g.add(0, softmax(x) * along_rows(g.d(), x.shape())); });
  return y;
}

}  // namespace tapegrad
