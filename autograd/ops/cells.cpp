#include <array>

#include "../../core/dispatch-inl.h"
#include "../../core/kernels/elementwise.h"
#include "../node.h"
#include "cells-inl.h"
#include "packing-inl.h"

namespace tapegrad::recurrent {
namespace {

namespace cells = kernels::cells;

/// Inputs and outputs of the node, in this order; what is behind weight_hh may be absent.
namespace in {
enum Index : std::size_t {
  x,
  h0,
  weight_ih,
  weight_hh,
  bias_ih,
  bias_hh,
  recurrent_mask,
  zoneout,
  count
};
}
namespace out {
enum Index : std::size_t { y, h_last };
}
using Inputs = std::array<Var, in::count>;

/// A call of the op, and what the kernel reads of it.
struct Call {
  cells::Cell cell;
  Step step;
  Inputs inputs;
  Steps steps;
  double gradient_clip;
  Packing packing;
  std::array<Tensor, in::count> packed =
      {};  // rows as the kernel has them, if it is not all of them

  Call(const char* op, cells::Cell cell_, Step step_, const Inputs& all, const Steps& s,
       const RecurrentVariant& v)
      : cell(cell_),
        step(step_),
        inputs(all),
        steps(s),
        gradient_clip(v.gradient_clip),
        packing(op, s, all[in::x].shape()) {
    if (steps.lengths.defined()) steps.lengths = steps.lengths.clone();  // the twin's
    if (!packing.packed()) return;
    packed[in::x] = packing.pack(inputs[in::x].value());
    packed[in::h0] = packing.sort(inputs[in::h0].value());
    if (const Var& mask = inputs[in::recurrent_mask]; mask.defined()) {
      packed[in::recurrent_mask] = packing.sort(mask.value());
    }
    if (const Var& z = inputs[in::zoneout]; z.defined()) {
      packed[in::zoneout] = packing.pack(z.value());
    }
  }

