// Covers layers/recurrent/truncation_bias: a linear recurrence whose truncated gradient is known in
// closed form, an LSTM beside a loop by hand, and what the measure must leave as it is.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../../layers/dropout.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/recurrent.h"
#include "../../layers/recurrent/truncation_bias.h"
#include "../support/message.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr DType real = DType::float64;

/// h_t = w h_{t-1} + u x_t, of one unit.
struct LinearCell {
  Parameter w, u;  // (1)
  Var zero_state(std::size_t batch) const { return Tensor::zeros({batch, 1}, real); }
  Var operator()(Tape& tape, const Var& x, const Var& h) const {
    return tape.leaf(w) * h + tape.leaf(u) * x;
  }
  void visit(auto&& v) {
    v("w", w);
    v("u", u);
  }
};

struct LinearProblem {
  double w, u, h0;
  std::vector<double> x, weights;  // the loss is the sum of weights[t] h[t]

  Recurrent<LinearCell> model() const {
    return Recurrent(LinearCell{Parameter(Tensor::from<double>({1}, {w})),
                                Parameter(Tensor::from<double>({1}, {u}))});
  }
  TruncationBias bias(const TruncatedBPTTOptions& options) const {
    const auto layer = model();
    const Tensor inputs = Tensor::from({x.size(), std::size_t{1}, std::size_t{1}}, x);
    const Tensor all = Tensor::from({x.size(), std::size_t{1}, std::size_t{1}}, weights);
    const auto loss = [&](Tape&, const Var& y, std::size_t begin) {
      return sum(y * Var(all.slice(begin, begin + y.size(0))));
    };
    return truncation_bias(layer, Var(Tensor::full({1, 1}, h0, real)), inputs, loss,
                           parameters(layer), options);
  }
  /// d loss / d (w, u), where the gradient of h[t] goes back to h[from(t)], a constant:
  ///   d h[t] / d w = sum over from(t) <= j <= t of w^(t-j) h[j-1],   d u: w^(t-j) x[j].
  std::vector<double> gradient(const std::function<std::size_t(std::size_t)>& from) const {
    std::vector<double> h = {h0};  // h[j]: before step j
    for (std::size_t j = 0; j < x.size(); ++j) h.push_back(w * h[j] + u * x[j]);
    double dw = 0, du = 0;
    for (std::size_t t = 0; t < x.size(); ++t) {
      for (std::size_t j = from(t); j <= t; ++j) {
        const double factor = weights[t] * std::pow(w, static_cast<double>(t - j));
        dw += factor * h[j];
        du += factor * x[j];
      }
    }
    return {dw, du};
  }
};

struct Expected {
  double cosine, error, norm;
};

Expected expected(const std::vector<double>& g, const std::vector<double>& f) {
  double gg = 0, ff = 0, gf = 0, dd = 0;
  for (std::size_t k = 0; k < g.size(); ++k) {
    gg += g[k] * g[k];
    ff += f[k] * f[k];
    gf += g[k] * f[k];
    dd += (g[k] - f[k]) * (g[k] - f[k]);
  }
  return {gf / std::sqrt(gg * ff), std::sqrt(dd / ff), std::sqrt(ff)};
}

void check(const TruncatedGradient& found, const std::string& name, const std::vector<double>& g,
           const std::vector<double>& f) {
  const auto [cosine, error, norm] = expected(g, f);
  CHECK(found.name == name);
  CHECK(std::fabs(found.cosine - cosine) < 1e-14);
  CHECK(std::fabs(found.error - error) < 1e-14 * (1 + error));
  CHECK(std::fabs(found.norm - norm) < 1e-14 * (1 + norm));
}

const LinearProblem growing{.w = -0.9,
                            .u = 0.4,
                            .h0 = 0.5,
                            .x = {1, -0.5, 2, 0.25, -1, 3, 0.5, -2},
                            .weights = {0.3, -1, 0.7, 1.5, -0.2, 0.9, 1.1, 0.6}};

}  // namespace

