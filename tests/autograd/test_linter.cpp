#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../../autograd/inspect/linter.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/min_cells.h"
#include "../../layers/recurrent/rnn.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"
#include "../support/linted.h"
#include "../support/message.h"

// The linter of training loops: a program for each mistake.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Number of mistakes that a step brought.
using Counts = std::vector<std::size_t>;

}  // namespace

// --- mistakes ---

TEST_CASE("linter: clipping before backward") {
  const LintedNet net;
  SGD sgd(parameters(net), {.lr = 0.1});
  TrainingLinter linter(parameters(net));
  Counts counts;
  for (std::uint64_t pass = 0; pass < 3; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    sgd.zero_grad();
    clip_grad_norm(sgd.parameters(), 1);
    tape.backward(net.loss(tape));
    sgd.step();
    counts.push_back(linter.end_step().size());
  }
  CHECK(counts == Counts{1, 0, 0});
  CHECK(linter.report() ==
        "[TrainingLinter] step 1: the gradients of body.weight, body.bias, head.weight, head.bias "
        "were clipped before backward() made them, and the step took them as they were: clip "
        "between backward() and step(), or by step({.clip_norm = ...})");
}

TEST_CASE("linter: clipping after the step") {
  const LintedNet net;
  SGD sgd(parameters(net).with_prefix("head."), {.lr = 0.1});
  parameters(net).with_prefix("body.").freeze();
  TrainingLinter linter(parameters(net));
  for (std::uint64_t pass = 0; pass < 3; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    sgd.zero_grad();
    tape.backward(net.loss(tape));
    sgd.step();
    clip_grad_value(sgd.parameters(), 0.1);
    CHECK(linter.end_step().size() == (pass == 0 ? 1 : 0));
  }
  CHECK(linter.report() ==
        "[TrainingLinter] step 1: the gradients of head.weight, head.bias were clipped after the "
        "step had taken them: clip between backward() and step(), or by step({.clip_norm = ...})");
}

TEST_CASE("linter: zero_grad that was forgotten") {
  const LintedNet net;
  Adam adam(parameters(net));
  TrainingLinter linter(parameters(net));
  Counts counts;
  for (std::uint64_t pass = 0; pass < 3; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    tape.backward(net.loss(tape));
    adam.step({.clip_norm = 1});
    counts.push_back(linter.end_step().size());
  }
  CHECK(counts == Counts{0, 1, 0});
  CHECK(linter.report() ==
        "[TrainingLinter] step 2: backward() added to gradients of body.weight, body.bias, "
        "head.weight, head.bias that a step had taken already, and the next step took the sum: "
        "call zero_grad() before each backward(), or, to add up several passes, before the first "
        "of them");
}

TEST_CASE("linter: zero_grad that was forgotten, where optimizers take turns") {
  const LintedNet net;
  Adam body(parameters(net).with_prefix("body.")), head(parameters(net).with_prefix("head."));
  TrainingLinter linter(parameters(net));
  for (std::uint64_t pass = 0; pass < 6; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    tape.backward(net.loss(tape));
    (pass % 2 == 0 ? body : head).step();
    const std::vector<std::string> mistakes = linter.end_step();
    CHECK(mistakes.size() == (pass == 2 || pass == 3 ? 1 : 0));
    if (pass == 3) {
      CHECK(mistakes[0] ==
            "[TrainingLinter] step 4: backward() added to gradients of head.weight, head.bias that "
            "a step had taken already, and the next step took the sum: call zero_grad() before "
            "each backward(), or, to add up several passes, before the first of them");
    }
  }
}

