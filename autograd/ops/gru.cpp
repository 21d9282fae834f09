#include "gru.h"

#include "cells-inl.h"
#include "elementwise.h"
#include "matrix.h"
#include "shape.h"

namespace tapegrad {
namespace {

/// (1 - z) n + z h with z = sigmoid(a_z). 1 - z is sigmoid(-a_z): the difference from a rounded z is
/// wrong near 1.
Var update(const Var& a_z, const Var& n, const Var& h) {
  return sigmoid(-a_z) * n + sigmoid(a_z) * h;
}

Var step_after(const Var& x, const Var& h, const Var& seen, const RecurrentWeights& w,
               double gradient_clip) {
  const auto cut = [&](const Var& a) { return recurrent::cut_gradient(a, gradient_clip); };
  const auto [u_r, u_z, u_n] = split<3>(linear(x, w.ih, w.bias_ih), 1);
  const auto [s_r, s_z, s_n] = split<3>(linear(seen, w.hh, w.bias_hh), 1);
  const Var r = sigmoid(cut(u_r + s_r));   // how much of the old state the candidate sees
  const Var a_z = cut(u_z + s_z);          // how much of the old state stays
  const Var n = tanh(cut(u_n + r * s_n));  // the candidate
  return update(a_z, n, h);
}

Var step_before(const Var& x, const Var& h, const Var& seen, const RecurrentWeights& w,
                double gradient_clip) {
  const auto cut = [&](const Var& a) { return recurrent::cut_gradient(a, gradient_clip); };
  const std::size_t H = w.hh.size(1);
  const auto [u_r, u_z, u_n] = split<3>(linear(x, w.ih, w.bias_ih), 1);
  const Vars weight = split(w.hh, {2 * H, H}, 0);
  const Vars bias = w.bias_hh.defined() ? split(w.bias_hh, {2 * H, H}, 0) : Vars(2);
  const auto [s_r, s_z] = split<2>(linear(seen, weight[0], bias[0]), 1);
  const Var r = sigmoid(cut(u_r + s_r)), a_z = cut(u_z + s_z);
  const Var n = tanh(cut(u_n + linear(r * seen, weight[1], bias[1])));
  return update(a_z, n, h);
}

recurrent::Step step_of(GRUReset reset) {
  return reset == GRUReset::after ? step_after : step_before;
}

}  // namespace

GRUResult gru(const Var& x, const Var& h, const RecurrentWeights& weights, const Steps& steps,
              const RecurrentVariant& variant) {
  return recurrent::fused("gru", "GRU", kernels::cells::Cell::gru, step_after, x, h, weights, steps,
                          variant);
}

GRUResult gru_composed(const Var& x, const Var& h, const RecurrentWeights& weights, GRUReset reset,
                       const Steps& steps, const RecurrentVariant& variant) {
  recurrent::check_call({"gru_composed", "GRU", 3}, x, h, weights, steps, variant);
  return recurrent::composed(step_of(reset), x, h, weights, steps, variant);
}

Var gru_cell(const Var& x, const Var& h, const RecurrentWeights& weights, GRUReset reset) {
  recurrent::check_step({"gru_cell", "GRU", 3}, x, h, weights);
  return step_of(reset)(x, h, h, weights, 0);
}

}  // namespace tapegrad
