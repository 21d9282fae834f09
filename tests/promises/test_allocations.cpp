#include <doctest/doctest.h>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/reduce.h"
#include "../../layers/dropout.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/rnn.h"
#include "../../layers/recurrent/truncated_bptt.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../support/char_lm.h"
#include "../support/extended.h"
#include "../support/heap.h"

#ifndef TAPEGRAD_SANITIZED  // they bypass the pool

using namespace tapegrad;
using namespace tapegrad::testing;

// The first step leaves gradients, moments and a state behind, in blocks that the second must
// replace.
TEST_CASE("allocations: a training step asks the heap for nothing from the fifth step on") {
  Rng rng(1);
  const CharLM m{
      {11, 6, rng}, {{.input = 6, .hidden = 9, .layers = 2, .dropout = 0.2}, rng}, {9, 11, rng}};
  const Dropout drop{0.1};
  Adam adam(parameters(m), {.lr = 1e-3});
  Tensor ids = Tensor::zeros({7, 3}, DType::int32);
  LSTMState state = m.lstm.zero_state(3);
  for (std::uint64_t step = 0; step < 10; ++step) {
    const std::size_t before = allocations();
    {
      Tape tape = Tape::training({.seed = 1, .pass = step});
      const auto [h, next] = step % 3 == 0 ? m.lstm(tape, m.embed(tape, ids), state)
                                           : m.lstm(tape, m.embed, ids, state);
      const Var out = drop(tape, h);
      const Var loss = step % 4 < 2 ? cross_entropy(m.head(tape, out), ids)
                                    : 0.5 * linear_cross_entropy(tape, m.head, out, ids);
      adam.zero_grad();
      tape.backward(loss);
      if (step % 2 == 0) {
        clip_grad_norm(adam.parameters(), 1.0);
        adam.step();
      } else {
        adam.step({.clip_norm = 1.0});
      }
      state = next.detach();
    }
    if (step >= 4) CHECK(allocations() == before);
  }
}

TEST_CASE("allocations: a training step of a GRU and an RNN, likewise") {
  Rng rng(3);
  const GRU gru({.input = 6, .hidden = 9, .layers = 2, .dropout = 0.2}, rng);
  const RNN rnn({.input = 9, .hidden = 4, .nonlinearity = RNNNonlinearity::relu}, rng);
  Parameters all = parameters(gru);
  for (const NamedParameter& p : parameters(rnn)) all.push_back({"rnn." + p.name, p});
  Adam adam(all, {.lr = 1e-3});
  const Tensor x = rng.normal({7, 3, 6}, 0, 1, DType::float32);
  Var h = gru.zero_state(3), g = rnn.zero_state(3);
  for (std::uint64_t step = 0; step < 10; ++step) {
    const std::size_t before = allocations();
    {
      Tape tape = Tape::training({.seed = 1, .pass = step});
      const auto [middle, next_h] = gru(tape, x, h);
      const auto [y, next_g] = rnn(tape, middle, g);
      adam.zero_grad();
      tape.backward(sum(square(y)));
      adam.step();
      h = next_h.detach(), g = next_g.detach();
    }
    if (step >= 4) CHECK(allocations() == before);
  }
}

TEST_CASE("allocations: windows of a stream whose steps are run again, likewise") {
  Rng rng(4);
  const CharLM m{{11, 6, rng}, {{.input = 6, .hidden = 9, .layers = 2}, rng}, {9, 11, rng}};
  Adam adam(parameters(m), {.lr = 1e-3});
  const Tensor ids = Tensor::zeros({7, 3}, DType::int32);
  const auto model = [&](Tape& tape, const Tensor& x, const LSTMState& state) {
    return m.lstm(tape, m.embed, x, state);
  };
  TruncatedBPTT bptt(m.lstm.zero_state(3), {.k1 = 7, .k2 = 12, .warm_up = 4});
  for (std::uint64_t step = 0; step < 10; ++step) {
    const std::size_t before = allocations();
    {
      Tape tape = Tape::training({.seed = 1, .pass = step});
      const Var loss = cross_entropy(m.head(tape, bptt(tape, model, ids)), ids);
      adam.zero_grad();
      tape.backward(loss);
      adam.step();
    }
    if (step >= 4) CHECK(allocations() == before);
  }
}

TEST_CASE("allocations: weighted losses ask the heap for nothing from the second time on") {
  Rng rng(2);
  const Tensor x = rng.normal({5, 3}, 0, 1, DType::float32);
  const Tensor target = Tensor::full({5, 3}, 0.5), median = Tensor::full({5}, 0.5);
  const Tensor ids = Tensor::zeros({5}, DType::int32);
  const Tensor weights = Tensor::full({5, 3}, 2), rows = Tensor::full({5}, 2);
  const Tensor classes = Tensor::full({3}, 2);
  for (int step = 0; step < 6; ++step) {
    const std::size_t before = allocations();
    {
      Tape tape;
      const Var y = tape.leaf(x);
      const Var loss =
          l1(y, target, {weights}) + mse(y, target, {weights}) + huber(y, target, 1, {weights}) +
          bce_with_logits(y, target, {weights, classes}) +
          gaussian_nll(y, target, target, {.weights = weights}) + masked_mean(y, weights) +
          quantile_loss(y, median, {0.1, 0.5, 0.9}, {rows}) +
          nll(log_softmax(y), ids, {.class_weights = classes, .weights = rows}) +
          cross_entropy(y, ids,
                        {.label_smoothing = 0.1, .class_weights = classes, .weights = rows});
      tape.gradient(loss, {y});
    }
    if (step >= 1) CHECK(allocations() == before);
  }
}

#endif
