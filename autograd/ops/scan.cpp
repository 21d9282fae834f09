#include "scan.h"

#include <array>
#include <cstdint>

#include "../../core/dispatch-inl.h"
#include "../../core/recurrent/scan.h"
#include "../node.h"
#include "elementwise.h"
#include "packing-inl.h"
#include "recurrent-inl.h"
#include "shape.h"

namespace tapegrad {
namespace {

/// Inputs and outputs of the node, in this order.
namespace in {
enum Index : std::size_t { a, b, h0, lengths };
}
namespace out {
enum Index : std::size_t { y, h_last };
}

void check_scan(const Var& a, const Var& b, const Var& h, const Steps& steps) {
  check::defined("scan", {{"a", a}, {"b", b}, {"h", h}});
  const Shape& shape = a.shape();
  if (shape.rank() != 3 || shape.numel() == 0) {
    check::wrong_shape("scan", "a", shape, "(T, B, H) with T, B, H >= 1");
  }
  const check::Named coefficient{"a", "(T, B, H)", shape};
  if (b.shape() != shape) {
    check::mismatch("scan", coefficient, {"b", "(T, B, H)", b.shape()}, "they must be equal");
  }
  if (h.shape() != shape.without(0)) {
    check::mismatch("scan", coefficient, {"h", "(B, H)", h.shape()}, "B and H must match");
  }
  check::real("scan", "a", a.dtype());
  check::real("scan", "b", b.dtype());
  check::real("scan", "h", h.dtype());
  recurrent::check_lengths("scan", steps, shape);
}

kernels::scan::Shape shape_of(const Shape& a, const Var& lengths, bool reverse) {
  return {.steps = a[0],
          .batch = a[1],
          .hidden = a[2],
          .lengths = recurrent::data_or_null<std::int32_t>(lengths),
          .reverse = reverse};
}

}  // namespace

Unrolled<Var> scan(const Var& a, const Var& b, const Var& h, const Steps& steps) {
  check_scan(a, b, h, steps);
  const Var lengths = steps.lengths.defined() ? Var(steps.lengths) : Var();
  Node n("scan", {a, b, h, lengths});
  Tensor y = Tensor::empty(a.shape(), a.dtype()), h_last = Tensor::empty(h.shape(), a.dtype());
  dispatch_float(a.dtype(), [&]<class T>(T) {
    kernels::scan::forward<T>({.shape = shape_of(a.shape(), lengths, steps.reverse),
                               .a = a.value().data<T>(),
                               .b = b.value().data<T>(),
                               .h0 = h.value().data<T>(),
                               .y = y.mutable_data<T>(),
                               .h_last = h_last.mutable_data<T>()});
  });
  const Var all = n.out(std::move(y)), last = n.out(std::move(h_last));
  n.rule([a, b, h, lengths, all, reverse = steps.reverse](Grads& g) {
    if (g.graph()) {
      return g.through(
          [reverse](const Vars& v) {
            const Tensor ends = v[in::lengths].defined() ? v[in::lengths].value() : Tensor();
            const Unrolled<Var> r = scan_composed(v[in::a], v[in::b], v[in::h0], {ends, reverse});
            return Vars{r.y, r.last};
          },
          {a, b, h, lengths});
    }
    const auto from = [&](out::Index k) { return g.has(k) ? g.d(k).value() : Tensor(); };
    const Tensor dy = from(out::y), dh_last = from(out::h_last);
    std::array<Tensor, 3> d;
    for (const in::Index i : {in::a, in::b, in::h0}) {
      if (g.needs(i)) d[i] = Tensor::empty((i == in::h0 ? h : a).shape(), a.dtype());
    }
    dispatch_float(a.dtype(), [&]<class T>(T) {
      kernels::scan::backward<T>({.shape = shape_of(a.shape(), lengths, reverse),
                                  .a = a.value().data<T>(),
                                  .h0 = h.value().data<T>(),
                                  .y = all.value().data<T>(),
                                  .dy = recurrent::data_or_null<T>(dy),
                                  .dh_last = recurrent::data_or_null<T>(dh_last),
                                  .da = recurrent::memory<T>(d[in::a]),
                                  .db = recurrent::memory<T>(d[in::b]),
                                  .dh0 = recurrent::memory<T>(d[in::h0])});
    });
    for (std::size_t i = 0; i < d.size(); ++i) {
      if (d[i].defined()) g.add(i, d[i]);
    }
  });
  return {all, last};
}

Unrolled<Var> scan_composed(const Var& a, const Var& b, const Var& h, const Steps& steps) {
  check_scan(a, b, h, steps);
  const Unrolled<Vars> r = recurrent::unroll(
      concat({a, b}, 2), {h}, steps, [](const Var& ab, const Vars& state, const recurrent::At&) {
        const auto [a_t, b_t] = split<2>(ab, 1);
        return Vars{a_t * state[0] + b_t};
      });
  return {r.y, r.last[0]};
}

}  // namespace tapegrad
