#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../oracles/naive_lstm.h"
#include "is_worse.h"

/// LSTM problems for tests: a stack of layers, data, and a loss that sees y, h_T, c_T or all of
/// them.
namespace tapegrad::testing {

struct LstmCase {
  std::size_t steps = 3, batch = 2, input = 2, hidden = 3, layers = 1;
  Loss loss = Loss::all;
  DType dtype = DType::float64;
  double dropout = 0;
  LSTMBias bias = LSTMBias::two;
  std::uint64_t seed = 1;
};

struct NamedValue {
  std::string name;
  Tensor value;
};

struct LstmProblem {
  LSTM model;
  Tensor x, h0, c0;
  Tensor wy, wh, wc;  // weights of the loss

  explicit LstmProblem(const LstmCase& c) {
    Rng rng(c.seed, "lstm case");
    model = LSTM({.input = c.input,
                  .hidden = c.hidden,
                  .layers = c.layers,
                  .dropout = c.dropout,
                  .bias = c.bias,
                  .init = LSTMInit::torch,
                  .dtype = c.dtype},
                 rng);
    const Shape state{c.layers, c.batch, c.hidden};
    x = rng.normal({c.steps, c.batch, c.input}, 0, 1, c.dtype);
    h0 = rng.uniform(state, -1, 1, c.dtype);
    c0 = rng.normal(state, 0, 1, c.dtype);
    const auto weights = [&](const Shape& shape, bool on) {
      return on ? rng.normal(shape, 0, 1, c.dtype) : Tensor::zeros(shape, c.dtype);
    };
    wy = weights({c.steps, c.batch, c.hidden}, c.loss == Loss::y || c.loss == Loss::all);
    wh = weights(state, c.loss == Loss::h || c.loss == Loss::all);
    wc = weights(state, c.loss == Loss::c || c.loss == Loss::all);
  }

  Var loss_of(const LSTMResult& r, Loss which) const {
    const Var y = sum(r.y * Var(wy)), h = sum(r.last.h * Var(wh)), c = sum(r.last.c * Var(wc));
    switch (which) {
      case Loss::y:
        return y;
      case Loss::h:
        return h;
      case Loss::c:
        return c;
      case Loss::all:
        break;
    }
    return y + h + c;
  }

  /// y, h_T, c_T, and the gradients of the loss for x, h0, c0 and all Parameters.
  std::vector<NamedValue> solve(bool fused, Loss which, std::uint64_t seed = 5) {
    Tape tape = Tape::training({.seed = seed, .pass = 0});
    Vars leaves = {tape.leaf(x), tape.leaf(h0), tape.leaf(c0)};
    std::vector<std::string> names = {"dx", "dh0", "dc0"};
    for (const NamedParameter& p : parameters(model)) {
      leaves.push_back(tape.leaf(p));
      names.push_back("d" + p.name);
    }
    const LSTMState state{leaves[1], leaves[2]};
    const LSTMResult r =
        fused ? model(tape, leaves[0], state) : model.composed(tape, leaves[0], state);
    std::vector<NamedValue> result = {
        {"y", r.y.value()}, {"h_T", r.last.h.value()}, {"c_T", r.last.c.value()}};
    const Vars gradients = tape.gradient(loss_of(r, which), leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i)
      result.push_back({names[i], gradients[i].value()});
    return result;
  }
};

inline double largest(const Tensor& t) {
  double m = 0;
  for (std::size_t i = 0; i < t.numel(); ++i) {
    if (is_worse(std::abs(t.at(i)), m)) m = std::abs(t.at(i));
  }
  return m;
}

/// Worst max|a - ref| / max|ref|, per tensor, and per time step for y and dx; slices without a
/// gradient, all below `least`, where `a` must have none either, are counted.
struct Deviation {
  double least = 1e-30;
  double worst = 0;
  std::string where;
  std::size_t excluded = 0;

  void compare(const std::string& name, const Tensor& a, const Tensor& ref) {
    const double scale = largest(ref);
    if (scale < least) {
      ++excluded;
      if (!is_worse(largest(a), 10 * least)) return;
    }
    double difference = 0;
    for (std::size_t i = 0; i < ref.numel(); ++i) {
      const double d = std::abs(a.at(i) - ref.at(i));
      if (is_worse(d, difference)) difference = d;
    }
    if (is_worse(difference / scale, worst)) {
      worst = difference / scale;
      where = name;
    }
  }
  void compare(const std::vector<NamedValue>& a, const std::vector<NamedValue>& ref) {
    for (std::size_t i = 0; i < ref.size(); ++i) {
      compare(ref[i].name, a[i].value, ref[i].value);
      if (ref[i].name != "y" && ref[i].name != "dx") continue;
      for (std::size_t t = 0; t < ref[i].value.size(0); ++t) {
        compare(ref[i].name + " at t = " + std::to_string(t), a[i].value.row(t),
                ref[i].value.row(t));
      }
    }
  }
};

}  // namespace tapegrad::testing
