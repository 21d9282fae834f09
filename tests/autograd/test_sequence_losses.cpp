// Covers losses over padded sequences, and esr_loss. Its values are compared in test_torch_ops.cpp.

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/data/sequences.h"
#include "../../core/error.h"
#include "../support/filled.h"
#include "../support/kernel_cases.h"
#include "../support/loss_cases.h"
#include "../support/message.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// A loss of predictions and targets (T, B, C) whose targets are numbers.
struct Loss {
  std::string name;
  std::function<Var(const Var& p, const Var& t, const Tensor& lengths)> of;
};

std::vector<Loss> losses_of_numbers() {
  const auto plain = [](auto f) {
    return [f](const Var& p, const Var& t, const Tensor& lengths) {
      return f(p, t, valid_steps(lengths, t.shape()));
    };
  };
  using Weights = const Tensor&;
  return {
      {"l1", plain([](const Var& p, const Var& t, Weights w) { return l1(p, t, {w}); })},
      {"mse", plain([](const Var& p, const Var& t, Weights w) { return mse(p, t, {w}); })},
      {"huber", plain([](const Var& p, const Var& t, Weights w) { return huber(p, t, 0.2, {w}); })},
      {"bce_with_logits", plain([](const Var& p, const Var& t, Weights w) {
         return bce_with_logits(p, t, {.weights = w});
       })},
      {"gaussian_nll", plain([](const Var& p, const Var& t, Weights w) {
         return gaussian_nll(p, t, p, {.weights = w});
       })},
      {"quantile_loss",
       [](const Var& p, const Var& t, const Tensor& lengths) {
         const Var one = sum(t, 2);
         return quantile_loss(p, one, {0.1, 0.5, 0.9}, {valid_steps(lengths, one.shape())});
       }},
      {"esr_loss", plain([](const Var& p, const Var& t, Weights w) {
         return esr_loss(p, t, {.weights = w, .pre_emphasis = 0.85, .dc = 1});
       })},
      {"masked_mean", plain([](const Var& p, const Var& t, Weights w) {
         return masked_mean(p, w) + masked_mean(t, w);
       })},
  };
}

const Shape padded{4, 3, 3};
const Tensor lengths = Tensor::from({3}, {4, 0, 2});

/// Padding of these sequences becomes `value`.
Tensor with_padding(Tensor x, double value) {
  const Tensor valid = valid_steps(lengths, x.shape());
  for (std::size_t i = 0; i < x.numel(); ++i) {
    if (valid.at(i) == 0) x.mutable_data<double>()[i] = value;
  }
  return x;
}

struct Results {
  double value;
  std::vector<std::vector<double>> gradients;
};
Results results_of(const std::function<Var(const Vars&)>& loss, const std::vector<Tensor>& inputs) {
  Tape tape;
  Vars x;
  for (const Tensor& t : inputs) x.push_back(tape.leaf(t));
  const Var y = loss(x);
  Results results{y.item(), {}};
  for (const Var& d : tape.gradient(y, x)) results.gradients.push_back(values_of(d.value()));
  return results;
}

}  // namespace

TEST_CASE("losses over padded sequences: NaN in the padding of predictions and targets") {
  for (const Loss& loss : losses_of_numbers()) {
    CAPTURE(loss.name);
    const auto with = [&](double padding) {
      return results_of([&](const Vars& x) { return loss.of(x[0], x[1], lengths); },
                        {with_padding(filled(padded, 1), padding),
                         with_padding(filled(padded, 2, 0.5, 0.5), padding)});
    };
    const Results clean = with(0.5), wild = with(NAN);
    CHECK(std::isfinite(clean.value));
    CHECK(wild.value == clean.value);
    CHECK(wild.gradients == clean.gradients);
    const Tensor valid = valid_steps(lengths, padded);
    for (std::size_t i = 0; i < valid.numel(); ++i) {
      for (const std::vector<double>& d : wild.gradients) CHECK((valid.at(i) == 0) <= (d[i] == 0));
    }
  }
}

