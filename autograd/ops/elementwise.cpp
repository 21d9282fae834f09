#include "elementwise.h"

#include "../../core/kernels/elementwise.h"
#include "../node.h"
#include "check.h"
#include "reduce.h"

namespace tapegrad {

// A repeated operand receives the sum over its repetitions: sum_to.

Var operator+(const Var& a, const Var& b) {  // y = a + b;   da = dy, db = dy
  check::broadcastable("add", a.shape(), b.shape());
  Node n("add", {a, b});
  Var y = n.out(kernels::add(a.value(), b.value()));
  n.rule([sa = a.shape(), sb = b.shape()](Grads& g) {
    if (g.needs(0)) g.add(0, sum_to(g.d(), sa));
    if (g.needs(1)) g.add(1, sum_to(g.d(), sb));
  });
  return y;
}

Var operator-(const Var& a, const Var& b) {  // y = a - b;   da = dy, db = -dy
  check::broadcastable("sub", a.shape(), b.shape());
  Node n("sub", {a, b});
  Var y = n.out(kernels::sub(a.value(), b.value()));
  n.rule([sa = a.shape(), sb = b.shape()](Grads& g) {
    if (g.needs(0)) g.add(0, sum_to(g.d(), sa));
    if (g.needs(1)) g.add(1, neg(sum_to(g.d(), sb)));
  });
  return y;
}

Var operator*(const Var& a, const Var& b) {  // y = a b;   da = dy b, db = dy a
  check::broadcastable("mul", a.shape(), b.shape());
  Node n("mul", {a, b});
  Var y = n.out(kernels::mul(a.value(), b.value()));
  n.rule([a, b](Grads& g) {
    if (g.needs(0)) g.add(0, sum_to(g.d() * b, a.shape()));
    if (g.needs(1)) g.add(1, sum_to(g.d() * a, b.shape()));
  });
  return y;
}

Var operator/(const Var& a, const Var& b) {  // y = a / b;   da = dy / b, db = -dy y / b
  check::broadcastable("div", a.shape(), b.shape());
  Node n("div", {a, b});
  Var y = n.out(kernels::div(a.value(), b.value()));
  n.rule([y, b, sa = a.shape()](Grads& g) {
    const Var da = g.d() / b;
    if (g.needs(0)) g.add(0, sum_to(da, sa));
    if (g.needs(1)) g.add(1, neg(sum_to(da * y, b.shape())));
  });
  return y;
}

Var neg(const Var& x) {
  Node n("neg", {x});
  Var y = n.out(kernels::neg(x.value()));
  n.rule([](Grads& g) { g.add(0, neg(g.d())); });
  return y;
}

Var scale(const Var& x, double factor) {
  Node n("scale", {x});
  Var y = n.out(kernels::scale(x.value(), factor));
  n.rule([factor](Grads& g) { g.add(0, scale(g.d(), factor)); });
  return y;
}

Var add_scalar(const Var& x, double summand) {
  Node n("add_scalar", {x});
  Var y = n.out(kernels::add_scalar(x.value(), summand));
  n.rule([](Grads& g) { g.add(0, g.d()); });
  return y;
}

Var exp(const Var& x) {  // dx = dy y
  Node n("exp", {x});
  Var y = n.out(kernels::exp(x.value()));
  n.rule([y](Grads& g) { g.add(0, g.d() * y); });
  return y;
}

Var log(const Var& x) {  // dx = dy / x
  Node n("log", {x});
  Var y = n.out(kernels::log(x.value()));
  n.rule([x](Grads& g) { g.add(0, g.d() / x); });
  return y;
}

Var sqrt(const Var& x) {  // dx = dy / (2 y)
  Node n("sqrt", {x});
  Var y = n.out(kernels::sqrt(x.value()));
  n.rule([y](Grads& g) { g.add(0, 0.5 * g.d() / y); });
  return y;
}

Var square(const Var& x) {  // dx = 2 dy x
  Node n("square", {x});
  Var y = n.out(kernels::square(x.value()));
  n.rule([x](Grads& g) { g.add(0, 2.0 * g.d() * x); });
  return y;
}

Var sigmoid(const Var& x) {  // dx = dy y (1 - y)
  Node n("sigmoid", {x});
  Var y = n.out(kernels::sigmoid(x.value()));
  n.rule([y](Grads& g) {
    if (g.graph()) return g.add(0, g.d() * y * (1.0 - y));
    g.add(0, kernels::sigmoid_backward(y.value(), g.d().value()));
  });
  return y;
}

Var tanh(const Var& x) {  // dx = dy (1 - y^2)
  Node n("tanh", {x});
  Var y = n.out(kernels::tanh(x.value()));
  n.rule([y](Grads& g) {
    if (g.graph()) return g.add(0, g.d() * (1.0 - square(y)));
    g.add(0, kernels::tanh_backward(y.value(), g.d().value()));
  });
  return y;
}

Var relu(const Var& x) {  // dx = dy [x > 0]
  Node n("relu", {x});
  Var y = n.out(kernels::relu(x.value()));
  n.rule([y](Grads& g) {
    if (g.graph()) return g.add(0, g.d() * kernels::is_positive(y.value()));
    g.add(0, kernels::relu_backward(y.value(), g.d().value()));
  });
  return y;
}

}  // namespace tapegrad
