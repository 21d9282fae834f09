#include "lstm.h"

#include "../../core/dispatch-inl.h"
#include "../../core/kernels/lstm.h"
#include "../node.h"
#include "check-inl.h"
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

/// The gradient of each input that is wanted; the others are undefined.
template <class T>
std::array<Tensor, INPUTS> backward(const Inputs& in, const Var& y, const Var& reserve,
                                    const Grads& g) {
  std::array<Tensor, INPUTS> d;
  for (const std::size_t i : {X, H0, C0, WEIGHT_IH, WEIGHT_HH}) {
    if (g.needs(i)) d[i] = Tensor::empty(in[i].shape(), in[i].dtype());
  }
  if (g.needs(BIAS_IH) || g.needs(BIAS_HH)) {  // both biases have the same gradient
    d[BIAS_IH] = d[BIAS_HH] = Tensor::empty({in[WEIGHT_IH].size(0)}, in[X].dtype());
  }
  const auto into = [&](Input i) { return d[i].defined() ? d[i].mutable_data<T>() : nullptr; };
  const auto from = [&](Output k) { return g.has(k) ? g.d(k).value() : Tensor(); };
  const auto read = [](const Tensor& t) { return t.defined() ? t.data<T>() : nullptr; };
  const Tensor dy = from(Y), dh_last = from(H_LAST), dc_last = from(C_LAST);
  kernels::lstm_backward<T>({.shape = shape_of(in[X], in[WEIGHT_HH].size(1)),
                             .weights = weights_of<T>(in),
                             .options = {},
                             .x = in[X].value().data<T>(),
                             .h0 = in[H0].value().data<T>(),
                             .c0 = in[C0].value().data<T>(),
                             .y = y.value().data<T>(),
                             // Written only if this rule is not run again.
                             .reserve = const_cast<T*>(reserve.value().data<T>()),
                             .may_overwrite_reserve = !g.retained(),
                             .dy = read(dy),
                             .dh_last = read(dh_last),
                             .dc_last = read(dc_last),
                             .dx = into(X),
                             .dh0 = into(H0),
                             .dc0 = into(C0),
                             .dweight_ih = into(WEIGHT_IH),
                             .dweight_hh = into(WEIGHT_HH),
                             .dbias = into(BIAS_IH)});
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
    const std::array<Tensor, INPUTS> d =
        dispatch_float(out.dtype(), [&]<class T>(T) { return backward<T>(in, out, reserve, g); });
    for (std::size_t i = 0; i < INPUTS; ++i) {
      if (d[i].defined()) g.add(i, d[i]);
    }
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
