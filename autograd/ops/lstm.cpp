#include "lstm.h"

#include "../../core/dispatch-inl.h"
#include "../../core/kernels/elementwise.h"
#include "../../core/kernels/gemm.h"
#include "../../core/recurrent/lstm.h"
#include "../node.h"
#include "elementwise.h"
#include "embedding.h"
#include "lstm_cell.h"
#include "matrix.h"
#include "packing-inl.h"
#include "recurrent-inl.h"
#include "shape.h"

namespace tapegrad {
namespace {

using recurrent::data_or_null;
using recurrent::memory;
using recurrent::Packing;

/// `x`: the shape of the sequence.
void check_sizes(std::string_view op, const Shape& x, const LSTMState& state,
                 const LSTMWeights& w) {
  check::sequence({op, "LSTM", 4}, x, w);
  const std::size_t hidden = w.hh.size(1);
  check::state(op, x, "h", state.h, {x[1], hidden});
  check::state(op, x, "c", state.c, {x[1], hidden});
}

/// lstm_cell() at a step with variants: the equations of core/recurrent/lstm.h.
LSTMState varied(const Var& x, const Vars& state, const recurrent::At& at, const LSTMWeights& w,
                 const RecurrentVariant& v) {
  const Var &h = state[0], &c_before = state[1];
  const Var a = linear(x, w.ih, w.bias_ih) +
                linear(recurrent::seen(v.recurrent_mask, at, h), w.hh, w.bias_hh);
  const auto [ai, af, ag, ao] = split<4>(a, 1);
  const Vars p = v.peephole.defined() ? unbind(v.peephole) : Vars(3);
  const auto with_peephole = [&](const Var& before, const Var& weight, const Var& c) {
    return recurrent::cut_gradient(weight.defined() ? before + weight * c : before,
                                   v.gradient_clip);
  };
  const Var i = sigmoid(with_peephole(ai, p[0], c_before));
  const Var f = sigmoid(with_peephole(af, p[1], c_before));
  const Var g = tanh(recurrent::cut_gradient(ag, v.gradient_clip));
  const Var unclipped = f * c_before + i * g;
  const Var c = v.cell_clip > 0 ? clamp(unclipped, -v.cell_clip, v.cell_clip) : unclipped;
  const Var o = sigmoid(with_peephole(ao, p[2], c));
  return {recurrent::zone_out(v.zoneout_h, at, h, o * tanh(c)),
          recurrent::zone_out(v.zoneout_c, at, c_before, c)};
}

/// Inputs and outputs of the node, in this order; what is behind weight_hh may be absent. With ids,
/// x is the table (V, I) that they are of.
namespace in {
enum Index : std::size_t {
  x,
  h0,
  c0,
  weight_ih,
  weight_hh,
  bias_ih,
  bias_hh,
  peephole,
  recurrent_mask,
  zoneout_h,
  zoneout_c,
  ids,
  count
};
}
namespace out {
enum Index : std::size_t { y, h_last, c_last };
}
using Inputs = std::array<Var, in::count>;

/// A call of the op, and what the kernel reads of it.
struct Call {
  Inputs inputs;
  Steps steps;
  double cell_clip, gradient_clip;
  Packing packing;
  std::array<Tensor, in::count> packed =
      {};  // rows as the kernel has them, if it is not all of them

  Call(std::string_view op, const Inputs& all, const Steps& s, const RecurrentVariant& v)
      : inputs(all),
        steps(s),
        cell_clip(v.cell_clip),
        gradient_clip(v.gradient_clip),
        packing(op, s, sequence()) {
    if (steps.lengths.defined()) steps.lengths = steps.lengths.clone();  // the twin's
    if (!packing.packed()) return;
    for (const std::size_t i : {in::x, in::zoneout_h, in::zoneout_c, in::ids}) {
      if (inputs[i].defined() && !(i == in::x && by_ids()))
        packed[i] = packing.pack(inputs[i].value());
    }
    for (const std::size_t i : {in::h0, in::c0, in::recurrent_mask}) {
      if (inputs[i].defined()) packed[i] = packing.sort(inputs[i].value());
    }
  }

