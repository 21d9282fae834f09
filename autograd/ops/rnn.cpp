#include "rnn.h"

#include "cells-inl.h"
#include "elementwise.h"
#include "matrix.h"

namespace tapegrad {
namespace {

Var tanh_step(const Var& x, const Var& h, const RecurrentWeights& weights) {
  return rnn_cell(x, h, weights, RNNNonlinearity::tanh);
}
Var relu_step(const Var& x, const Var& h, const RecurrentWeights& weights) {
  return rnn_cell(x, h, weights, RNNNonlinearity::relu);
}

}  // namespace

RNNResult rnn(const Var& x, const Var& h, const RecurrentWeights& weights, RNNNonlinearity phi) {
  const bool relu = phi == RNNNonlinearity::relu;
  return recurrent::fused("rnn", "RNN",
                          relu ? kernels::cells::Cell::rnn_relu : kernels::cells::Cell::rnn_tanh,
                          relu ? relu_step : tanh_step, x, h, weights);
}

RNNResult rnn_composed(const Var& x, const Var& h, const RecurrentWeights& weights,
                       RNNNonlinearity phi) {
  return recurrent::composed(phi == RNNNonlinearity::relu ? relu_step : tanh_step, x, h, weights);
}

Var rnn_cell(const Var& x, const Var& h, const RecurrentWeights& w, RNNNonlinearity phi) {
  recurrent::check_step({"rnn_cell", "RNN", 1}, x, h, w);
  const Var a = linear(x, w.ih, w.bias_ih) + linear(h, w.hh, w.bias_hh);
  return phi == RNNNonlinearity::relu ? relu(a) : tanh(a);
}

}  // namespace tapegrad
