#include <doctest/doctest.h>

#include <memory>

#include "../../autograd/ops/loss.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/rnn.h"
#include "../../optim/adam.h"
#include "../../optim/sgd.h"
#include "../fixtures/lstm_training.h"
#include "../fixtures/recurrent.h"
#include "../support/char_lm.h"
#include "../support/filled.h"
#include "../support/is_worse.h"
#include "../support/lstm_cases.h"

TEST_SUITE_BEGIN("goldens");

// Against PyTorch 2.13 in float64: fixtures/make_lstm_training.py and make_recurrent.py
// say how its numbers were made.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t T = 5, B = 3, I = 4, O = 3;

void fill(const Parameters& all) {
  for (std::size_t seed = 1; const NamedParameter& p : all) {
    p.set_value(filled(p.value().shape(), seed++));
  }
}

LSTM make_lstm(std::size_t hidden, std::size_t layers) {
  Rng rng(1);
  return LSTM({.input = I, .hidden = hidden, .layers = layers, .dtype = DType::float64}, rng);
}

/// Tensors in the shapes of `like`, out of torch's lists of the same names.
std::vector<NamedValue> shaped(const TorchValues& torch, const std::vector<NamedValue>& like) {
  std::vector<NamedValue> result;
  REQUIRE(torch.size() == like.size());
  for (std::size_t i = 0; i < like.size(); ++i) {
    REQUIRE(torch[i].first == like[i].name);
    const std::span<const double> values = torch[i].second;
    result.push_back({like[i].name, Tensor::from(like[i].value.shape(), values)});
  }
  return result;
}

/// Trains as the script does; the losses before each step, and all weights after the last one.
template <class MakeOptimizer, class LossOf>
std::vector<NamedValue> trained(MakeOptimizer make_optimizer, LossOf loss_of) {
  Rng rng(1);
  SequenceModel model{make_lstm(6, 2), {6, O, rng, {.dtype = DType::float64}}};
  const Parameters all = parameters(model);
  fill(all);
  const Tensor x = filled({T, B, I}, 50);
  Tensor losses = Tensor::empty({20}, DType::float64);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(all);
  for (double& kept : losses.mutable_values<double>()) {
    Tape tape;
    const Var loss = loss_of(model.head(tape, model.lstm(tape, x).y));
    optimizer->zero_grad();
    tape.backward(loss);
    optimizer->step();
    kept = loss.item();
  }
  std::vector<NamedValue> result = {{"loss", losses}};
  for (const NamedParameter& p : all) result.push_back({p.name, p.value()});
  return result;
}

Var mean_square(const Var& y) { return mse(y, filled({T, B, O}, 56)); }

Var entropy(const Var& y) {
  Tensor ids = Tensor::empty({T, B}, DType::int32);
  for (std::int32_t i = 0; std::int32_t & id : ids.mutable_values<std::int32_t>()) {
    id = i++ * 7 % static_cast<std::int32_t>(O);
  }
  return cross_entropy(y, ids);
}

void check_run(const std::string& name, const std::vector<NamedValue>& ours) {
  const std::vector<NamedValue> torch = shaped(torch_training.at(name), ours);
  double worst = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    for (std::size_t k = 0; k < ours[i].value.numel(); ++k) {
      const double difference = std::abs(ours[i].value.at(k) - torch[i].value.at(k));
      if (is_worse(difference, worst)) worst = difference;
    }
  }
  MESSAGE(name, ": worst absolute difference after 20 steps ", worst);
  CHECK(worst <= 1e-10);
}

}  // namespace

