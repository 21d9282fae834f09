#include <doctest/doctest.h>

#include <memory>

#include "../../autograd/ops/loss.h"
#include "../../layers/recurrent/lstm_variant_cell.h"
#include "../../optim/adam.h"
#include "../../optim/sgd.h"
#include "../fixtures/lstm_training.h"
#include "../fixtures/recurrent.h"
#include "../support/char_lm.h"
#include "../support/is_worse.h"
#include "../support/parity.h"

TEST_SUITE_BEGIN("goldens");

// Against PyTorch 2.13 in float64: fixtures/make_lstm_training.py and make_recurrent.py
// say how its numbers were made.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t T = 5, B = 3, I = 4, O = 3;

LSTM make_lstm(std::size_t hidden, std::size_t layers) {
  Rng rng(1);
  return LSTM({.input = I, .hidden = hidden, .layers = layers, .dtype = DType::float64}, rng);
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

TEST_CASE("torch parity: layers, directions, projections, packed sequences, all gradients") {
  check_parity(torch_recurrent, [](const LayerValues& torch) {
    if (torch.kind != "lstm, projection") {
      return make_stack(torch.kind, {.layers = torch.layers, .bidirectional = torch.bidirectional});
    }
    const Way way = torch.bidirectional ? Way::both : Way::forward;
    const CellsCase c{.input = stack_input, .layers = torch.layers, .way = way};
    return stack_of_cells(torch.kind, c, 2, [](std::size_t input) {
      Rng rng(1);
      return LSTMVariantCell(
          {.input = input, .hidden = stack_hidden, .projection = 2, .dtype = DType::float64}, rng);
    });
  });
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