TEST_CASE("linter: two steps by one gradient") {
  constexpr const char* expected =
      "[TrainingLinter] step 1: a step moved body.weight, body.bias, head.weight, head.bias by a "
      "gradient that a step had taken already: call step() once after each backward(), zero_grad() "
      "before the next one, and give a parameter to one optimizer only";
  const LintedNet net;
  SGD sgd(parameters(net), {.lr = 0.1});
  Adam adam(parameters(net));
  const auto report_of = [&](Optimizer& second, bool ends_between) {
    TrainingLinter linter(parameters(net));
    for (std::uint64_t pass = 0; pass < 3; ++pass) {
      Tape tape = training(pass);
      linter.watch(tape);
      sgd.zero_grad();
      tape.backward(net.loss(tape));
      sgd.step();
      if (ends_between) linter.end_step();
      second.step();
      linter.end_step();
    }
    return linter.report();
  };
  CHECK(report_of(sgd, false) == expected);
  CHECK(report_of(adam, false) == expected);
  std::string next(expected);
  next.replace(next.find('1'), 1, "2");
  CHECK(report_of(sgd, true) == next);
}

TEST_CASE("linter: dropout in evaluation") {
  const LintedNet net;
  SGD sgd(parameters(net), {.lr = 0.1});
  TrainingLinter linter(parameters(net));
  const auto evaluate = [&] {
    Tape tape = training(100);
    linter.watch(tape);
    return net.loss(tape).item();
  };
  std::string first;
  for (std::uint64_t pass = 0; pass < 3; ++pass) {
    {
      Tape tape = training(pass);
      linter.watch(tape);
      sgd.zero_grad();
      tape.backward(net.loss(tape));
      sgd.step();
    }
    CHECK(evaluate() > 0);
    for (const std::string& mistake : linter.end_step()) first = mistake;
  }
  CHECK(first == linter.report());
  CHECK(first ==
        "[TrainingLinter] pass 2: dropout was on, but no gradient was taken: evaluate on "
        "Tape::inference(), where it is off; where dropout is meant, do not watch the tape");
}

TEST_CASE("linter: a parameter in no optimizer") {
  const LintedNet net;
  SGD sgd(parameters(net).with_prefix("head."), {.lr = 0.1});
  TrainingLinter linter(parameters(net));
  parameters(net).copy_values(parameters(LintedNet(2)));  // as a file does
  for (std::uint64_t pass = 0; pass < 3; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    sgd.zero_grad();
    tape.backward(net.loss(tape));
    sgd.step();
    CHECK(linter.end_step().size() == (pass == 0 ? 1 : 0));
  }
  CHECK(linter.report() ==
        "[TrainingLinter] step 1: backward() gives gradients to body.weight, body.bias, but no "
        "optimizer moves them: make the optimizer with all of parameters(model), after the last "
        "layer was replaced, and freeze() what is not to learn");
}

TEST_CASE("linter: a parameter that no gradient reaches") {
  const LintedNet net;
  SGD sgd(parameters(net), {.lr = 0.1});
  TrainingLinter linter(parameters(net), {.patience = 3});
  Counts counts;
  for (std::uint64_t pass = 0; pass < 5; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    sgd.zero_grad();
    const Var features = tanh(net.body(tape, LintedNet::x())).detach();
    tape.backward(LintedNet::loss_of(net.head(tape, features)));
    sgd.step();
    counts.push_back(linter.end_step().size());
  }
  CHECK(counts == Counts{0, 0, 1, 0, 0});
  CHECK(linter.report() ==
        "[TrainingLinter] step 3: no gradient has reached body.weight, body.bias in 3 steps: use "
        "them in the loss, with no detach() or pause() in between, or freeze() them");
}

TEST_CASE("linter: a layer that was replaced after the optimizer was made") {
  LintedNet net;
  SGD sgd(parameters(net), {.lr = 0.1});
  const auto report_of = [&](const std::string& head) {
    auto linter = std::make_unique<TrainingLinter>(parameters(net), TrainingLinterOptions{3});
    if (head == "new") {
      Rng rng(4);
      net.head = Linear(8, 1, rng);
    }
    if (head == "known") {
      Rng rng(5);
      net.head = Linear(8, 1, rng);
      linter = std::make_unique<TrainingLinter>(parameters(net), TrainingLinterOptions{3});
    }
    for (std::uint64_t pass = 0; pass < 5; ++pass) {
      Tape tape = training(pass);
      linter->watch(tape);
      sgd.zero_grad();
      parameters(net).zero_grad();
      tape.backward(net.loss(tape));
      sgd.step();
      linter->end_step();
    }
    return linter->report();
  };
  CHECK(report_of("first") == "[TrainingLinter] no mistake in 5 steps and 5 passes");
  // The linter knows the old layer, ...
  CHECK(report_of("new") ==
        "[TrainingLinter] step 3: no gradient has reached head.weight, head.bias in 3 steps, but a "
        "parameter of shape (1, 8), which is in no optimizer, gets gradients: a layer was "
        "replaced; make the optimizer and the linter afterwards");
  // or the new one.
  CHECK(report_of("known") ==
        "[TrainingLinter] step 1: backward() gives gradients to head.weight, head.bias, but no "
        "optimizer moves them: make the optimizer with all of parameters(model), after the last "
        "layer was replaced, and freeze() what is not to learn");
}

