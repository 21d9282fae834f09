#include <doctest/doctest.h>

#include <map>
#include <memory>

#include "../../autograd/ops/loss.h"
#include "../../layers/recurrent/lstm_variant_cell.h"
#include "../../optim/adam.h"
#include "../../optim/sgd.h"
#include "../fixtures/lstm_training.h"
#include "../fixtures/recurrent.h"
#include "../support/char_lm.h"
#include "../support/filled.h"
#include "../support/is_worse.h"
#include "../support/lstm_cases.h"
#include "../support/stacks.h"

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

namespace {

/// The layers of a fixture's kind.
Stack torch_stack(const TorchStack& torch) {
  if (torch.kind == "lstm, projection") {
    const Way way = torch.bidirectional ? Way::both : Way::forward;
    const CellsCase c{.input = stack_input, .layers = torch.layers, .way = way};
    return stack_of_cells(torch.kind, c, 2, [](std::size_t input) {
      Rng rng(1);
      return LSTMVariantCell(
          {.input = input, .hidden = stack_hidden, .projection = 2, .dtype = DType::float64}, rng);
    });
  }
  return make_stack(torch.kind, {.layers = torch.layers, .bidirectional = torch.bidirectional},
                    DType::float64);
}

/// y, the last state and all gradients, under the names of the fixture.
std::vector<NamedValue> solve(const Stack& stack, bool fused, const Tensor& lengths) {
  constexpr std::size_t steps = 4, batch = 3;
  const char* const parts[] = {"h", "c"};
  Tape tape;
  std::vector<NamedValue> result;
  Vars leaves = {tape.leaf(filled({steps, batch, stack_input}, 50))}, state;
  std::vector<std::string> names = {"dx"};
  for (const Shape& shape : stack.state(batch)) {
    state.push_back(tape.leaf(filled(shape, 51 + state.size())));
    names.push_back(std::string("d") + parts[state.size() - 1] + "0");
  }
  leaves.insert(leaves.end(), state.begin(), state.end());
  for (const NamedParameter& p : stack.parameters) {
    leaves.push_back(tape.leaf(p));
    names.push_back("d" + p.name);
  }
  Var loss;
  for (const Var& output : stack.run(fused, tape, leaves[0], state, lengths)) {
    const std::size_t n = result.size();
    const Var share = sum(output * Var(filled(output.shape(), 53 + n)));
    loss = n == 0 ? share : loss + share;
    result.push_back({n == 0 ? "y" : std::string(parts[n - 1]) + "_T", output.value()});
  }
  const Vars gradients = tape.gradient(loss, leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    result.push_back({names[i], gradients[i].value()});
  }
  return result;
}

}  // namespace

TEST_CASE("torch parity: layers, directions, projections, packed sequences, all gradients") {
  std::map<std::string, Deviation> kinds;
  for (const TorchStack& torch : torch_recurrent) {
    const Stack stack = torch_stack(torch);
    fill(stack.parameters);
    const Tensor lengths = torch.lengths ? Tensor::from<std::int32_t>({3}, {2, 4, 1}) : Tensor();
    for (const bool fused : {true, false}) {
      const std::vector<NamedValue> ours = solve(stack, fused, lengths);
      Deviation& deviation = kinds[torch.kind];
      deviation.compare(ours, shaped(torch.values, ours));
      CHECK_MESSAGE(deviation.worst <= 1e-13, torch.kind, ", ", torch.layers, " layers, fused ",
                    fused, ": ", deviation.where);
      CHECK(deviation.excluded == 0);
    }
  }
  for (const auto& [kind, deviation] : kinds) {
    MESSAGE(kind, ": max|difference| / max|torch| ", deviation.worst, " in ", deviation.where);
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