  cells::Shape shape() const {
    return {.sequence = packing.sequence(),
            .input = inputs[in::x].size(2),
            .hidden = inputs[in::weight_hh].size(1)};
  }
  /// Returns the elements of an input; a Var notices if they were changed. Null if there are none.
  template <class T>
  const T* read(std::size_t i) const {
    return packed[i].defined() ? packed[i].data<T>() : data_or_null<T>(inputs[i]);
  }
  template <class T>
  cells::Weights<T> weights() const {
    return {.weight_ih = read<T>(in::weight_ih),
            .weight_hh = read<T>(in::weight_hh),
            .bias_ih = read<T>(in::bias_ih),
            .bias_hh = read<T>(in::bias_hh)};
  }
  template <class T>
  cells::Variant<T> variant() const {
    return {.recurrent_mask = read<T>(in::recurrent_mask),
            .zoneout = read<T>(in::zoneout),
            .gradient_clip = static_cast<T>(gradient_clip)};
  }
  /// The rows of what the kernel keeps to itself, `blocks` * H columns, if an observer wants to see it,
  /// or branches that are found by it; `recorder`: a Node or Grads.
  template <class Recorder>
  Tensor internal(const Recorder& recorder, std::size_t blocks, bool has_branches = false) const {
    const auto wanted =
        has_branches ? Interest::internals | Interest::branches : Interest::internals;
    if (!recorder.wants(wanted)) return {};
    return Tensor::empty(packing.shape(blocks * inputs[in::weight_hh].size(1)),
                         inputs[in::x].dtype());
  }
};

/// Adds the gradient of each input that is wanted. y (N, H).
template <class T>
void backward(const Call& call, const Tensor& y, Tensor& reserve, Grads& g) {
  const Packing& packing = call.packing;
  std::array<Tensor, in::count> d;
  for (std::size_t i = 0; i < in::count; ++i) {
    if (g.needs(i)) d[i] = Tensor::empty(call.inputs[i].shape(), y.dtype());
  }
  if (g.needs(in::x)) {
    d[in::x] = Tensor::empty(packing.shape(call.inputs[in::x].size(2)), y.dtype());
  }
  const auto from = [&](out::Index k) { return g.has(k) ? g.d(k).value() : Tensor(); };
  const Tensor dy = packing.pack(from(out::y)), dh_last = packing.sort(from(out::h_last));
  Tensor dgates = call.internal(g, cells::gate_count(call.cell)), dh = call.internal(g, 1);
  cells::backward<T>(call.cell, {.shape = call.shape(),
                                 .weights = call.weights<T>(),
                                 .variant = call.variant<T>(),
                                 .x = call.read<T>(in::x),
                                 .h0 = call.read<T>(in::h0),
                                 .y = y.data<T>(),
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
    g.report("dgates", packing.unpack(dgates));
    g.report("dh", packing.unpack(dh));
  }
  d[in::x] = packing.unpack(d[in::x]);
  d[in::h0] = packing.unsort(d[in::h0]);
  for (std::size_t i = 0; i < in::count; ++i) {
    if (d[i].defined()) g.add(i, d[i]);
  }
}

}  // namespace

void check_call(const check::Recurrent& recurrent, const Var& x, const Var& h,
                const RecurrentWeights& w, const Steps& steps, const RecurrentVariant& v) {
  const std::string_view op = recurrent.op;
  check::defined(op, {{"x", x}, {"h", h}, {"weights.ih", w.ih}, {"weights.hh", w.hh}});
  check::sequence(recurrent, x.shape(), w);
  check::state(op, x, "h", h, {x.size(1), w.hh.size(1)});
  check::real(op, "x", x.dtype());
  check_lengths(op, steps, x.shape());
  check::variant(op, x.shape(), w.hh.size(1), x.dtype(), v);
  check::without_cell(op, v);
}

Unrolled<Var> fused(const char* op, const char* layer, cells::Cell cell, Step step, const Var& x,
                    const Var& h, const RecurrentWeights& w, const Steps& steps,
                    const RecurrentVariant& v) {
  check_call({op, layer, cells::gate_count(cell)}, x, h, w, steps, v);
  const auto constant = [](const Tensor& t) { return t.defined() ? Var(t) : Var(); };
  Call call(
      op, cell, step,
      {x, h, w.ih, w.hh, w.bias_ih, w.bias_hh, constant(v.recurrent_mask), constant(v.zoneout_h)},
      steps, v);
  const Packing& packing = call.packing;
  Node n(op, {x, h, w.ih, w.hh, w.bias_ih, w.bias_hh, call.inputs[in::recurrent_mask],
              call.inputs[in::zoneout]});
  const cells::Shape shape = call.shape();
  Tensor y = Tensor::empty(packing.shape(shape.hidden), x.dtype());
  Tensor h_last = Tensor::empty({shape.sequence.batch, shape.hidden}, x.dtype());
  Tensor kept;
  const bool has_branches = cell == cells::Cell::rnn_relu;
  Tensor gates = call.internal(n, cells::gate_count(cell), has_branches);
  if (n.recording()) kept = Tensor::empty({cells::reserve_size(cell, shape)}, x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    cells::forward<T>(cell, {.shape = shape,
                             .weights = call.weights<T>(),
                             .variant = call.variant<T>(),
                             .x = call.read<T>(in::x),
                             .h0 = call.read<T>(in::h0),
                             .y = y.mutable_data<T>(),
                             .h_last = h_last.mutable_data<T>(),
                             .reserve = memory<T>(kept),
                             .gates = memory<T>(gates)});
  });
  const Tensor packed_y = packing.packed() ? y : Tensor();
  const Var all = n.out(packing.unpack(y));
  const Var last = n.out(packing.unsort(h_last));
  if (!n.recording()) return {all, last};
  if (gates.defined()) {
    gates = packing.unpack(gates);
    if (has_branches) n.branch([&] { return kernels::is_positive(gates); });
    if (n.wants(Interest::internals)) n.report("gates", gates);
  }
  // The reserve is captured as a Tensor, not as a Var: nobody but this rule can see it, and the rule
  // overwrites it when it runs for the last time.
  n.rule([call = std::move(call), all, y = packed_y, reserve = std::move(kept)](Grads& g) mutable {
    if (!g.graph()) {
      const Tensor seen = y.defined() ? y : all.value();  // the Var notices a change
      return dispatch_float(all.dtype(), [&]<class T>(T) { backward<T>(call, seen, reserve, g); });
    }
    g.through(
        [step = call.step, steps = call.steps, clip = call.gradient_clip](const Vars& alias) {
          const auto mask = [&](std::size_t i) {
            return alias[i].defined() ? alias[i].value() : Tensor();
          };
          const Unrolled<Var> r = composed(
              step, alias[in::x], alias[in::h0],
              {alias[in::weight_ih], alias[in::weight_hh], alias[in::bias_ih], alias[in::bias_hh]},
              steps,
              {.recurrent_mask = mask(in::recurrent_mask),
               .zoneout_h = mask(in::zoneout),
               .gradient_clip = clip});
          return Vars{r.y, r.last};
        },
        {call.inputs.begin(), call.inputs.end()});
  });
  return {all, last};
}

Unrolled<Var> composed(Step step, const Var& x, const Var& h, const RecurrentWeights& weights,
                       const Steps& steps, const RecurrentVariant& v) {
  const Unrolled<Vars> r =
      unroll(x, {h}, steps, [&](const Var& x_t, const Vars& state, const At& at) -> Vars {
        const Var fresh =
            step(x_t, state[0], seen(v.recurrent_mask, at, state[0]), weights, v.gradient_clip);
        return {zone_out(v.zoneout_h, at, state[0], fresh)};
      });
  return {r.y, r.last[0]};
}

void check_step(const check::Recurrent& recurrent, const Var& x, const Var& h,
                const RecurrentWeights& w) {
  check::defined(recurrent.op, {{"x", x}, {"h", h}, {"weights.ih", w.ih}, {"weights.hh", w.hh}});
  check::step(recurrent, x.shape(), w);
  check::state(recurrent.op, x, "h", h, {x.size(0), w.hh.size(1)});
}

}  // namespace tapegrad::recurrent