TEST_CASE("truncation_bias: a linear recurrence, in closed form") {
  const std::vector<double> f = growing.gradient([](std::size_t) { return std::size_t{0}; });
  for (const TruncatedBPTTOptions options : std::vector<TruncatedBPTTOptions>{{1, 1, 0},
                                                                              {2, 2, 0},
                                                                              {3, 3, 0},
                                                                              {3, 5, 0},
                                                                              {2, 7, 0},
                                                                              {1, 3, 2},
                                                                              {3, 4, 4},
                                                                              {5, 8, 0}}) {
    CAPTURE(options.k1);
    CAPTURE(options.k2);
    const std::vector<double> g = growing.gradient([&](std::size_t t) {
      const std::size_t begin = t - t % options.k1;
      return begin - std::min(begin, options.context());
    });
    const TruncationBias bias = growing.bias(options);
    check(bias.all, "all", g, f);
    REQUIRE(bias.parameters.size() == 2);
    check(bias.parameters[0], "cell.w", {g[0]}, {f[0]});
    check(bias.parameters[1], "cell.u", {g[1]}, {f[1]});
  }
  // Truncation can turn a gradient's sign: f = 1 - (2 w + x[0]), where windows of one step see
  // 1 - (w + x[0]).
  const LinearProblem turned{.w = 1, .u = 1, .h0 = 1, .x = {-0.5, 0}, .weights = {1, -1}};
  CHECK(turned.bias({.k1 = 1}).parameters[0].cosine == -1);
  CHECK(turned.bias({.k1 = 1}).parameters[0].error == 2);
}

TEST_CASE("truncation_bias: none where gradients flow through all steps") {
  for (const TruncatedBPTTOptions options :
       std::vector<TruncatedBPTTOptions>{{8, 8, 0},
                                         {4, 8, 0},
                                         {3, 11, 0},
                                         {1, 100, 0},
                                         {SIZE_MAX, SIZE_MAX, 0},
                                         {2, SIZE_MAX, SIZE_MAX}}) {
    const TruncationBias bias = growing.bias(options);
    CHECK(std::fabs(bias.all.cosine - 1) < 1e-15);
    CHECK(bias.all.error < 1e-15);
  }
  CHECK(growing.bias({.k1 = 4}).all.error > 0.1);
}

TEST_CASE("truncation_bias: gradients that are almost 0, or large, are compared likewise") {
  const TruncationBias expected = growing.bias({.k1 = 2});
  for (const double factor : {1e-200, 1e200}) {
    LinearProblem scaled = growing;
    for (double& weight : scaled.weights) weight *= factor;
    const TruncationBias bias = scaled.bias({.k1 = 2});
    CHECK(std::fabs(bias.all.cosine - expected.all.cosine) < 1e-14);
    CHECK(std::fabs(bias.all.error - expected.all.error) < 1e-14);
    CHECK(std::fabs(bias.all.norm / factor - expected.all.norm) < 1e-13);
  }
}

TEST_CASE("truncation_bias: gradients that are 0") {
  // f = weights[0] + weights[1] (2 w + x[0]) = 0, where truncation sees weights[0] alone.
  const LinearProblem cancels{.w = 1, .u = 1, .h0 = 1, .x = {-1, 0}, .weights = {1, -1}};
  const TruncationBias bias = cancels.bias({.k1 = 1});
  CHECK(bias.parameters[0].norm == 0);
  CHECK(bias.parameters[0].cosine == 0);
  CHECK(bias.parameters[0].error == std::numeric_limits<double>::infinity());
  CHECK(bias.parameters[1].norm == 0);  // d u: -1 - 1 * (-1 + 0); truncated -1
  const LinearProblem blind{.w = 1, .u = 1, .h0 = 0, .x = {0, 0}, .weights = {1, 1}};
  CHECK(blind.bias({.k1 = 1}).all.cosine == 1);
  CHECK(blind.bias({.k1 = 1}).all.error == 0);
  const LinearProblem lost{.w = 1, .u = 1, .h0 = 0, .x = {1, 0}, .weights = {0, 1}};
  CHECK(lost.bias({.k1 = 1}).parameters[1].cosine == 0);
  CHECK(lost.bias({.k1 = 1}).parameters[1].error == 1);
}

