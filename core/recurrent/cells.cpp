#include "cells.h"

#include <algorithm>
#include <cstddef>

#include "../flush_subnormals-inl.h"
#include "cells_step-inl.h"
#include "products-inl.h"

// The recurrences of cells.h: what one step does (cells_step-inl.h), run by the schedule that all
// cells share, as in lstm.cpp.

namespace tapegrad::kernels::cells {
namespace {

/// The matrices of `reserve`, one after the other; null if there is none.
template <class T>
struct Reserve {
  T* gates = nullptr;  // (N, G): as kept_gate-inl.h keeps them; backward may put da here
  T* apart = nullptr;  // (N, H): W_hh (m * h_{t-1}) + b_hh of the block that is apart

  Reserve(T* base, std::size_t N, std::size_t G, bool has_apart) {
    if (base == nullptr) return;
    gates = base;
    if (has_apart) apart = gates + N * G;
  }
};

/// h_0, where the caller's may be null.
template <class T>
class Initial {
 public:
  Initial(const T* h0, std::size_t count)
      : zeros_(h0 == nullptr ? count : 0), data_(h0 != nullptr ? h0 : zeros_.get()) {
    if (h0 == nullptr) std::fill_n(zeros_.get(), count, T{0});
  }
  const T* get() const { return data_; }

 private:
  Scratch<T> zeros_;
  const T* data_;
};

/// StepForward's bias.
template <class T>
void join_biases(const Weights<T>& weights, std::size_t G, std::size_t apart, T* bias) {
  copy_or_zero(weights.bias_ih, G, bias);
  std::fill_n(bias + G, apart, T{0});
  for (std::size_t n = 0; n < G && weights.bias_hh != nullptr; ++n) {
    bias[n < G - apart ? n : n + apart] += weights.bias_hh[n];
  }
}

// In this file alone: g++ warns of lambdas in exported functions that hold types which are not.

template <class T>
void run(const StepTable<T>& cell, const Forward<T>& call) {
  const FlushSubnormals guard;
  const std::size_t H = call.shape.hidden, G = cell.gates * H;
  const Schedule schedule(call.shape.sequence);
  const Initial<T> h0(call.h0, schedule.batch() * H);
  const Reserve<T> reserve(call.reserve, schedule.rows(), G, cell.apart);
  const PreActivations<T> a(schedule, {call.shape.input, H, G},
                            {.weight_ih = call.weights.weight_ih,
                             .weight_hh = call.weights.weight_hh,
                             .mask = call.variant.recurrent_mask,
                             .x = call.x,
                             .apart = cell.apart > 0},
                            reserve.gates);
  const Scratch<T> bias(G + cell.apart * H);
  join_biases(call.weights, G, cell.apart * H, bias.get());

  schedule.run_forward(
      a.work(), [&](const Chunk& chunk, Part part) { a.project(chunk, part); },
      [&](const Chunk& chunk, const Rows& rows, Part units) {
        const StepForward<T> step{.hidden = H,
                                  .bias = bias.get(),
                                  .inputs = cell.apart > 0 ? a.inputs(chunk, rows) : nullptr,
                                  .h_before = rows.state_before(call.y, h0.get(), H),
                                  .zoneout = rows.in(call.variant.zoneout, H),
                                  .y = rows.in(call.y, H),
                                  .gates = rows.in(reserve.gates, G),
                                  .apart = rows.in(reserve.apart, H),
                                  .exported_gates = rows.in(call.gates, G)};
        a.compute(chunk, rows, units, step.h_before,
                  [&](const GateSums<T>& sums) { cell.forward(step, sums); });
      });
  if (call.h_last != nullptr) last_states(schedule, H, call.y, h0.get(), call.h_last);
}

template <class T>
void run(const StepTable<T>& cell, const Backward<T>& call) {
  const FlushSubnormals guard;
  const std::size_t H = call.shape.hidden, G = cell.gates * H;
  const Columns columns{call.shape.input, H, G};
  const Schedule schedule(call.shape.sequence);
  const std::size_t states = schedule.batch() * H, N = schedule.rows();
  const Initial<T> h0(call.h0, states);
  const Running<T> dh(call.dh_last, states);
  const Reserve<T> reserve(call.reserve, N, G, cell.apart);
  const Wanted<T> all_da(call.dgates != nullptr       ? call.dgates
                         : call.may_overwrite_reserve ? reserve.gates
                                                      : nullptr,
                         N * G);
  const Wanted<T> all_da_hidden(cell.apart > 0 ? nullptr : all_da.get(), N * G);
  const StateGradient<T> to_state(schedule, columns, call.weights.weight_hh,
                                  call.variant.recurrent_mask);
  const bool carries = cell.carries || call.variant.zoneout != nullptr;

  schedule.run_backward(
      to_state.work(),
      [&](const Rows& rows, Part part) {
        cell.backward({.rows = rows.count,
                       .units = to_state.units(part),
                       .hidden = H,
                       .gates = rows.in(reserve.gates, G),
                       .apart = rows.in(reserve.apart, H),
                       .h_before = rows.state_before(call.y, h0.get(), H),
                       .zoneout = rows.in(call.variant.zoneout, H),
                       .gradient_clip = call.variant.gradient_clip,
                       .dy = rows.in(call.dy, H),
                       .dh = rows.in_state(dh.get(), H),
                       .da = rows.in(all_da.get(), G),
                       .da_hidden = rows.in(all_da_hidden.get(), G),
                       .whole_dh = rows.in(call.dh, H)});
      },
      [&](const Rows& rows, Part part) {
        if (rows.begin && call.dh0 == nullptr) return;
        to_state.compute(rows.in(all_da_hidden.get(), G), rows, part, dh.get(), carries);
      });

  for (std::size_t n = 0; n < states && call.dh0 != nullptr; ++n) {
    deliver(dh.get()[n], call.accumulate, call.dh0[n]);
  }
  const Scratch<T> h_before(call.dweight_hh != nullptr ? N * H : 0);
  if (call.dweight_hh != nullptr) {
    states_before(schedule, H, call.y, call.h0, call.variant.recurrent_mask, h_before.get());
  }
  multiply_merged<T>({.rows = N,
                      .columns = columns,
                      .weight_ih = call.weights.weight_ih,
                      .x = call.x,
                      .h_before = h_before.get(),
                      .da = all_da.get(),
                      .da_hidden = all_da_hidden.get(),
                      .accumulate = call.accumulate,
                      .dx = call.dx,
                      .dweight_ih = call.dweight_ih,
                      .dweight_hh = call.dweight_hh,
                      .dbias = call.dbias_ih,
                      .dbias_hidden = call.dbias_hh});
}

}  // namespace

std::size_t gate_count(Cell cell) { return step_table<double>(cell).gates; }

std::size_t reserve_size(Cell cell, const Shape& shape) {
  const StepTable<double>& s = step_table<double>(cell);
  return rows(shape.sequence) * (s.gates + s.apart) * shape.hidden;
}

template <class T>
void forward(Cell cell, const Forward<T>& call) {
  run(step_table<T>(cell), call);
}
template <class T>
void backward(Cell cell, const Backward<T>& call) {
  run(step_table<T>(cell), call);
}

template void forward(Cell, const Forward<float>&);
template void forward(Cell, const Forward<double>&);
template void backward(Cell, const Backward<float>&);
template void backward(Cell, const Backward<double>&);

}  // namespace tapegrad::kernels::cells
