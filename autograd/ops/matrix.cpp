#include "matrix-inl.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "../../core/check-inl.h"
#include "../../core/kernels/reduce.h"
#include "../node.h"
#include "../tape_errors-inl.h"
#include "reduce.h"
#include "shape.h"

namespace tapegrad {
namespace {

constexpr Transpose flipped(Transpose t) {
  return t == Transpose::no ? Transpose::yes : Transpose::no;
}

/// Adds op(a) op(b) to the gradient of input i, without a temporary where the gradient is not
/// recorded.
void add_product(Grads& g, std::size_t i, const Var& a, const Var& b, Transpose ta, Transpose tb,
                 kernels::Large large = kernels::Large::openblas) {
  if (!g.needs(i)) return;
  if (g.graph()) return g.add(i, matmul(a, b, ta, tb));
  auto [tensor, beta] = g.into(i);
  kernels::gemm(ta, tb, 1.0, a.value(), b.value(), beta, tensor, large);
}

/// Names of a matrix's axes, (..., first, second) if it is one of a stack, exchanged if it is read
/// transposed.
std::string_view letters(const Shape& shape, Transpose t, std::array<std::string_view, 4> names) {
  return names[(shape.rank() > 2 ? 2U : 0U) + (t == Transpose::yes ? 1U : 0U)];
}

void check_factors(const Shape& a, const Shape& b, Transpose ta, Transpose tb) {
  if (a.rank() < 2) check::wrong_shape("matmul", "a", a, "of rank 2 or more, (..., M, K)");
  if (b.rank() < 2) check::wrong_shape("matmul", "b", b, "of rank 2 or more, (..., K, N)");
  const check::Named left{"a", letters(a, ta, {"(M, K)", "(K, M)", "(..., M, K)", "(..., K, M)"}),
                          a};
  const check::Named right{"b", letters(b, tb, {"(K, N)", "(N, K)", "(..., K, N)", "(..., N, K)"}),
                           b};
  if (a[a.rank() - (ta == Transpose::no ? 1 : 2)] != b[b.rank() - (tb == Transpose::no ? 2 : 1)]) {
    check::mismatch("matmul", left, right, "K must match");
  }
  if (b.rank() != 2 &&
      !std::ranges::equal(a.dims().first(a.rank() - 2), b.dims().first(b.rank() - 2))) {
    check::mismatch("matmul", left, right, "the leading axes must be equal, or b a matrix");
  }
}

/// (..., M, K) (K, N): the leading axes and M are one axis of rows.
Var matmul_rows(const Var& a, const Var& b, Transpose ta, Transpose tb) {
  const std::size_t last = a.shape().rank() - 1;
  if (ta == Transpose::yes) return matmul_rows(transpose(a, last - 1, last), b, Transpose::no, tb);
  const Shape flat{a.shape().without(last).numel(), a.size(last)};
  const Shape result = a.shape().with(last, b.size(tb == Transpose::no ? 1 : 0));
  return reshape(matmul(reshape(a, flat), b, Transpose::no, tb), result);
}

}  // namespace

Var matmul(const Var& a, const Var& b, Transpose ta, Transpose tb) {
  check::defined("matmul", {{"a", a}, {"b", b}});
  check_factors(a.shape(), b.shape(), ta, tb);
  check::real("matmul", "a", a.dtype());
  check::real("matmul", "b", b.dtype());
  if (a.shape().rank() > 2 && b.shape().rank() == 2) return matmul_rows(a, b, ta, tb);
  Node n("matmul", {a, b});
  n.note("transpose_a", ta == Transpose::yes);
  n.note("transpose_b", tb == Transpose::yes);
  Var y = n.out(kernels::matmul(a.value(), b.value(), ta, tb));
  n.rule([a, b, ta, tb](Grads& g) {  // da = dy b^T, db = a^T dy, each transposed if its operand was
    if (ta == Transpose::no) add_product(g, 0, g.d(), b, Transpose::no, flipped(tb));
    if (ta == Transpose::yes) add_product(g, 0, b, g.d(), tb, Transpose::yes);
    if (tb == Transpose::no) add_product(g, 1, a, g.d(), flipped(ta), Transpose::no);
    if (tb == Transpose::yes) add_product(g, 1, g.d(), a, Transpose::yes, ta);
  });
  return y;
}

Var outer(const Var& a, const Var& b) {
  check::defined("outer", {{"a", a}, {"b", b}});
  check::real("outer", "a", a.dtype());
  check::real("outer", "b", b.dtype());
  if (a.dtype() != b.dtype()) tape_errors::mixed_dtypes("outer", "a", a.dtype(), "b", b.dtype());
  if (a.shape().rank() != 1) check::wrong_shape("outer", "a", a.shape(), "of rank 1, (I)");
  if (b.shape().rank() != 1) check::wrong_shape("outer", "b", b.shape(), "of rank 1, (J)");
  return matmul(reshape(a, {a.size(0), 1}), reshape(b, {1, b.size(0)}));
}

void check::linear(std::string_view op, const Var& x, const Var& weight, const Var& bias) {
  check::real(op, "x", x.dtype());
  check::real(op, "weight", weight.dtype());
  if (bias.defined()) check::real(op, "bias", bias.dtype());
  const Shape& in = x.shape();
  if (in.rank() < 2) check::wrong_shape(op, "x", in, "of rank 2 or more, (..., I)");
  if (weight.shape().rank() != 2) {
    check::wrong_shape(op, "weight", weight.shape(), "of rank 2, (O, I)");
  }
  if (in[in.rank() - 1] != weight.size(1)) {
    check::mismatch(op, {"weight", "(O, I)", weight.shape()}, {"x", "(..., I)", in},
                    "I must match");
  }
  if (bias.defined() && bias.shape() != Shape{weight.size(0)}) {
    check::mismatch(op, {"weight", "(O, I)", weight.shape()}, {"bias", "(O)", bias.shape()},
                    "O must match");
  }
}

// dx = dy W, dW = dy^T x, db = sum of dy
void add_linear_gradients(Grads& g, const Var& dy, const Var& x, const Var& weight) {
  const std::size_t rows = x.shape().without(x.shape().rank() - 1).numel();
  const Shape flat_in{rows, weight.size(1)};
  const Var d = reshape(dy, {rows, weight.size(0)});
  if (g.graph()) {
    if (g.needs(0)) g.add(0, reshape(matmul(d, weight), x.shape()));
    if (g.needs(1)) g.add(1, matmul(d, reshape(x, flat_in), Transpose::yes));
  } else {
    if (g.needs(0)) {
      auto [dx, beta] = g.into(0);
      Tensor flat_dx = dx.reshape(flat_in);
      kernels::gemm(Transpose::no, Transpose::no, 1.0, d.value(), weight.value(), beta, flat_dx);
    }
    add_product(g, 1, d, x.value().reshape(flat_in), Transpose::yes, Transpose::no,
                kernels::Large::ours);
  }
  if (g.needs(2)) g.add(2, sum(d, 0));
}

Var linear(const Var& x, const Var& weight, const Var& bias) {
  check::defined("linear", {{"x", x}, {"weight", weight}});
  check::linear("linear", x, weight, bias);
  const Shape& in = x.shape();
  const std::size_t last = in.rank() - 1, outputs = weight.size(0);
  const Shape flat_out{in.without(last).numel(), outputs};
  Node n("linear", {x, weight, bias});
  Tensor flat = bias.defined() ? kernels::broadcast(bias.value(), flat_out)
                               : Tensor::empty(flat_out, x.dtype());
  kernels::gemm(Transpose::no, Transpose::yes, 1.0,
                x.value().reshape({flat_out[0], weight.size(1)}), weight.value(),
                bias.defined() ? 1.0 : 0.0, flat);
  Var y = n.out(flat.reshape(in.with(last, outputs)));
  n.rule([x, weight](Grads& g) { add_linear_gradients(g, g.d(), x, weight); });
  return y;
}

}  // namespace tapegrad
