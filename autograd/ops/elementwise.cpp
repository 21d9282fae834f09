#include "elementwise.h"

#include "../../core/check-inl.h"
#include "../../core/kernels/elementwise.h"
#include "../node.h"
#include "../tape_state-inl.h"
#include "reduce.h"

namespace tapegrad {

Var sum_of(const Var& a, const Var& b) { return a + b; }

// A repeated operand receives the sum over its repetitions: sum_to.

Var operator+(const Var& a, const Var& b) {  // y = a + b;   da = dy, db = dy
  check::defined("add", {{"a", a}, {"b", b}});
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
  check::defined("sub", {{"a", a}, {"b", b}});
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
  check::defined("mul", {{"a", a}, {"b", b}});
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
  check::defined("div", {{"a", a}, {"b", b}});
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

namespace {

/// y = x factor, and 0 where factor is 0, whatever x is there: what is not taken gets gradient 0
/// and never 0 * inf.   dx = the same of dy
Var masked(const Var& x, const Var& factor) {
  Node n("masked", {x, factor});
  Var y = n.out(kernels::masked(x.value(), factor.value()));
  n.rule([factor](Grads& g) { g.add(0, masked(g.d(), factor)); });
  return y;
}

using Binary = Tensor (*)(const Tensor&, const Tensor&);

/// y = a or b, da = dy share(a, b), db = dy share(b, a)
Var choose(const char* op, const Var& a, const Var& b, Binary kernel, Binary share) {
  check::defined(op, {{"a", a}, {"b", b}});
  check::broadcastable(op, a.shape(), b.shape());
  Node n(op, {a, b});
  Var y = n.out(kernel(a.value(), b.value()));
  n.branch([&] { return share(a.value(), b.value()); });
  n.rule([a, b, share](Grads& g) {
    if (g.needs(0)) g.add(0, sum_to(masked(g.d(), share(a.value(), b.value())), a.shape()));
    if (g.needs(1)) g.add(1, sum_to(masked(g.d(), share(b.value(), a.value())), b.shape()));
  });
  return y;
}

/// y = sigmoid'(x);   dx = -dy y tanh(x / 2)
Var sigmoid_slope(const Var& x) {
  Node n("sigmoid_slope", {x});
  Var y = n.out(kernels::sigmoid_slope(x.value()));
  n.rule([x, y](Grads& g) { g.add(0, neg(g.d()) * y * tanh(scale(x, 0.5))); });
  return y;
}

/// y = tanh'(x);   dx = -2 dy y tanh(x)
Var tanh_slope(const Var& x) {
  Node n("tanh_slope", {x});
  Var y = n.out(kernels::tanh_slope(x.value()));
  n.rule([x, y](Grads& g) { g.add(0, scale(g.d(), -2) * y * tanh(x)); });
  return y;
}

Var constant(double value, const Var& like) { return Tensor::scalar(value, like.dtype()); }

/// x with 1 in place of what `condition` marks: log and powers of it are finite there.
Var safe(const Var& x, const Tensor& condition) {
  return where(condition.to(DType::int32), constant(1, x), x);
}

}  // namespace

Var operator/(const Var& x, double s) {
  check::defined("div", {{"a", x}});
  return x / constant(s, x);
}
Var operator/(double s, const Var& x) {
  check::defined("div", {{"b", x}});
  return constant(s, x) / x;
}

// y = a^b;   da = dy b a^(b-1), db = dy y log a. Both are 0 at some places where a factor is not
// finite: there a is replaced by 1, which leaves the second derivatives right everywhere else.
Var pow(const Var& a, const Var& b) {
  check::defined("pow", {{"a", a}, {"b", b}});
  check::broadcastable("pow", a.shape(), b.shape());
  Node n("pow", {a, b});
  Var y = n.out(kernels::pow(a.value(), b.value()));
  n.rule([a, b, y](Grads& g) {
    if (g.needs(0)) {
      // In float64: rounded to float32, b - 1 may be an integer where b is none.
      const Var base = safe(a, kernels::is_flat_in_base(a.value(), b.value()));
      const Var power = pow(cast(base, DType::float64), cast(b, DType::float64) - 1.0);
      g.add(0, sum_to(g.d() * b * cast(power, a.dtype()), a.shape()));
    }
    if (g.needs(1)) {
      const Var base = safe(a, kernels::is_flat_in_exponent(a.value(), b.value()));
      g.add(1, sum_to(g.d() * y * log(base), b.shape()));
    }
  });
  return y;
}

Var maximum(const Var& a, const Var& b) {
  check::defined("maximum", {{"a", a}, {"b", b}});
  return choose("maximum", a, b, kernels::maximum, kernels::maximum_share);
}

Var minimum(const Var& a, const Var& b) {
  check::defined("minimum", {{"a", a}, {"b", b}});
  return choose("minimum", a, b, kernels::minimum, kernels::minimum_share);
}

Var where(const Tensor& condition, const Var& a, const Var& b) {  // da = dy or 0, db = 0 or dy
  check::defined("where", {{"condition", condition}, {"a", a}, {"b", b}});
  check::condition("where", condition.dtype());
  check::broadcastable("where", a.shape(), b.shape());
  const Shape& chosen = a.shape().rank() > b.shape().rank() ? a.shape() : b.shape();
  const Shape& c = condition.shape();
  if (!c.is_suffix_of(chosen) && !chosen.is_suffix_of(c)) {
    check::mismatch("where", {"condition", "", c}, {"a or b", "", chosen},
                    "the shapes must be equal, or one the last axes of the other");
  }
  const Var taken = condition;
  Node n("where", {a, b, taken});
  Var y =
      n.out(kernels::where(condition, a.value(), b.value(), c.rank() > chosen.rank() ? c : chosen));
  n.rule([taken, sa = a.shape(), sb = b.shape()](Grads& g) {
    const Var dy = g.d(), zero = constant(0, dy);
    if (g.needs(0)) g.add(0, sum_to(where(taken.value(), dy, zero), sa));
    if (g.needs(1)) g.add(1, sum_to(where(taken.value(), zero, dy), sb));
  });
  return y;
}

Var cast(const Var& x, DType dtype) {  // dx = dy
  check::defined("cast", {{"x", x}});
  check::real("cast", "x", x.dtype());
  check::real("cast", "the result", dtype);
  if (x.dtype() == dtype) return x;
  Node n("cast", {x});
  Var y = n.out(x.value().to(dtype));
  n.rule([before = x.dtype()](Grads& g) { g.add(0, cast(g.d(), before)); });
  return y;
}

Var neg(const Var& x) {
  check::defined("neg", {{"x", x}});
  Node n("neg", {x});
  Var y = n.out(kernels::neg(x.value()));
  n.rule([](Grads& g) { g.add(0, neg(g.d())); });
  return y;
}

Var scale(const Var& x, double factor) {
  check::defined("scale", {{"x", x}});
  Node n("scale", {x});
  n.note("factor", factor);
  Var y = n.out(kernels::scale(x.value(), factor));
  n.rule([factor](Grads& g) { g.add(0, scale(g.d(), factor)); });
  return y;
}

Var add_scalar(const Var& x, double summand) {
  check::defined("add_scalar", {{"x", x}});
  Node n("add_scalar", {x});
  n.note("summand", summand);
  Var y = n.out(kernels::add_scalar(x.value(), summand));
  n.rule([](Grads& g) { g.add(0, g.d()); });
  return y;
}

Var exp(const Var& x) {  // dx = dy y
  check::defined("exp", {{"x", x}});
  Node n("exp", {x});
  Var y = n.out(kernels::exp(x.value()));
  n.rule([y](Grads& g) { g.add(0, g.d() * y); });
  return y;
}

Var log(const Var& x) {  // dx = dy / x
  check::defined("log", {{"x", x}});
  Node n("log", {x});
  Var y = n.out(kernels::log(x.value()));
  n.rule([x](Grads& g) { g.add(0, g.d() / x); });
  return y;
}

Var log1p(const Var& x) {  // dx = dy / (1 + x)
  check::defined("log1p", {{"x", x}});
  Node n("log1p", {x});
  Var y = n.out(kernels::log1p(x.value()));
  n.rule([x](Grads& g) { g.add(0, g.d() / (1.0 + x)); });
  return y;
}

Var expm1(const Var& x) {  // dx = dy e^x; y + 1 would have lost the digits of a small e^x
  check::defined("expm1", {{"x", x}});
  Node n("expm1", {x});
  Var y = n.out(kernels::expm1(x.value()));
  n.rule([x](Grads& g) { g.add(0, g.d() * exp(x)); });
  return y;
}

Var pow(const Var& x, double exponent) {  // y = x^p;   dx = dy p x^(p-1)
  check::defined("pow", {{"x", x}});
  Node n("pow", {x});
  n.note("exponent", exponent);
  Var y = n.out(kernels::pow(x.value(), exponent));
  n.rule([x, p = exponent](Grads& g) {
    if (p == 0) return g.add(0, Tensor::zeros(x.shape(), x.dtype()));  // not 0 * 0^-1
    g.add(0, g.d() * scale(pow(x, p - 1), p));
  });
  return y;
}

Var sqrt(const Var& x) {  // dx = dy / (2 y)
  check::defined("sqrt", {{"x", x}});
  Node n("sqrt", {x});
  Var y = n.out(kernels::sqrt(x.value()));
  n.rule([y](Grads& g) { g.add(0, 0.5 * g.d() / y); });
  return y;
}

Var square(const Var& x) {  // dx = 2 dy x
  check::defined("square", {{"x", x}});
  Node n("square", {x});
  Var y = n.out(kernels::square(x.value()));
  n.rule([x](Grads& g) { g.add(0, 2.0 * g.d() * x); });
  return y;
}

Var abs(const Var& x) {  // dx = dy sign(x)
  check::defined("abs", {{"x", x}});
  Node n("abs", {x});
  Var y = n.out(kernels::abs(x.value()));
  n.branch([&] { return kernels::sign(x.value()); });
  n.rule([x](Grads& g) { g.add(0, masked(g.d(), kernels::sign(x.value()))); });
  return y;
}

Var clamp(const Var& x, double low, double high) {  // dx = dy [low <= x <= high]
  check::defined("clamp", {{"x", x}});
  check::range("clamp", low, high);
  Node n("clamp", {x});
  n.note("low", low);
  n.note("high", high);
  Var y = n.out(kernels::clamp(x.value(), low, high));
  n.branch([&] { return kernels::beyond(x.value(), low, high); });
  n.rule([x, low, high](Grads& g) {
    const Tensor cut = kernels::beyond(x.value(), low, high).to(DType::int32);
    g.add(0, where(cut, constant(0, x), g.d()));
  });
  return y;
}

Var masked(const Var& x, const Tensor& factor) {  // dx = dy factor, selected like y
  check::defined("masked", {{"x", x}, {"factor", factor}});
  check::equal_shapes("masked", "x", x.shape(), "factor", factor.shape());
  const Var mask = factor;
  Node n("masked", {x, mask});
  Var y = n.out(kernels::masked(x.value(), factor));
  n.rule([mask](Grads& g) { g.add(0, masked(g.d(), mask.value())); });
  return y;
}

Var clip_gradient(const Var& x, double limit) {  // dx = min(max(dy, -limit), limit)
  check::defined("clip_gradient", {{"x", x}});
  check::positive("clip_gradient", "limit", limit);
  Node n("clip_gradient", {x});
  n.note("limit", limit);
  Var y = n.out(x.value());
  n.rule([limit](Grads& g) { g.add(0, clamp(g.d(), -limit, limit)); });
  return y;
}

Var softplus(const Var& x) {  // dx = dy sigmoid(x)
  check::defined("softplus", {{"x", x}});
  Node n("softplus", {x});
  Var y = n.out(kernels::softplus(x.value()));
  n.rule([x](Grads& g) { g.add(0, g.d() * sigmoid(x)); });
  return y;
}

Var sigmoid(const Var& x) {  // dx = dy sigmoid'(x), from x: in the tails y has lost it
  check::defined("sigmoid", {{"x", x}});
  Node n("sigmoid", {x});
  Var y = n.out(kernels::sigmoid(x.value()));
  n.rule([x](Grads& g) {
    if (g.graph()) return g.add(0, g.d() * sigmoid_slope(x));
    g.add(0, kernels::sigmoid_backward(x.value(), g.d().value()));
  });
  return y;
}

Var tanh(const Var& x) {  // dx = dy tanh'(x), from x
  check::defined("tanh", {{"x", x}});
  Node n("tanh", {x});
  Var y = n.out(kernels::tanh(x.value()));
  n.rule([x](Grads& g) {
    if (g.graph()) return g.add(0, g.d() * tanh_slope(x));
    g.add(0, kernels::tanh_backward(x.value(), g.d().value()));
  });
  return y;
}

Var relu(const Var& x) {  // dx = dy [x > 0]
  check::defined("relu", {{"x", x}});
  Node n("relu", {x});
  Var y = n.out(kernels::relu(x.value()));
  n.branch([&] { return kernels::is_positive(x.value()); });
  n.rule([y](Grads& g) {
    if (g.graph()) return g.add(0, masked(g.d(), kernels::is_positive(y.value())));
    g.add(0, kernels::relu_backward(y.value(), g.d().value()));
  });
  return y;
}

}  // namespace tapegrad