TEST_CASE("losses over padded sequences: NaN in the padding of logits of classes") {
  const Tensor ids = ids_of({4, 3}, {0, 1, 2, 2, 2, 0, 1, 1, 1, 0, 2, 0});
  const Tensor w = valid_steps(lengths, ids.shape());
  const std::vector<std::function<Var(const Vars&)>> losses = {
      [&](const Vars& x) { return cross_entropy(x[0], ids, {.weights = w}); },
      [&](const Vars& x) { return cross_entropy_composed(x[0], ids, {.weights = w}); },
      [&](const Vars& x) { return nll(x[0], ids, {.weights = w}); },
      [&](const Vars& x) {
        return linear_cross_entropy(x[0], filled({3, 3}, 3), {}, ids, {.weights = w});
      }};
  for (const auto& loss : losses) {
    const Results clean = results_of(loss, {with_padding(filled(padded, 1), 0)});
    const Results wild = results_of(loss, {with_padding(filled(padded, 1), NAN)});
    CHECK(std::isfinite(clean.value));
    CHECK(wild.value == clean.value);
    CHECK(wild.gradients == clean.gradients);
  }
}

TEST_CASE("gradcheck: esr_loss, with all options" * doctest::test_suite("gradients")) {
  for (const Shape& shape : std::vector<Shape>{{1}, {4}, {3, 2}, {3, 2, 2}}) {
    Tensor some = Tensor::full(shape, 0.5);
    some.mutable_data<float>()[0] = 2;
    if (some.numel() > 2) some.mutable_data<float>()[2] = 0;
    for (const Tensor& w : {Tensor(), some}) {
      for (const double a : {0.0, 0.95}) {
        for (const double dc : {0.0, 1.5}) {
          check_op("esr_loss",
                   [&](In x) {
                     return Out{esr_loss(x[0], x[1], {w, a, dc, 0.125})};
                   },
                   {shape, shape}, {.away_from = 0.5});
        }
      }
    }
  }
}

TEST_CASE("esr_loss: 0 is perfect, 1 is silence, and only the ratio counts") {
  const Tensor t = filled({5, 2, 1}, 4);
  for (const double a : {0.0, 0.85}) {
    const ESRLossOptions options{.pre_emphasis = a};
    CHECK(esr_loss(t, t, options).item() == 0);
    CHECK(esr_loss(Tensor::zeros({5, 2, 1}, DType::float64), t, options).item() == 1);
    const Var louder = 4.0 * Var(t), y = filled({5, 2, 1}, 5);
    CHECK(esr_loss(4.0 * y, louder, options).item() == esr_loss(y, t, options).item());
  }
  // The offset alone: e = 0.5 everywhere, energy of the target 1.
  const Var ones = Tensor::full({3, 2}, 1, DType::float64);
  CHECK(esr_loss(ones + 0.5, ones, {.dc = 2}).item() == 0.25 + 2 * 0.25);
  CHECK(esr_loss(ones + 0.5, ones, {.epsilon = 1}).item() == 0.125);
}

TEST_CASE("esr_loss: without a valid step the loss and its gradients are 0") {
  const std::vector<double> none(6, 0.0);
  check_loss(
      [](In x) {
        return esr_loss(x[0], x[1], {Tensor::zeros({3, 2}), 0.85, 1});
      },
      {filled({3, 2}, 1), filled({3, 2}, 2)}, 0, {none, none}, 0);
}

TEST_CASE("messages: esr_loss") {
  const Var x = Tensor::full({3, 1}, 1), silent = Tensor::zeros({3, 1});
  const auto of = [&](const Var& target, const ESRLossOptions& options) {
    return message_of([&] { esr_loss(x, target, options); });
  };
  CHECK(of(silent, {}) ==
        "[esr_loss] the target is silent, and a ratio to silence does not exist: leave the batch "
        "out, or give epsilon");
  CHECK(of(silent, {.epsilon = 1e-5}) == "nothing was thrown");
  CHECK(of(x, {.pre_emphasis = 1}) == "[esr_loss] pre_emphasis is 1: it must be in [0, 1)");
  CHECK(of(x, {.dc = -1}) == "[esr_loss] dc is -1: it must be finite and at least 0");
  CHECK(of(x, {.epsilon = inf}) == "[esr_loss] epsilon is inf: it must be finite and at least 0");
  CHECK(of(Tensor::zeros({3}), {}) ==
        "[esr_loss] prediction has shape (3, 1) but target has shape (3): the shapes must be "
        "equal, a loss never broadcasts; reshape(prediction, target.shape()) makes them so");
  CHECK(message_of([] { esr_loss(Tensor::scalar(1), Tensor::scalar(1)); }) ==
        "[esr_loss] target has shape (): it must be (T, ...)");
  CHECK(of(x, {Tensor::full({3, 1}, -1)}) ==
        "[esr_loss] weights has -1 at position 0 of shape (3, 1): all of it must be finite and at "
        "least 0");
}