  bool by_ids() const { return inputs[in::ids].defined(); }
  Shape sequence() const { return inputs[by_ids() ? in::ids : in::x].shape(); }
  DType dtype() const { return inputs[in::x].dtype(); }
  kernels::lstm::Shape shape() const {
    return {.sequence = packing.sequence(),
            .input = by_ids() ? 0 : inputs[in::x].size(2),
            .hidden = inputs[in::weight_hh].size(1)};
  }
  /// Returns the elements of an input; a Var notices if they were changed. Null if there are none.
  template <class T>
  const T* read(std::size_t i) const {
    return packed[i].defined() ? packed[i].data<T>() : data_or_null<T>(inputs[i]);
  }
  template <class T>
  const T* read_x() const {
    return by_ids() ? nullptr : read<T>(in::x);
  }
  template <class T>
  kernels::lstm::Weights<T> weights() const {
    return {.weight_ih = read<T>(in::weight_ih),
            .weight_hh = read<T>(in::weight_hh),
            .bias_ih = read<T>(in::bias_ih),
            .bias_hh = read<T>(in::bias_hh),
            .peephole = read<T>(in::peephole)};
  }
  template <class T>
  kernels::lstm::Variant<T> variant() const {
    return {.recurrent_mask = read<T>(in::recurrent_mask),
            .zoneout_h = read<T>(in::zoneout_h),
            .zoneout_c = read<T>(in::zoneout_c),
            .cell_clip = static_cast<T>(cell_clip),
            .gradient_clip = static_cast<T>(gradient_clip)};
  }
  /// The rows of what the kernel keeps to itself, `blocks` * H columns, if an observer wants to see it,
  /// or branches that are found by it; `recorder`: a Node or Grads.
  template <class Recorder>
  Tensor internal(const Recorder& recorder, std::size_t blocks, bool has_branches = false) const {
    const auto wanted =
        has_branches ? Interest::internals | Interest::branches : Interest::internals;
    if (!recorder.wants(wanted)) return {};
    return Tensor::empty(packing.shape(blocks * inputs[in::weight_hh].size(1)), dtype());
  }
};

/// f_t c_{t-1} + i_t g_t, c before it is cut, (T, B, H), for observers; from the gates (T, B, 4H) and
/// from c (T, B, H). 0 behind a sequence's end.
Tensor uncut_cells(const Call& call, const Tensor& gates, const Tensor& c) {
  const std::size_t T = c.size(0), B = c.size(1), H = c.size(2);
  const Tensor& lengths = call.steps.lengths;
  const Tensor& c0 = call.inputs[in::c0].value();
  Tensor uncut = Tensor::zeros(c.shape(), DType::float64);
  double* to = uncut.mutable_data<double>();
  for (std::size_t n = 0; n < T * B; ++n) {
    const std::size_t t = n / B, b = n % B;
    const std::size_t length = lengths.defined() ? static_cast<std::size_t>(lengths.at(b)) : T;
    if (t >= length) continue;
    const bool begins = t == (call.steps.reverse ? length - 1 : 0);
    const std::size_t before = call.steps.reverse ? n + B : n - B;
    for (std::size_t j = 0; j < H; ++j) {
      const auto gate = [&](std::size_t k) { return gates.at((n * 4 + k) * H + j); };
      const double c_before = begins ? c0.at(b * H + j) : c.at(before * H + j);
      to[n * H + j] = gate(1) * c_before + gate(0) * gate(2);
    }
  }
  return uncut;
}

/// The gradient of each input that is wanted; the others are undefined. y (N, H).
template <class T>
std::array<Tensor, in::count> backward(const Call& call, const Tensor& y, Tensor& reserve,
                                       Grads& g) {
  const Inputs& inputs = call.inputs;
  const Packing& packing = call.packing;
  const Var& x = inputs[in::x];
  const Var& weight_ih = inputs[in::weight_ih];
  const bool by_ids = call.by_ids();
  std::array<Tensor, in::count> d;
  for (const std::size_t i : {in::x, in::h0, in::c0, in::weight_ih, in::weight_hh, in::peephole}) {
    if (g.needs(i)) d[i] = Tensor::empty(inputs[i].shape(), x.dtype());
  }
  if (g.needs(in::x) && !by_ids) d[in::x] = Tensor::empty(packing.shape(x.size(2)), x.dtype());
  if (g.needs(in::bias_ih) || g.needs(in::bias_hh)) {  // both biases have the same gradient
    d[in::bias_ih] = d[in::bias_hh] = Tensor::empty({weight_ih.size(0)}, x.dtype());
  }
  Tensor dproducts;  // of W_ih and the rows of the table
  if (by_ids && (g.needs(in::x) || g.needs(in::weight_ih))) {
    dproducts = Tensor::empty({x.size(0), weight_ih.size(0)}, x.dtype());
  }
  const auto into = [&](in::Index i) { return memory<T>(d[i]); };
  const auto from = [&](out::Index k) { return g.has(k) ? g.d(k).value() : Tensor(); };
  Tensor dgates = call.internal(g, 4), dh = call.internal(g, 1), dc = call.internal(g, 1);
  const Tensor dy = packing.pack(from(out::y)), dh_last = packing.sort(from(out::h_last)),
               dc_last = packing.sort(from(out::c_last));
  kernels::lstm::backward<T>({.shape = call.shape(),
                              .weights = call.weights<T>(),
                              .variant = call.variant<T>(),
                              .x = call.read_x<T>(),
                              .h0 = call.read<T>(in::h0),
                              .c0 = call.read<T>(in::c0),
                              .y = y.data<T>(),
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
                              .dpeephole = into(in::peephole),
                              .dgates = memory<T>(dgates),
                              .dh = memory<T>(dh),
                              .dc = memory<T>(dc),
                              .table_rows = by_ids ? x.size(0) : 0,
                              .ids = call.read<std::int32_t>(in::ids),
                              .dtable = memory<T>(dproducts)});
  const auto product = [&](in::Index i, Transpose t, const Var& factor) {
    if (by_ids && g.needs(i)) {
      kernels::gemm(t, Transpose::no, 1, dproducts, factor.value(), 0, d[i]);
    }
  };
  product(in::x, Transpose::no, weight_ih);
  product(in::weight_ih, Transpose::yes, x);
  if (!by_ids) d[in::x] = packing.unpack(d[in::x]);
  for (const std::size_t i : {in::h0, in::c0}) d[i] = packing.unsort(d[i]);
  if (dgates.defined()) {
    g.report("dgates", packing.unpack(dgates));
    g.report("dh", packing.unpack(dh));
    g.report("dc", packing.unpack(dc));
  }
  return d;
}

/// The node.
LSTMResult record(Call&& call) {
  const Inputs& inputs = call.inputs;
  const Packing& packing = call.packing;
  const Var& x = inputs[in::x];
  Node n("lstm", {x, inputs[in::h0], inputs[in::c0], inputs[in::weight_ih], inputs[in::weight_hh],
                  inputs[in::bias_ih], inputs[in::bias_hh], inputs[in::peephole],
                  inputs[in::recurrent_mask], inputs[in::zoneout_h], inputs[in::zoneout_c],
                  inputs[in::ids]});
  const kernels::lstm::Shape shape = call.shape();
  const Shape state_shape{shape.sequence.batch, shape.hidden};
  Tensor y = Tensor::empty(packing.shape(shape.hidden), x.dtype());
  Tensor h_last = Tensor::empty(state_shape, x.dtype());
  Tensor c_last = Tensor::empty(state_shape, x.dtype());
  Tensor kept;
  const bool cuts = call.cell_clip > 0;
  Tensor gates = call.internal(n, 4, cuts), cells = call.internal(n, 1, cuts);
  if (n.recording()) kept = Tensor::empty({kernels::lstm::reserve_size(shape)}, x.dtype());
  Tensor products;
  if (call.by_ids()) {
    const Tensor& weight_ih = inputs[in::weight_ih].value();
    products = Tensor::empty({x.size(0), weight_ih.size(0)}, x.dtype());
    kernels::gemm(Transpose::no, Transpose::yes, 1, x.value(), weight_ih, 0, products);
  }
  dispatch_float(x.dtype(), [&]<class T>(T) {
    kernels::lstm::forward<T>({.shape = shape,
                               .weights = call.weights<T>(),
                               .variant = call.variant<T>(),
                               .x = call.read_x<T>(),
                               .h0 = call.read<T>(in::h0),
                               .c0 = call.read<T>(in::c0),
                               .y = y.mutable_data<T>(),
                               .h_last = h_last.mutable_data<T>(),
                               .c_last = c_last.mutable_data<T>(),
                               .reserve = memory<T>(kept),
                               .gates = memory<T>(gates),
                               .cells = memory<T>(cells),
                               .table = memory<T>(products),
                               .ids = call.read<std::int32_t>(in::ids)});
  });
  const Tensor packed_y = packing.packed() ? y : Tensor();
  const Var all = n.out(packing.unpack(y));
  const LSTMState last{n.out(packing.unsort(h_last)), n.out(packing.unsort(c_last))};
  if (!n.recording()) return {all, last};
  if (gates.defined()) {
    gates = packing.unpack(gates), cells = packing.unpack(cells);
    if (cuts) {
      n.branch([&] {
        return kernels::beyond(uncut_cells(call, gates, cells), -call.cell_clip, call.cell_clip);
      });
    }
    if (n.wants(Interest::internals)) n.report("gates", gates), n.report("cells", cells);
  }
  // The reserve is captured as a Tensor, not as a Var: nobody but this rule can see it, and the rule
  // overwrites it when it runs for the last time.
  n.rule([call = std::move(call), all, y = packed_y, reserve = std::move(kept)](Grads& g) mutable {
    if (g.graph()) {
      return g.through(
          [steps = call.steps, cell_clip = call.cell_clip,
           gradient_clip = call.gradient_clip](const Vars& v) {
            const Var& ids = v[in::ids];
            const auto mask = [&](std::size_t i) {
              return v[i].defined() ? v[i].value() : Tensor();
            };
            const LSTMResult r = lstm_composed(
                ids.defined() ? embedding(v[in::x], ids.value()) : v[in::x], {v[in::h0], v[in::c0]},
                {v[in::weight_ih], v[in::weight_hh], v[in::bias_ih], v[in::bias_hh]}, steps,
                {.recurrent_mask = mask(in::recurrent_mask),
                 .zoneout_h = mask(in::zoneout_h),
                 .gradient_clip = gradient_clip,
                 .zoneout_c = mask(in::zoneout_c),
                 .peephole = v[in::peephole],
                 .cell_clip = cell_clip});
            return Vars{r.y, r.last.h, r.last.c};
          },
          {call.inputs.begin(), call.inputs.end()});
    }
    const Tensor seen = y.defined() ? y : all.value();  // the Var notices a change
    const std::array<Tensor, in::count> d = dispatch_float(
        all.dtype(), [&]<class T>(T) { return backward<T>(call, seen, reserve, g); });
    for (std::size_t i = 0; i < in::count; ++i) {
      if (d[i].defined()) g.add(i, d[i]);
    }
  });
  return {all, last};
}

void check_call(std::string_view op, const Var& x, const LSTMState& state, const LSTMWeights& w,
                const Steps& steps, const RecurrentVariant& variant) {
  check::defined(op, {{"x", x},
                      {"state.h", state.h},
                      {"state.c", state.c},
                      {"weights.ih", w.ih},
                      {"weights.hh", w.hh}});
  check_sizes(op, x.shape(), state, w);
  check::real(op, "x", x.dtype());
  recurrent::check_lengths(op, steps, x.shape());
  check::variant(op, x.shape(), w.hh.size(1), x.dtype(), variant);
}

Inputs inputs_of(const Var& x, const Tensor& ids, const LSTMState& state, const LSTMWeights& w,
                 const RecurrentVariant& v) {
  const auto constant = [](const Tensor& t) { return t.defined() ? Var(t) : Var(); };
  return {x,
          state.h,
          state.c,
          w.ih,
          w.hh,
          w.bias_ih,
          w.bias_hh,
          v.peephole,
          constant(v.recurrent_mask),
          constant(v.zoneout_h),
          constant(v.zoneout_c),
          constant(ids)};
}

}  // namespace

LSTMResult lstm(const Var& x, const LSTMState& state, const LSTMWeights& w, const Steps& steps,
                const RecurrentVariant& variant) {
  check_call("lstm", x, state, w, steps, variant);
  return record({"lstm", inputs_of(x, {}, state, w, variant), steps, variant});
}

LSTMResult embedding_lstm(const Var& table, const Tensor& ids, const LSTMState& state,
                          const LSTMWeights& w, const Steps& steps,
                          const RecurrentVariant& variant) {
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
  const Shape x = ids.shape().inserted(ids.rank(), table.size(1));
  check_sizes(op, x, state, w);
  check::real(op, "table", table.dtype());
  const Tensor valid = recurrent::valid_ids(op, ids, steps);
  check::ids(op, valid, table.size(0));
  check::variant(op, x, w.hh.size(1), table.dtype(), variant);
  if (table.size(0) >= ids.numel()) return lstm(embedding(table, valid), state, w, steps, variant);
  return record({op, inputs_of(table, valid, state, w, variant), steps, variant});
}

LSTMResult lstm_composed(const Var& x, const LSTMState& state, const LSTMWeights& w,
                         const Steps& steps, const RecurrentVariant& v) {
  check_call("lstm_composed", x, state, w, steps, v);
  const bool plain = !v.recurrent_mask.defined() && !v.zoneout_h.defined() &&
                     !v.zoneout_c.defined() && !v.peephole.defined() && v.cell_clip == 0 &&
                     v.gradient_clip == 0;
  const Unrolled<Vars> r = recurrent::unroll(
      x, {state.h, state.c}, steps,
      [&](const Var& x_t, const Vars& s, const recurrent::At& at) -> Vars {
        const auto [h, c] = plain ? lstm_cell(x_t, {s[0], s[1]}, w) : varied(x_t, s, at, w, v);
        return {h, c};
      });
  return {r.y, {r.last[0], r.last[1]}};
}

}  // namespace tapegrad