TEST_CASE("torch parity: values and all gradients of 1, 2 and 3 LSTM layers") {
  for (const std::size_t layers : {1U, 2U, 3U}) {
    constexpr std::size_t hidden = 5;
    LSTM lstm = make_lstm(hidden, layers);
    const Parameters all = parameters(lstm);
    fill(all);
    const Shape state{layers, B, hidden};
    for (const bool fused : {true, false}) {
      Tape tape;
      Vars leaves = {tape.leaf(filled({T, B, I}, 50)), tape.leaf(filled(state, 51)),
                     tape.leaf(filled(state, 52))};
      std::vector<std::string> names = {"dx", "dh0", "dc0"};
      for (const NamedParameter& p : all) {
        leaves.push_back(tape.leaf(p));
        names.push_back("d" + p.name);
      }
      const LSTMState start{leaves[1], leaves[2]};
      const LSTMResult r =
          fused ? lstm(tape, leaves[0], start) : lstm.composed(tape, leaves[0], start);
      const Var loss = sum(r.y * Var(filled({T, B, hidden}, 53))) +
                       sum(r.last.h * Var(filled(state, 54))) +
                       sum(r.last.c * Var(filled(state, 55)));
      std::vector<NamedValue> ours = {
          {"y", r.y.value()}, {"h_T", r.last.h.value()}, {"c_T", r.last.c.value()}};
      const Vars gradients = tape.gradient(loss, leaves);
      for (std::size_t i = 0; i < leaves.size(); ++i)
        ours.push_back({names[i], gradients[i].value()});
      Deviation deviation;
      deviation.compare(ours, shaped(torch_gradients.at(layers), ours));
      MESSAGE(layers, " layer(s), ", std::string(fused ? "fused" : "composed"),
              ": max|difference| / max|torch| ", deviation.worst, " in ", deviation.where);
      CHECK(deviation.worst <= 1e-13);
      CHECK(deviation.excluded == 0);
    }
  }
}

namespace {

/// The same for layers whose state is h alone.
template <class Layer>
void check_layers(const std::string& kind, const Layer& model) {
  const std::size_t layers = model.layers.size(), hidden = model.hidden();
  const Parameters all = parameters(model);
  fill(all);
  const Shape state{layers, B, hidden};
  for (const bool fused : {true, false}) {
    Tape tape;
    Vars leaves = {tape.leaf(filled({T, B, I}, 50)), tape.leaf(filled(state, 51))};
    std::vector<std::string> names = {"dx", "dh0"};
    for (const NamedParameter& p : all) {
      leaves.push_back(tape.leaf(p));
      names.push_back("d" + p.name);
    }
    const auto [y, last] =
        fused ? model(tape, leaves[0], leaves[1]) : model.composed(tape, leaves[0], leaves[1]);
    const Var loss = sum(y * Var(filled({T, B, hidden}, 53))) + sum(last * Var(filled(state, 54)));
    std::vector<NamedValue> ours = {{"y", y.value()}, {"h_T", last.value()}};
    const Vars gradients = tape.gradient(loss, leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i)
      ours.push_back({names[i], gradients[i].value()});
    const std::string name = kind + " " + std::to_string(layers);
    Deviation deviation;
    deviation.compare(ours, shaped(torch_recurrent.at(name), ours));
    MESSAGE(name, ", ", std::string(fused ? "fused" : "composed"),
            ": max|difference| / max|torch| ", deviation.worst, " in ", deviation.where);
    CHECK(deviation.worst <= 1e-13);
    CHECK(deviation.excluded == 0);
  }
}

}  // namespace

TEST_CASE("torch parity: values and all gradients of 1, 2 and 3 GRU and RNN layers") {
  Rng rng(1);
  for (const std::size_t layers : {1U, 2U, 3U}) {
    constexpr std::size_t hidden = 5;
    constexpr DType dtype = DType::float64;
    check_layers("gru", GRU({.input = I, .hidden = hidden, .layers = layers, .dtype = dtype}, rng));
    for (const RNNNonlinearity phi : {RNNNonlinearity::tanh, RNNNonlinearity::relu}) {
      check_layers(
          phi == RNNNonlinearity::tanh ? "rnn_tanh" : "rnn_relu",
          RNN({.input = I, .hidden = hidden, .layers = layers, .nonlinearity = phi, .dtype = dtype},
              rng));
    }
  }
}

TEST_CASE("torch parity: 20 steps of SGD") {
  check_run("sgd", trained(
                       [](const Parameters& all) {
                         return std::make_unique<SGD>(all, SGDOptions{.lr = 1e-2});
                       },
                       mean_square));
}

TEST_CASE("torch parity: 20 steps of SGD with momentum") {
  check_run("momentum", trained(
                            [](const Parameters& all) {
                              return std::make_unique<SGD>(all,
                                                           SGDOptions{.lr = 1e-2, .momentum = 0.9});
                            },
                            entropy));
}

TEST_CASE("torch parity: 20 steps of Adam") {
  check_run("adam", trained(
                        [](const Parameters& all) {
                          return std::make_unique<Adam>(all, AdamOptions{.lr = 1e-2});
                        },
                        entropy));
}

TEST_SUITE_END();