TEST_CASE("linter: gradients that are 0 in every step") {
  const LintedNet net;
  SGD sgd(parameters(net), {.lr = 0.1});
  TrainingLinter linter(parameters(net), {.patience = 3});
  net.body.bias.data()->set_value(Tensor::full({8}, -100));  // no element is ever positive
  Counts counts;
  for (std::uint64_t pass = 0; pass < 5; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    sgd.zero_grad();
    tape.backward(LintedNet::loss_of(net.head(tape, relu(net.body(tape, LintedNet::x())))));
    sgd.step();
    counts.push_back(linter.end_step().size());
  }
  CHECK(counts == Counts{0, 0, 1, 0, 0});
  CHECK(linter.report() ==
        "[TrainingLinter] step 3: the gradients of body.weight, body.bias, head.weight were "
        "exactly 0 in 3 steps in a row, those of others were not: look for a relu that is never "
        "positive, a factor 0, or sequences of one step");
}

TEST_CASE("linter: gradients that are 0 in every step of a network that takes turns") {
  const LintedNet net(1), other(2);
  SGD sgd(parameters(net), {.lr = 0.1}), others(parameters(other), {.lr = 0.1});
  TrainingLinter linter(parameters(net) + Parameters{{"other", other.head.bias}}, {.patience = 3});
  Counts counts;
  for (std::uint64_t pass = 0; pass < 8; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    if (pass % 2 == 0) {
      others.zero_grad();
      tape.backward(other.loss(tape));
      others.step();
    } else {
      sgd.zero_grad();
      tape.backward(LintedNet::loss_of(net.head(tape, 0.0 * net.body(tape, LintedNet::x()))));
      sgd.step();
    }
    counts.push_back(linter.end_step().size());
  }
  CHECK(counts == Counts{0, 0, 0, 0, 0, 1, 0, 0});
  CHECK(linter.report().starts_with(
      "[TrainingLinter] step 6: the gradients of body.weight, body.bias, head.weight were exactly "
      "0 in 3 steps in a row"));
}

TEST_CASE("linter: a state that is carried to other sequences") {
  Rng rng(1);
  const LSTM lstm({.input = 2, .hidden = 3}, rng);
  SGD sgd(parameters(lstm), {.lr = 0.1});
  TrainingLinter linter(parameters(lstm));
  LSTMState state = lstm.zero_state(2);
  const std::vector<std::vector<std::size_t>> shuffled = {{4, 8}, {5, 8}, {5, 3}, {7, 0}};
  for (const auto& chosen : shuffled) {
    Tape tape = training(0);
    linter.watch(tape, {.places = chosen, .carried = true});
    const auto [y, last] = lstm(tape, rng.normal({6, 2, 2}, 0, 1), state);
    sgd.zero_grad();
    tape.backward(mean(square(y)));
    sgd.step();
    state = last.detach();
    CHECK(linter.end_step().size() == (chosen == shuffled[2] ? 1 : 0));
  }
  CHECK(linter.report() ==
        "[TrainingLinter] pass 3: the state is of other sequences: row 1 goes on with place 3 of "
        "the data after place 8; begin with zero_state(), or read the data in their order, as "
        "StreamWindows does");
}