TEST_CASE("truncation_bias: an LSTM beside a loop by hand; nothing of the model is touched") {
  constexpr std::size_t N = 10, B = 2, I = 3, H = 4, k1 = 4;
  Rng rng(1);
  LSTM lstm({.input = I,
             .hidden = H,
             .layers = 2,
             .dropout = 0.5,
             .init = LSTMInit::torch,
             .dtype = real},
            rng);
  const Tensor x = rng.normal({N, B, I}, 0, 1, real), weights = rng.normal({N, B, H}, 0, 1, real);
  Parameters all = parameters(lstm);
  all.with_prefix("bias_hh_l1").freeze();
  all.push_back({"again", all[0]});  // a tie, taken once
  for (const NamedParameter& p : all.with_prefix("weight"))
    p.set_grad(Tensor::full(p.value().shape(), 2, real));
  const ParameterEvents before = all[0].events();
  const auto loss = [&](Tape&, const Var& y, std::size_t begin) {
    return sum(square(y) * Var(weights.slice(begin, begin + y.size(0))));
  };
  const LSTMState first{rng.normal({2, B, H}, 0, 1, real), rng.normal({2, B, H}, 0, 1, real)};
  const TruncationBias bias = truncation_bias(lstm, first, x, loss, all, {.k1 = k1});

  // One pass each: the state is detached at the starts of windows, or it is not.
  const auto by_hand = [&](bool truncated) {
    Tape tape = Tape::evaluation();
    LSTMState state = first;
    Var sum = Tensor::zeros({}, real);
    for (std::size_t begin = 0; begin < N; begin += k1) {
      const auto [y, next] = lstm.composed(tape, x.slice(begin, std::min(N, begin + k1)), state);
      sum = sum + loss(tape, y, begin);
      state = truncated ? next.detach() : next;
    }
    Vars leaves;
    for (const NamedParameter& p : parameters(lstm)) {
      if (p.requires_grad()) leaves.push_back(tape.leaf(p));
    }
    std::vector<std::vector<double>> result;
    for (const Var& g : tape.gradient(sum, leaves)) {
      const auto values = g.value().values<double>();
      result.emplace_back(values.begin(), values.end());
    }
    return result;
  };
  const auto g = by_hand(true), f = by_hand(false);
  REQUIRE(bias.parameters.size() == f.size());
  std::vector<double> all_g, all_f;
  for (std::size_t i = 0; i < f.size(); ++i) {
    check(bias.parameters[i], all[i].name, g[i], f[i]);
    all_g.insert(all_g.end(), g[i].begin(), g[i].end());
    all_f.insert(all_f.end(), f[i].begin(), f[i].end());
  }
  check(bias.all, "all", all_g, all_f);
  CHECK(bias.all.error > 0.01);

  CHECK(all[0].events().all == before.all);
  CHECK(sum(Var(all[0].grad())).item() == 2.0 * static_cast<double>(all[0].value().numel()));
  CHECK(!all.find("bias_ih_l0").grad().defined());
}

TEST_CASE("truncation_bias: as a table") {
  const TruncationBias bias{.all = {"all", 0.91, 0.4375, 12},
                            .parameters = {{"lstm.weight_hh_l0", -0.5, 1.5, 1e-5}}};
  CHECK(bias.text() ==
        "gradient              cosine      error       norm\n"
        "all                 0.910000      0.438         12\n"
        "lstm.weight_hh_l0  -0.500000        1.5      1e-05\n");
}

TEST_CASE("truncation_bias: what cannot be meant") {
  const auto layer = growing.model();
  const Var first = Tensor::zeros({1, 1}, real);
  const Tensor x = Tensor::zeros({4, 1, 1}, real);
  const WindowLoss loss = [](Tape&, const Var& y, std::size_t) { return sum(y); };
  const auto said = [&](const Tensor& data, const WindowLoss& l, const Parameters& all,
                        const TruncatedBPTTOptions& options) {
    return message_of([&] { (void)truncation_bias(layer, first, data, l, all, options); });
  };
  const Parameters all = parameters(layer);
  CHECK(said(x, loss, all, {}) == "[truncation_bias] k1 is 0: a window has at least one step");
  CHECK(
      said(x, loss, all, {.k1 = 3, .k2 = 2}) ==
      "[truncation_bias] k2 is 2 but k1 is 3: gradients flow back through a whole window, k2 must "
      "be at least k1");
  CHECK(said({}, loss, all, {.k1 = 2}) ==
        "[truncation_bias] x is undefined: give it a value first");
  CHECK(said(x.slice(0, 0), loss, all, {.k1 = 2}) ==
        "[truncation_bias] x has shape (0, 1, 1): it must be (N, B, ...) with N >= 1");
  CHECK(said(x, loss, {}, {.k1 = 2}) ==
        "[truncation_bias] no Parameter learns: give it some that are not frozen");
  CHECK(
      said(x, [](Tape&, const Var& y, std::size_t) { return y; }, all, {.k1 = 2}) ==
      "[gradient] the value to differentiate has shape (2, 1, 1): it must have one element; reduce "
      "it with sum() or mean()");
}
