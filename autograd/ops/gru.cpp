#include "gru.h"

#include "cells-inl.h"
#include "elementwise.h"
#include "matrix.h"
#include "shape.h"

namespace tapegrad {
namespace {

Var step_after(const Var& x, const Var& h, const RecurrentWeights& weights) {
  return gru_cell(x, h, weights, GRUReset::after);
}
Var step_before(const Var& x, const Var& h, const RecurrentWeights& weights) {
  return gru_cell(x, h, weights, GRUReset::before);
}

}  // namespace

GRUResult gru(const Var& x, const Var& h, const RecurrentWeights& weights) {
  return recurrent::fused("gru", "GRU", kernels::cells::Cell::gru, step_after, x, h, weights);
}

GRUResult gru_composed(const Var& x, const Var& h, const RecurrentWeights& weights,
                       GRUReset reset) {
  return recurrent::composed(reset == GRUReset::after ? step_after : step_before, x, h, weights);
}

Var gru_cell(const Var& x, const Var& h, const RecurrentWeights& w, GRUReset reset) {
  recurrent::check_step({"gru_cell", "GRU", 3}, x, h, w);
  const auto [u_r, u_z, u_n] = split<3>(linear(x, w.ih, w.bias_ih), 1);
  if (reset == GRUReset::after) {
    const auto [s_r, s_z, s_n] = split<3>(linear(h, w.hh, w.bias_hh), 1);
    const Var r = sigmoid(u_r + s_r);   // how much of the old state the candidate sees
    const Var z = sigmoid(u_z + s_z);   // how much of the old state stays
    const Var n = tanh(u_n + r * s_n);  // the candidate
    return (1.0 - z) * n + z * h;
  }
  const std::size_t H = w.hh.size(1);
  const Vars weight = split(w.hh, {2 * H, H}, 0);
  const Vars bias = w.bias_hh.defined() ? split(w.bias_hh, {2 * H, H}, 0) : Vars(2);
  const auto [s_r, s_z] = split<2>(linear(h, weight[0], bias[0]), 1);
  const Var r = sigmoid(u_r + s_r), z = sigmoid(u_z + s_z);
  const Var n = tanh(u_n + linear(r * h, weight[1], bias[1]));
  return (1.0 - z) * n + z * h;
}

}  // namespace tapegrad
