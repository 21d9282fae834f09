#include "lstm.h"

#include "../../core/dispatch-inl.h"
#include "../../core/kernels/gemm.h"
#include "../../core/recurrent/lstm.h"
#include "../node.h"
#include "embedding.h"
#include "lstm_cell.h"
#include "recurrent-inl.h"
#include "shape.h"

namespace tapegrad {
namespace {

using recurrent::data_or_null;
using recurrent::internal;
using recurrent::memory;

/// `x`: the shape of the sequence.
void check_sizes(std::string_view op, const Shape& x, const LSTMState& state,
                 const LSTMWeights& w) {
  check::sequence({op, "LSTM", 4}, x, w);
  const std::size_t hidden = w.hh.size(1);
  check::state(op, x, "h", state.h, {x[1], hidden});
  check::state(op, x, "c", state.c, {x[1], hidden});
}

/// Inputs and outputs of the node, in this order; a bias may be absent. With ids, x is the table
/// (V, I) that they are of.
namespace in {
enum Index : std::size_t { x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, ids, count };
}
namespace out {
enum Index : std::size_t { y, h_last, c_last };
}
using Inputs = std::array<Var, in::count>;

kernels::lstm::Shape shape_of(const Inputs& inputs) {
  const Var& x = inputs[in::x];
  const Var& ids = inputs[in::ids];
  const Var& sequence = ids.defined() ? ids : x;
  return {.sequence = {.steps = sequence.size(0), .batch = sequence.size(1)},
          .input = ids.defined() ? 0 : x.size(2),
          .hidden = inputs[in::weight_hh].size(1)};
}

template <class T>
kernels::lstm::Weights<T> weights_of(const Inputs& inputs) {
  return {.weight_ih = inputs[in::weight_ih].value().data<T>(),
          .weight_hh = inputs[in::weight_hh].value().data<T>(),
          .bias_ih = data_or_null<T>(inputs[in::bias_ih]),
          .bias_hh = data_or_null<T>(inputs[in::bias_hh])};
}

/// The gradient of each input that is wanted; the others are undefined.
template <class T>
std::array<Tensor, in::count> backward(const Inputs& inputs, const Var& y, Tensor& reserve,
                                       Grads& g) {
  const Var& x = inputs[in::x];
  const Var& weight_ih = inputs[in::weight_ih];
  const bool by_ids = inputs[in::ids].defined();
  std::array<Tensor, in::count> d;
  for (const std::size_t i : {in::x, in::h0, in::c0, in::weight_ih, in::weight_hh}) {
    if (g.needs(i)) d[i] = Tensor::empty(inputs[i].shape(), x.dtype());
  }
  if (g.needs(in::bias_ih) || g.needs(in::bias_hh)) {  // both biases have the same gradient
    d[in::bias_ih] = d[in::bias_hh] = Tensor::empty({weight_ih.size(0)}, x.dtype());
  }
  Tensor dproducts;  // of W_ih and the rows of the table
  if (by_ids && (g.needs(in::x) || g.needs(in::weight_ih))) {
    dproducts = Tensor::empty({x.size(0), weight_ih.size(0)}, x.dtype());
  }
  const auto into = [&](in::Index i) { return memory<T>(d[i]); };
  const auto from = [&](out::Index k) { return g.has(k) ? g.d(k).value() : Tensor(); };
  Tensor dgates = internal(g, y, 4), dh = internal(g, y, 1), dc = internal(g, y, 1);
  const Tensor dy = from(out::y), dh_last = from(out::h_last), dc_last = from(out::c_last);
  kernels::lstm::backward<T>({.shape = shape_of(inputs),
                              .weights = weights_of<T>(inputs),
                              .variant = {},
                              .x = by_ids ? nullptr : x.value().data<T>(),
                              .h0 = inputs[in::h0].value().data<T>(),
                              .c0 = inputs[in::c0].value().data<T>(),
                              .y = y.value().data<T>(),
                              .reserve = reserve.mutable_data<T>(),
                              .may_overwrite_reserve = !g.retained(),
                              .dy = data_or_null<T>(dy),
                              .dh_last = data_or_null<T>(dh_last),
                              .dc_last = data_or_null<T>(dc_last),
                              .dx = by_ids ? nullptr : into(in::x),
                              .dh0 = into(in::h0),
                              .dc0 = into(in::c0),
                              .dweight_ih = by_ids ? nullptr : into(in::weight_ih),
                              .dweight_hh = into(in::weight_hh),
                              .dbias = into(in::bias_ih),
                              .dgates = memory<T>(dgates),
                              .dh = memory<T>(dh),
                              .dc = memory<T>(dc),
                              .table_rows = by_ids ? x.size(0) : 0,
                              .ids = data_or_null<std::int32_t>(inputs[in::ids]),
                              .dtable = memory<T>(dproducts)});
  const auto product = [&](in::Index i, Transpose t, const Var& factor) {
    if (by_ids && g.needs(i)) {
      kernels::gemm(t, Transpose::no, 1, dproducts, factor.value(), 0, d[i]);
    }
  };
  product(in::x, Transpose::no, weight_ih);
  product(in::weight_ih, Transpose::yes, x);
  if (dgates.defined()) {
    g.report("dgates", dgates);
    g.report("dh", dh);
    g.report("dc", dc);
  }
  return d;
}

/// The node.
LSTMResult record(const Inputs& inputs) {
  const Var& x = inputs[in::x];
  Node n("lstm", {x, inputs[in::h0], inputs[in::c0], inputs[in::weight_ih], inputs[in::weight_hh],
                  inputs[in::bias_ih], inputs[in::bias_hh], inputs[in::ids]});
  const kernels::lstm::Shape shape = shape_of(inputs);
  const auto [steps, batch, active, reverse] = shape.sequence;
  const Shape state_shape{batch, shape.hidden};
  Tensor y = Tensor::empty({steps, batch, shape.hidden}, x.dtype());
  Tensor h_last = Tensor::empty(state_shape, x.dtype());
  Tensor c_last = Tensor::empty(state_shape, x.dtype());
  Tensor kept;
  Tensor gates = internal(n, y, 4), cells = internal(n, y, 1);
  if (n.recording()) kept = Tensor::empty({kernels::lstm::reserve_size(shape)}, x.dtype());
  Tensor products;
  if (inputs[in::ids].defined()) {
    const Tensor& weight_ih = inputs[in::weight_ih].value();
    products = Tensor::empty({x.size(0), weight_ih.size(0)}, x.dtype());
    kernels::gemm(Transpose::no, Transpose::yes, 1, x.value(), weight_ih, 0, products);
  }
  dispatch_float(x.dtype(), [&]<class T>(T) {
    kernels::lstm::forward<T>({.shape = shape,
                               .weights = weights_of<T>(inputs),
                               .variant = {},
                               .x = products.defined() ? nullptr : x.value().data<T>(),
                               .h0 = inputs[in::h0].value().data<T>(),
                               .c0 = inputs[in::c0].value().data<T>(),
                               .y = y.mutable_data<T>(),
                               .h_last = h_last.mutable_data<T>(),
                               .c_last = c_last.mutable_data<T>(),
                               .reserve = memory<T>(kept),
                               .gates = memory<T>(gates),
                               .cells = memory<T>(cells),
                               .table = memory<T>(products),
                               .ids = data_or_null<std::int32_t>(inputs[in::ids])});
  });
  const Var all = n.out(std::move(y));
  const LSTMState last{n.out(std::move(h_last)), n.out(std::move(c_last))};
  if (!n.recording()) return {all, last};
  if (gates.defined()) {
    n.report("gates", gates);
    n.report("cells", cells);
  }
  // Captured as a Tensor, not as a Var: nobody but this rule can see it, and the rule overwrites it
  // when it runs for the last time.
  n.rule([inputs, all, reserve = std::move(kept)](Grads& g) mutable {
    if (g.graph()) {
      return g.through(
          [](const Vars& v) {
            const Var& ids = v[in::ids];
            const LSTMResult r = lstm_composed(
                ids.defined() ? embedding(v[in::x], ids.value()) : v[in::x], {v[in::h0], v[in::c0]},
                {v[in::weight_ih], v[in::weight_hh], v[in::bias_ih], v[in::bias_hh]});
            return Vars{r.y, r.last.h, r.last.c};
          },
          {inputs.begin(), inputs.end()});
    }
    const std::array<Tensor, in::count> d = dispatch_float(
        all.dtype(), [&]<class T>(T) { return backward<T>(inputs, all, reserve, g); });
    for (std::size_t i = 0; i < in::count; ++i) {
      if (d[i].defined()) g.add(i, d[i]);
    }
  });
  return {all, last};
}

}  // namespace

LSTMResult lstm(const Var& x, const LSTMState& state, const LSTMWeights& w) {
  check::defined("lstm", {{"x", x},
                          {"state.h", state.h},
                          {"state.c", state.c},
                          {"weights.ih", w.ih},
                          {"weights.hh", w.hh}});
  check_sizes("lstm", x.shape(), state, w);
  check::real("lstm", "x", x.dtype());
  return record({x, state.h, state.c, w.ih, w.hh, w.bias_ih, w.bias_hh, {}});
}

LSTMResult embedding_lstm(const Var& table, const Tensor& ids, const LSTMState& state,
                          const LSTMWeights& w) {
  constexpr const char* op = "embedding_lstm";
  check::defined(op, {{"table", table},
                      {"ids", ids},
                      {"state.h", state.h},
                      {"state.c", state.c},
                      {"weights.ih", w.ih},
                      {"weights.hh", w.hh}});
  if (table.shape().rank() != 2) {
    check::wrong_shape(op, "table", table.shape(), "of rank 2, (V, I)");
  }
  check::ids(op, ids, table.size(0));
  check_sizes(op, ids.shape().inserted(ids.rank(), table.size(1)), state, w);
  check::real(op, "table", table.dtype());
  if (table.size(0) >= ids.numel()) return lstm(embedding(table, ids), state, w);
  return record({table, state.h, state.c, w.ih, w.hh, w.bias_ih, w.bias_hh, ids});
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
