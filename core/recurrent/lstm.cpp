#include "lstm.h"

#include <algorithm>
#include <cstddef>

#include "../flush_subnormals-inl.h"
#include "lstm_step-inl.h"
#include "products-inl.h"

// The recurrence of lstm.h: what one step does (lstm_step-inl.h), run by the schedule that all
// cells share.
//
// Forward: step by step the products of x_t and h_{t-1} with the weights, and the elements as soon
// as their sums are there. Backward: da_t and dh_{t-1} = da_t W_hh step by step, the other way
// round. Then dx = da W_ih, dW_ih = da^T x, dW_hh = da^T h_before and db = sum of da, each over all
// N rows at once.

namespace tapegrad::kernels::lstm {
namespace {

/// The three matrices of `reserve`, one after the other; null if there is none.
template <class T>
struct Reserve {
  T* gates =
      nullptr;  // (N, 4H): i, f, g, o as kept_gate-inl.h keeps them; backward may put da here
  T* c_before = nullptr;  // (N, H): c_{t-1}
  T* tanh_c = nullptr;    // (N, H): tanh(c~_t), likewise kept

  Reserve(T* base, std::size_t N, std::size_t H) {
    if (base == nullptr) return;
    gates = base;
    c_before = gates + N * 4 * H;
    tanh_c = c_before + N * H;
  }
};

Columns columns(const Shape& shape) { return {shape.input, shape.hidden, 4 * shape.hidden}; }

/// True if the elements of a step are to be computed with variants. Asked while subnormal numbers
/// count as 0.
template <class T>
bool concerns_elements(const Weights<T>& weights, const Variant<T>& variant) {
  return weights.peephole != nullptr || variant.zoneout_h != nullptr ||
         variant.zoneout_c != nullptr || variant.cell_clip > 0 || variant.gradient_clip > 0;
}

// In this file alone: g++ warns of lambdas in exported functions that hold types which are not.

template <class T>
void run(const Forward<T>& call) {
  const FlushSubnormals guard;
  const std::size_t H = call.shape.hidden, G = 4 * H;
  const Schedule schedule(call.shape.sequence);
  const std::size_t states = schedule.batch() * H;
  const Running<T> c(call.c0, states, call.c_last);
  const Scratch<T> zeros(call.h0 == nullptr ? states : 0);
  const T* const h0 = call.h0 != nullptr ? call.h0 : zeros.get();
  std::fill_n(zeros.get(), call.h0 == nullptr ? states : 0, T{0});
  const Reserve<T> reserve(call.reserve, schedule.rows(), H);
  const PreActivations<T> a(schedule, columns(call.shape),
                            {.weight_ih = call.weights.weight_ih,
                             .weight_hh = call.weights.weight_hh,
                             .mask = call.variant.recurrent_mask,
                             .x = call.x,
                             .table = call.table,
                             .ids = call.ids},
                            reserve.gates);
  const Scratch<T> bias(G);  // b_ih + b_hh
  copy_or_zero(call.weights.bias_ih, G, bias.get());
  if (call.weights.bias_hh != nullptr) {
    for (std::size_t n = 0; n < G; ++n) bias[n] += call.weights.bias_hh[n];
  }
  const bool with_variant = concerns_elements(call.weights, call.variant);

  schedule.run_forward(
      a.work(), [&](const Chunk& chunk, Part part) { a.project(chunk, part); },
      [&](const Chunk& chunk, const Rows& rows, Part units) {
        const StepForward<T> step{.hidden = H,
                                  .bias = bias.get(),
                                  .h_before = rows.state_before(call.y, h0, H),
                                  .c = rows.in_state(c.get(), H),
                                  .y = rows.in(call.y, H),
                                  .gates = rows.in(reserve.gates, G),
                                  .c_before = rows.in(reserve.c_before, H),
                                  .tanh_c = rows.in(reserve.tanh_c, H),
                                  .exported_gates = rows.in(call.gates, G),
                                  .exported_c = rows.in(call.cells, H)};
        a.compute(chunk, rows, units, step.h_before, [&](const GateSums<T>& sums) {
          if (with_variant) {
            step_forward(step, sums, call.weights.peephole, call.variant, rows.first);
          } else {
            step_forward(step, sums);
          }
        });
      });
  if (call.h_last != nullptr) last_states(schedule, H, call.y, h0, call.h_last);
}

template <class T>
void run(const Backward<T>& call) {
  const FlushSubnormals guard;
  const std::size_t H = call.shape.hidden, G = 4 * H;
  const Schedule schedule(call.shape.sequence);
  const std::size_t states = schedule.batch() * H, N = schedule.rows();
  const Running<T> dh(call.dh_last, states);
  const Running<T> dc(call.dc_last, states);
  const Reserve<T> reserve(call.reserve, N, H);
  const Wanted<T> all_da(call.dgates != nullptr       ? call.dgates
                         : call.may_overwrite_reserve ? reserve.gates
                                                      : nullptr,
                         N * G);
  const StateGradient<T> to_state(schedule, columns(call.shape), call.weights.weight_hh,
                                  call.variant.recurrent_mask);
  // Of each row, so that no two threads add to the same number.
  const std::size_t parts = call.dpeephole != nullptr ? schedule.batch() : 0;
  const Scratch<double> dpeephole(parts * 3 * H);
  std::fill_n(dpeephole.get(), parts * 3 * H, 0.0);
  const bool with_variant = concerns_elements(call.weights, call.variant);

  schedule.run_backward(
      to_state.work(),
      [&](const Rows& rows, Part part) {
        const StepBackward<T> step{.rows = rows.count,
                                   .units = to_state.units(part),
                                   .hidden = H,
                                   .gates = rows.in(reserve.gates, G),
                                   .c_before = rows.in(reserve.c_before, H),
                                   .tanh_c = rows.in(reserve.tanh_c, H),
                                   .dy = rows.in(call.dy, H),
                                   .dh = rows.in_state(dh.get(), H),
                                   .dc = rows.in_state(dc.get(), H),
                                   .da = rows.in(all_da.get(), G),
                                   .whole_dh = rows.in(call.dh, H),
                                   .whole_dc = rows.in(call.dc, H)};
        if (with_variant) {
          double* own = parts > 0 ? dpeephole.get() + rows.in_batch * 3 * H : nullptr;
          step_backward(step, call.weights.peephole, call.variant, rows.first, own);
        } else {
          step_backward(step);
        }
      },
      [&](const Rows& rows, Part part) {
        if (rows.begin && call.dh0 == nullptr) return;
        to_state.compute(rows.in(all_da.get(), G), rows, part, dh.get(), with_variant);
      });

  for (std::size_t n = 0; n < states; ++n) {
    if (call.dh0 != nullptr) deliver(dh.get()[n], call.accumulate, call.dh0[n]);
    if (call.dc0 != nullptr) deliver(dc.get()[n], call.accumulate, call.dc0[n]);
  }
  for (std::size_t n = 0; n < 3 * H && parts > 0; ++n) {
    double total = 0;
    for (std::size_t part = 0; part < parts; ++part) total += dpeephole[part * 3 * H + n];
    deliver(static_cast<T>(total), call.accumulate, call.dpeephole[n]);
  }
  const Scratch<T> h_before(call.dweight_hh != nullptr ? N * H : 0);
  if (call.dweight_hh != nullptr) {
    states_before(schedule, H, call.y, call.h0, call.variant.recurrent_mask, h_before.get());
  }
  multiply_merged<T>({.rows = N,
                      .columns = columns(call.shape),
                      .weight_ih = call.weights.weight_ih,
                      .x = call.x,
                      .h_before = h_before.get(),
                      .da = all_da.get(),
                      .da_hidden = all_da.get(),
                      .accumulate = call.accumulate,
                      .dx = call.dx,
                      .dweight_ih = call.dweight_ih,
                      .dweight_hh = call.dweight_hh,
                      .dbias = call.dbias,
                      .dtable = call.dtable,
                      .table_rows = call.table_rows,
                      .ids = call.ids});
}

}  // namespace

std::size_t reserve_size(const Shape& shape) {
  return rows(shape.sequence) * (4 + 1 + 1) * shape.hidden;
}

template <class T>
void forward(const Forward<T>& call) {
  run(call);
}
template <class T>
void backward(const Backward<T>& call) {
  run(call);
}

template void forward(const Forward<float>&);
template void forward(const Forward<double>&);
template void backward(const Backward<float>&);
template void backward(const Backward<double>&);

}  // namespace tapegrad::kernels::lstm
