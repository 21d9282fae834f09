#include "rnn.h"

#include "cells-inl.h"
#include "elementwise.h"
#include "matrix.h"

namespace tapegrad {
namespace {

Var pre_activation(const Var& x, const Var& seen, const RecurrentWeights& w, double gradient_clip) {
  return recurrent::cut_gradient(linear(x, w.ih, w.bias_ih) + linear(seen, w.hh, w.bias_hh),
                                 gradient_clip);
}
Var tanh_step(const Var& x, const Var&, const Var& seen, const RecurrentWeights& weights,
              double gradient_clip) {
  return tanh(pre_activation(x, seen, weights, gradient_clip));
}
Var relu_step(const Var& x, const Var&, const Var& seen, const RecurrentWeights& weights,
              double gradient_clip) {
  return relu(pre_activation(x, seen, weights, gradient_clip));
}
recurrent::Step step_of(RNNNonlinearity phi) {
  return phi == RNNNonlinearity::relu ? relu_step : tanh_step;
}

}  // namespace

RNNResult rnn(const Var& x, const Var& h, const RecurrentWeights& weights, RNNNonlinearity phi,
              const Steps& steps, const RecurrentVariant& variant) {
  using kernels::cells::Cell;
  return recurrent::fused("rnn", "RNN",
                          phi == RNNNonlinearity::relu ? Cell::rnn_relu : Cell::rnn_tanh,
                          step_of(phi), x, h, weights, steps, variant);
}

RNNResult rnn_composed(const Var& x, const Var& h, const RecurrentWeights& weights,
                       RNNNonlinearity phi, const Steps& steps, const RecurrentVariant& variant) {
  recurrent::check_call({"rnn_composed", "RNN", 1}, x, h, weights, steps, variant);
  return recurrent::composed(step_of(phi), x, h, weights, steps, variant);
}

Var rnn_cell(const Var& x, const Var& h, const RecurrentWeights& weights, RNNNonlinearity phi) {
  recurrent::check_step({"rnn_cell", "RNN", 1}, x, h, weights);
  return step_of(phi)(x, h, h, weights, 0);
}

}  // namespace tapegrad