namespace {

/// The report on a layer that is given (B, T, I) = (4, 6, 2), or (6, 4, 2) if not `exchanged`.
template <class Layer>
std::string report_on_axes(const Layer& layer, bool exchanged) {
  SGD sgd(parameters(layer), {.lr = 0.1});
  TrainingLinter linter(parameters(layer));
  const Tensor input = exchanged ? Rng(1).normal({4, 6, 2}, 0, 1) : Rng(1).normal({6, 4, 2}, 0, 1);
  const std::vector<std::size_t> chosen = {7, 3, 1, 2};
  for (std::uint64_t pass = 0; pass < 4; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape, {.places = chosen});
    sgd.zero_grad();
    tape.backward(mean(square(layer(tape, input).y)));
    sgd.step();
    linter.end_step();
  }
  return linter.report();
}

std::string exchanged_by(const std::string& op) {
  return "[TrainingLinter] pass 1: " + op +
         " gave an output of shape (T, B, H) = (4, 6, 3) for a batch of 4 sequences: the first "
         "axis of the input is the time, the second one the batch; transpose(x, 0, 1) exchanges "
         "them";
}

}  // namespace

TEST_CASE("linter: the batch where the time should be") {
  Rng rng(1);
  const auto check = [](const auto& layer, const std::string& op) {
    CHECK(report_on_axes(layer, true) == exchanged_by(op));
  };
  check(LSTM({.input = 2, .hidden = 3}, rng), "lstm");
  check(GRU({.input = 2, .hidden = 3}, rng), "gru");
  check(RNN({.input = 2, .hidden = 3}, rng), "rnn");
  check(MinGRU(MinGRUCell({.input = 2, .hidden = 3}, rng)), "scan");
  CHECK(report_on_axes(LSTM({.input = 2, .hidden = 3}, rng), false) ==
        "[TrainingLinter] no mistake in 4 steps and 4 passes");
}

TEST_CASE("linter: several mistakes, and long lists of names") {
  Rng rng(1);
  const LSTM lstm({.input = 2, .hidden = 3, .layers = 2}, rng);
  SGD sgd(parameters(lstm).with_prefix("weight_ih_l0"), {.lr = 0.1});
  TrainingLinter linter(parameters(lstm));
  for (std::uint64_t pass = 0; pass < 2; ++pass) {
    Tape tape = training(pass);
    tape.backward(mean(square(lstm(tape, rng.normal({6, 2, 2}, 0, 1)).y)));
    sgd.step();
    linter.end_step();
  }
  CHECK(linter.report() ==
        "[TrainingLinter] step 1: backward() gives gradients to weight_hh_l0, bias_ih_l0, "
        "bias_hh_l0 and 4 others, but no optimizer moves them: make the optimizer with all of "
        "parameters(model), after the last layer was replaced, and freeze() what is not to learn\n"
        "[TrainingLinter] step 2: backward() added to gradients of weight_ih_l0 that a step had "
        "taken already, and the next step took the sum: call zero_grad() before each backward(), "
        "or, to add up several passes, before the first of them");
}

// --- what else ---

TEST_CASE("linter: it may go before the tapes that it watches") {
  const LintedNet net;
  Tape tape = training(0);
  {
    TrainingLinter linter(parameters(net));
    linter.watch(tape);
  }
  tape.backward(net.loss(tape));
  CHECK(net.head.bias.grad().defined());
}

TEST_CASE("linter: what it refuses") {
  const LintedNet net;
  CHECK(message_of([] { TrainingLinter(Parameters{}); }) ==
        "[TrainingLinter] there are no parameters: construct the model first, and do not use it "
        "after a move");
  CHECK(message_of([&] { TrainingLinter(parameters(net), {.patience = 0}); }) ==
        "[TrainingLinter] patience is 0: it must be at least 1");
  TrainingLinter linter(parameters(net));
  Tape tape;
  linter.watch(tape);
  const std::vector<std::size_t> chosen = {1};
  CHECK_THROWS_AS(linter.watch(tape, {.places = chosen}), UsageError);
  CHECK(linter.report() == "[TrainingLinter] no mistake in 0 steps and 1 passes");
}
