#include "lstm.h"

#include "../../core/dispatch-inl.h"
#include "../../core/kernels/lstm.h"
#include "../node.h"
#include "check.h"
#include "shape.h"

namespace tapegrad {
namespace {

void check_sizes(const Var& x, const LSTMState& state, const LSTMWeights& w) {
  if (x.shape().rank() != 3) {
    check::wrong_shape("lstm", "x", x.shape(),
                       "a sequence, (T, B, I); one step (B, I) is for LSTMCell");
  }
  if (x.size(0) == 0) check::wrong_shape("lstm", "x", x.shape(), "(T, B, I) with T >= 1");
  if (x.size(1) == 0) check::wrong_shape("lstm", "x", x.shape(), "(T, B, I) with B >= 1");
  const check::Named weight_ih{"weight_ih", "(4H, I)", w.ih.shape()};
  if (w.ih.shape().rank() != 2 || w.ih.size(0) == 0 || w.ih.size(0) % 4 != 0) {
    check::wrong_shape("lstm", "weight_ih", w.ih.shape(), "(4H, I) with H >= 1");
  }
  if (w.ih.size(1) != x.size(2)) {
    check::mismatch("lstm", weight_ih, {"x", "(T, B, I)", x.shape()}, "I must match");
  }
  const std::size_t hidden = w.ih.size(0) / 4;
  if (w.hh.shape() != Shape{4 * hidden, hidden}) {
    check::mismatch("lstm", weight_ih, {"weight_hh", "(4H, H)", w.hh.shape()}, "H must match");
  }
  const Shape gates{4 * hidden};
  if (w.bias_ih.defined() && w.bias_ih.shape() != gates) {
    check::mismatch("lstm", weight_ih, {"bias_ih", "(4H)", w.bias_ih.shape()}, "H must match");
  }
  if (w.bias_hh.defined() && w.bias_hh.shape() != gates) {
    check::mismatch("lstm", weight_ih, {"bias_hh", "(4H)", w.bias_hh.shape()}, "H must match");
  }
  const Shape states{x.size(1), hidden};
  check::lstm_state("lstm", states, "h", state.h.shape());
  check::lstm_state("lstm", states, "c", state.c.shape());
}

kernels::LstmShape shape_of(const Var& x, std::size_t hidden) {
  return {.steps = x.size(0), .batch = x.size(1), .input = x.size(2), .hidden = hidden};
}

/// Inputs of the node, in this order; an absent bias is an empty constant.
enum Input : std::size_t { X, H0, C0, WEIGHT_IH, WEIGHT_HH, BIAS_IH, BIAS_HH, INPUTS };
enum Output : std::size_t { Y, H_LAST, C_LAST };
using Inputs = std::array<Var, INPUTS>;

template <class T>
const T* data_or_null(const Var& v) {
  return v.shape().numel() == 0 ? nullptr : v.value().data<T>();
}

template <class T>
kernels::LstmWeights<T> weights_of(const Inputs& in) {
  return {.weight_ih = in[WEIGHT_IH].value().data<T>(),
          .weight_hh = in[WEIGHT_HH].value().data<T>(),
          .bias_ih = data_or_null<T>(in[BIAS_IH]),
          .bias_hh = data_or_null<T>(in[BIAS_HH])};
}

/// What the kernel computes in one call: gradients that are not accumulated anywhere yet.
struct Gradients {
  Tensor x, h0, c0, weight_ih, weight_hh, bias;
};

template <class T>
Gradients backward(const Inputs& in, const Var& y, const Var& reserve, Grads& g) {
  const bool overwrite = !g.retained();
  Tensor kept = reserve.value();
  const auto wanted = [&](Input i) {
    return g.needs(i) ? Tensor::empty(in[i].shape(), in[i].dtype()) : Tensor();
  };
  const bool bias = g.needs(BIAS_IH) || g.needs(BIAS_HH);
  const Shape gates{in[WEIGHT_IH].size(0)};
  Gradients d{wanted(X),         wanted(H0),
              wanted(C0),        wanted(WEIGHT_IH),
              wanted(WEIGHT_HH), bias ? Tensor::empty(gates, dtype_of<T>) : Tensor()};
  const auto into = [](Tensor& t) { return t.defined() ? t.mutable_data<T>() : nullptr; };
  const auto from = [&](Output k) { return g.has(k) ? g.d(k).value() : Tensor(); };
  const auto read = [](const Tensor& t) { return t.defined() ? t.data<T>() : nullptr; };
  const Tensor dy = from(Y), dh = from(H_LAST), dc = from(C_LAST);
  kernels::lstm_backward<T>({.shape = shape_of(in[X], in[WEIGHT_HH].size(1)),
                             .weights = weights_of<T>(in),
                             .options = {},
                             .x = in[X].value().data<T>(),
                             .h0 = in[H0].value().data<T>(),
                             .c0 = in[C0].value().data<T>(),
                             .y = y.value().data<T>(),
                             // Written only if `overwrite`, and then nobody reads it again.
                             .reserve = const_cast<T*>(kept.data<T>()),
                             .may_overwrite_reserve = overwrite,
                             .dy = read(dy),
                             .dh_last = read(dh),
                             .dc_last = read(dc),
                             .dx = into(d.x),
                             .dh0 = into(d.h0),
                             .dc0 = into(d.c0),
                             .dweight_ih = into(d.weight_ih),
                             .dweight_hh = into(d.weight_hh),
                             .dbias = into(d.bias)});
  return d;
}

}  // namespace

LSTMResult lstm(const Var& x, const LSTMState& state, const LSTMWeights& weights) {
  check_sizes(x, state, weights);
  check::real("lstm", "x", x.dtype());
  const Var none = Tensor::zeros({0}, x.dtype());
  const Inputs in{x,
                  state.h,
                  state.c,
                  weights.ih,
                  weights.hh,
                  weights.bias_ih.defined() ? weights.bias_ih : none,
                  weights.bias_hh.defined() ? weights.bias_hh : none};
  Node n("lstm", {in[X], in[H0], in[C0], in[WEIGHT_IH], in[WEIGHT_HH], in[BIAS_IH], in[BIAS_HH]});
  const kernels::LstmShape shape = shape_of(x, weights.hh.size(1));
  Tensor y = Tensor::empty({shape.steps, shape.batch, shape.hidden}, x.dtype());
  Tensor h_last = Tensor::empty({shape.batch, shape.hidden}, x.dtype());
  Tensor c_last = Tensor::empty({shape.batch, shape.hidden}, x.dtype());
  Tensor kept;
  if (n.recording()) kept = Tensor::empty({kernels::lstm_reserve_size(shape)}, x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    kernels::lstm_forward<T>({.shape = shape,
                              .weights = weights_of<T>(in),
                              .options = {},
                              .x = x.value().data<T>(),
                              .h0 = state.h.value().data<T>(),
                              .c0 = state.c.value().data<T>(),
                              .y = y.mutable_data<T>(),
                              .h_last = h_last.mutable_data<T>(),
                              .c_last = c_last.mutable_data<T>(),
                              .reserve = kept.defined() ? kept.mutable_data<T>() : nullptr});
  });
  const Var out = n.out(std::move(y));
  const LSTMState last{n.out(std::move(h_last)), n.out(std::move(c_last))};
  if (!n.recording()) return {out, last};
  const Var reserve = kept;
  n.rule([in, out, reserve](Grads& g) {
    if (g.graph()) {
      return g.through(
          [](const Vars& v) {
            const auto bias = [&](Input i) { return v[i].shape().numel() == 0 ? Var() : v[i]; };
            const LSTMResult r = lstm_composed(
                v[X], {v[H0], v[C0]}, {v[WEIGHT_IH], v[WEIGHT_HH], bias(BIAS_IH), bias(BIAS_HH)});
            return Vars{r.y, r.last.h, r.last.c};
          },
          {in.begin(), in.end()});
    }
    const Gradients d =
        dispatch_float(out.dtype(), [&]<class T>(T) { return backward<T>(in, out, reserve, g); });
    if (d.x.defined()) g.add(X, d.x);
    if (d.h0.defined()) g.add(H0, d.h0);
    if (d.c0.defined()) g.add(C0, d.c0);
    if (d.weight_ih.defined()) g.add(WEIGHT_IH, d.weight_ih);
    if (d.weight_hh.defined()) g.add(WEIGHT_HH, d.weight_hh);
    if (g.needs(BIAS_IH)) g.add(BIAS_IH, d.bias);
    if (g.needs(BIAS_HH)) g.add(BIAS_HH, d.bias);
  });
  return {out, last};
}

LSTMResult lstm_composed(const Var& x, const LSTMState& state, const LSTMWeights& weights) {
  Vars y;
  LSTMState s = state;
  for (const Var& step : unbind(x)) {
    s = lstm_cell(step, s, weights);
    y.push_back(s.h);
  }
  return {stack(y), s};
}

}  // namespace tapegrad
