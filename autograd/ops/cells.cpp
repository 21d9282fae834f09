#include <array>

#include "../../core/dispatch-inl.h"
#include "../../core/kernels/elementwise.h"
#include "../node.h"
#include "cells-inl.h"
#include "shape.h"

namespace tapegrad::recurrent {
namespace {

namespace cells = kernels::cells;

/// Inputs and outputs of the node, in this order; a bias may be absent.
namespace in {
enum Index : std::size_t { x, h0, weight_ih, weight_hh, bias_ih, bias_hh, count };
}
namespace out {
enum Index : std::size_t { y, h_last };
}
using Inputs = std::array<Var, in::count>;

cells::Shape shape_of(const Inputs& inputs) {
  const Var& x = inputs[in::x];
  return {.sequence = {.steps = x.size(0), .batch = x.size(1)},
          .input = x.size(2),
          .hidden = inputs[in::weight_hh].size(1)};
}

template <class T>
cells::Weights<T> weights_of(const Inputs& inputs) {
  return {.weight_ih = inputs[in::weight_ih].value().data<T>(),
          .weight_hh = inputs[in::weight_hh].value().data<T>(),
          .bias_ih = data_or_null<T>(inputs[in::bias_ih]),
          .bias_hh = data_or_null<T>(inputs[in::bias_hh])};
}

/// Adds the gradient of each input that is wanted.
template <class T>
void backward(cells::Cell cell, const Inputs& inputs, const Var& y, Tensor& reserve, Grads& g) {
  std::array<Tensor, in::count> d;
  for (std::size_t i = 0; i < in::count; ++i) {
    if (g.needs(i)) d[i] = Tensor::empty(inputs[i].shape(), y.dtype());
  }
  const auto from = [&](out::Index k) { return g.has(k) ? g.d(k).value() : Tensor(); };
  const Tensor dy = from(out::y), dh_last = from(out::h_last);
  Tensor dgates = internal(g, y, cells::gate_count(cell)), dh = internal(g, y, 1);
  cells::backward<T>(cell, {.shape = shape_of(inputs),
                            .weights = weights_of<T>(inputs),
                            .variant = {},
                            .x = inputs[in::x].value().data<T>(),
                            .h0 = inputs[in::h0].value().data<T>(),
                            .y = y.value().data<T>(),
                            .reserve = reserve.mutable_data<T>(),
                            .may_overwrite_reserve = !g.retained(),
                            .dy = data_or_null<T>(dy),
                            .dh_last = data_or_null<T>(dh_last),
                            .dx = memory<T>(d[in::x]),
                            .dh0 = memory<T>(d[in::h0]),
                            .dweight_ih = memory<T>(d[in::weight_ih]),
                            .dweight_hh = memory<T>(d[in::weight_hh]),
                            .dbias_ih = memory<T>(d[in::bias_ih]),
                            .dbias_hh = memory<T>(d[in::bias_hh]),
                            .dgates = memory<T>(dgates),
                            .dh = memory<T>(dh)});
  if (dgates.defined()) {
    g.report("dgates", dgates);
    g.report("dh", dh);
  }
  for (std::size_t i = 0; i < in::count; ++i) {
    if (d[i].defined()) g.add(i, d[i]);
  }
}

}  // namespace

Unrolled<Var> fused(const char* op, const char* layer, cells::Cell cell, Step step, const Var& x,
                    const Var& h, const RecurrentWeights& w) {
  check::defined(op, {{"x", x}, {"h", h}, {"weights.ih", w.ih}, {"weights.hh", w.hh}});
  check::sequence({op, layer, cells::gate_count(cell)}, x.shape(), w);
  check::state(op, x, "h", h, {x.size(1), w.hh.size(1)});
  check::real(op, "x", x.dtype());
  const Inputs inputs{x, h, w.ih, w.hh, w.bias_ih, w.bias_hh};
  Node n(op, {x, h, w.ih, w.hh, w.bias_ih, w.bias_hh});
  const cells::Shape shape = shape_of(inputs);
  const auto [steps, batch, active, reverse] = shape.sequence;
  Tensor y = Tensor::empty({steps, batch, shape.hidden}, x.dtype());
  Tensor h_last = Tensor::empty({batch, shape.hidden}, x.dtype());
  Tensor kept;
  Tensor gates = internal(n, y, cells::gate_count(cell));
  if (n.recording()) kept = Tensor::empty({cells::reserve_size(cell, shape)}, x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    cells::forward<T>(cell, {.shape = shape,
                             .weights = weights_of<T>(inputs),
                             .variant = {},
                             .x = x.value().data<T>(),
                             .h0 = h.value().data<T>(),
                             .y = y.mutable_data<T>(),
                             .h_last = h_last.mutable_data<T>(),
                             .reserve = memory<T>(kept),
                             .gates = memory<T>(gates)});
  });
  const Var all = n.out(std::move(y)), last = n.out(std::move(h_last));
  if (!n.recording()) return {all, last};
  if (cell == cells::Cell::rnn_relu) {
    n.branch([&] { return kernels::is_positive(all.value()); });
  }
  if (gates.defined()) n.report("gates", gates);
  // Captured as a Tensor, not as a Var: nobody but this rule can see it, and the rule overwrites it
  // when it runs for the last time.
  n.rule([cell, step, inputs, all, reserve = std::move(kept)](Grads& g) mutable {
    if (!g.graph()) {
      return dispatch_float(all.dtype(),
                            [&]<class T>(T) { backward<T>(cell, inputs, all, reserve, g); });
    }
    g.through(
        [step](const Vars& v) {
          const Unrolled<Var> r =
              composed(step, v[in::x], v[in::h0],
                       {v[in::weight_ih], v[in::weight_hh], v[in::bias_ih], v[in::bias_hh]});
          return Vars{r.y, r.last};
        },
        {inputs.begin(), inputs.end()});
  });
  return {all, last};
}

Unrolled<Var> composed(Step step, const Var& x, const Var& h, const RecurrentWeights& weights) {
  Vars y;
  Var state = h;
  for (const Var& one : unbind(x)) {
    state = step(one, state, weights);
    y.push_back(state);
  }
  return {stack(y), state};
}

void check_step(const check::Recurrent& recurrent, const Var& x, const Var& h,
                const RecurrentWeights& w) {
  check::defined(recurrent.op, {{"x", x}, {"h", h}, {"weights.ih", w.ih}, {"weights.hh", w.hh}});
  check::step(recurrent, x.shape(), w);
  check::state(recurrent.op, x, "h", h, {x.size(0), w.hh.size(1)});
}

}  // namespace tapegrad::recurrent
