#include <doctest/doctest.h>

#include "../autograd/ops/elementwise.h"
#include "../autograd/ops/loss.h"
#include "../layers/dropout.h"
#include "../layers/embedding.h"
#include "../layers/linear.h"
#include "../layers/lstm.h"
#include "../layers/module.h"
#include "../optim/adam.h"
#include "../optim/clip.h"
#include "heap.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they bypass the pool

using namespace tapegrad;

TEST_CASE("allocations: a training step asks the heap for nothing from the second step on") {
  Rng rng(1);
  struct Model {
    Embedding embed;
    LSTM lstm;
    Dropout drop;
    Linear head;
  };
  Model m{{11, 6, rng},
          {{.input = 6, .hidden = 9, .layers = 2, .dropout = 0.2}, rng},
          {0.1},
          {9, 11, rng}};
  Parameters all;
  const auto collect = [&](std::string_view, auto& member) {
    for (const NamedParameter& p : parameters(member)) all.push_back(p);
  };
  collect("embed", m.embed);
  collect("lstm", m.lstm);
  collect("head", m.head);
  Adam adam(all, {.lr = 1e-3});
  Tensor ids = Tensor::zeros({7, 3}, DType::int32);
  LSTMState state = m.lstm.zero_state(3);
  for (std::uint64_t step = 0; step < 10; ++step) {
    const std::size_t before = testing::allocations();
    {
      Tape tape = Tape::training({.seed = 1, .pass = step});
      const auto [h, next] = m.lstm(tape, m.embed(tape, ids), state);
      const Var loss = cross_entropy(m.head(tape, m.drop(tape, h)), ids);
      adam.zero_grad();
      tape.backward(loss);
      clip_grad_norm(adam.parameters(), 1.0);
      adam.step();
      state = next.detach();
    }
    if (step >= 2) CHECK(testing::allocations() == before);
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
    const std::size_t before = testing::allocations();
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
    if (step >= 2) CHECK(testing::allocations() == before);
  }
}

#endif
