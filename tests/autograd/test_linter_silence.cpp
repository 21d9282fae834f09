#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../autograd/inspect/linter.h"
#include "../../autograd/ops/cross_entropy.h"
#include "../../autograd/ops/elementwise.h"
#include "../../core/data/sequences.h"
#include "../../core/data/windows.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/truncated_bptt.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"
#include "../support/char_lm.h"
#include "../support/heap.h"
#include "../support/linted.h"

// The linter of training loops: loops without a mistake, of which nothing is said.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const std::string none_in_4 = "[TrainingLinter] no mistake in 4 steps and 4 passes";

/// Runs 4 steps of a loop, each with 1 pass that is watched, and returns the report.
template <class Step>
std::string report_on(const LintedNet& net, Step step) {
  TrainingLinter linter(parameters(net), {.patience = 2});
  for (std::uint64_t pass = 0; pass < 4; ++pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    step(tape, net.loss(tape));
    linter.end_step();
  }
  return linter.report();
}

}  // namespace

TEST_CASE("linter: nothing is said of the usual loops") {
  LintedNet net;
  const Parameters all = parameters(net);
  const auto check = [&](auto step) { CHECK(report_on(net, step) == none_in_4); };
  {
    SGD sgd(all, {.lr = 0.1});
    check([&](Tape& tape, const Var& loss) {  // zeros first
      sgd.zero_grad();
      tape.backward(loss);
      clip_grad_norm(all, 1);
      sgd.step();
    });
    check([&](Tape& tape, const Var& loss) {  // or last
      tape.backward(loss);
      sgd.step({.clip_norm = 1});
      sgd.zero_grad();
    });
    check([&](Tape& tape, const Var& loss) {  // the norm is measured, before and after
      clip_grad_norm(all, infinity);
      sgd.zero_grad();
      tape.backward(loss);
      sgd.step();
      clip_grad_norm(all, infinity);
    });
    check([&](Tape& tape, const Var& loss) {  // several passes for a step
      sgd.zero_grad();
      tape.backward(loss);
      for (int more = 0; more < 2; ++more) {
        Tape another = training(9);
        another.backward(net.loss(another));
      }
      sgd.step();
    });
    check([&](Tape& tape, const Var& loss) {  // some of them clipped
      sgd.zero_grad();
      tape.backward(loss);
      clip_grad_norm(all, 1);
      Tape another = training(9);
      another.backward(net.loss(another));
      sgd.step();
    });
    check([&](Tape& tape, const Var& loss) {  // clipped once more
      sgd.zero_grad();
      tape.backward(loss);
      clip_grad_norm(all, 1);
      sgd.step();
      clip_grad_value(all, 1);
    });
    check([&](Tape& tape, const Var& loss) {  // gradients that were changed, weights too
      tape.backward(loss);
      for (const NamedParameter& p : all) p.set_grad(p.grad());
      sgd.step();
      for (const NamedParameter& p : all) p.set_value(p.value());
    });
    check([&](Tape& tape, const Var& loss) {  // gradients from elsewhere
      (void)tape.gradient(loss, {tape.leaf(net.head.bias)});
      for (const NamedParameter& p : all) p.set_grad(Tensor::full(p.value().shape(), 0.1));
      sgd.step();
    });
    all.zero_grad();
  }
  {
    Adam body(all.with_prefix("body.")), head(all.with_prefix("head."));
    check([&](Tape& tape, const Var& loss) {  // two optimizers
      body.zero_grad(), head.zero_grad();
      tape.backward(loss);
      body.step(), head.step();
    });
    body.zero_grad();
  }
  all.with_prefix("body.").freeze();
  SGD sgd(all.with_prefix("head."), {.lr = 0.1});
  check([&](Tape& tape, const Var& loss) {  // some that do not learn
    sgd.zero_grad();
    tape.backward(loss);
    sgd.step();
  });
}

TEST_CASE("linter: nothing is said of a stream that is read window by window") {
  Rng rng(1);
  const CharLM lm{
      {5, 4, rng}, LSTM({.input = 4, .hidden = 3, .trained_state = true}, rng), {3, 5, rng}};
  Adam adam(parameters(lm));
  TrainingLinter linter(parameters(lm), {.patience = 2});
  std::vector<std::int32_t> ids;
  for (std::int32_t k = 0; k < 43; ++k) ids.push_back(k * k % 5);
  const StreamWindows windows(Tensor::from({ids.size()}, ids), 5, 2);
  const std::vector<std::size_t> streams = {0, 1};
  const auto model = [&](Tape& tape, const Tensor& x, const LSTMState& state) {
    return lm.lstm(tape, lm.embed(tape, x), state);
  };
  std::uint64_t step = 0;
  for (int epoch = 0; epoch < 3; ++epoch) {
    TruncatedBPTT bptt(lm.lstm.zero_state(2), {.k1 = 5, .k2 = 8});
    for (const auto& [x, y, first] : windows) {
      Tape tape = training(step++);
      linter.watch(tape, {.places = streams, .carried = !first});
      if (first) bptt.start(lm.lstm.first_state(tape, 2));
      adam.zero_grad();
      tape.backward(cross_entropy(lm.head(tape, bptt(tape, model, x)), y));
      adam.step({.clip_norm = 1});
      CHECK(linter.end_step().empty());
    }
    Tape tape = Tape::inference();
    linter.watch(tape);
    (void)model(tape, windows.at(0).inputs, lm.lstm.zero_state(2));
  }
  CHECK(linter.report() == "[TrainingLinter] no mistake in 15 steps and 18 passes");
}

TEST_CASE("linter: nothing is said of batches of sequences, shuffled and padded") {
  Rng rng(1);
  const LSTMOptions options{
      .input = 4, .hidden = 3, .layers = 2, .dropout = 0.2, .bidirectional = true};
  CharLM reader{{7, 4, rng}, LSTM(options, rng), {6, 2, rng}};
  reader.embed.row_dropout = 0.2;
  SGD sgd(parameters(reader), {.lr = 0.1, .momentum = 0.9});
  TrainingLinter linter(parameters(reader), {.patience = 2});
  std::vector<Tensor> sentences;
  for (std::size_t n = 1; n < 8; ++n)
    sentences.push_back(Tensor::full({n}, static_cast<double>(n - 1), DType::int32));
  const std::vector<std::vector<std::size_t>> batches = {{5, 1, 3}, {0, 6, 2}, {4}};
  std::uint64_t step = 0;
  for (int epoch = 0; epoch < 3; ++epoch) {
    for (const auto& chosen : batches) {
      const auto [ids, lengths] = pad_sequences(sentences, chosen);
      const Tensor kinds = Tensor::full({chosen.size()}, 1, DType::int32);
      const auto loss = [&, &ids = ids, &lengths = lengths](Tape& tape) {
        linter.watch(tape, {.places = chosen});
        const LSTM& lstm = reader.lstm;
        const Var words = reader.embed(tape, ids, lengths);
        const auto [y, last] = lstm(tape, words, lstm.zero_state(chosen.size()), lengths);
        return cross_entropy(reader.head(tape, lstm.last_output(last)), kinds);
      };
      Tape tape = training(step++);
      const Var loss_now = loss(tape);
      sgd.zero_grad();
      tape.backward(loss_now);
      sgd.step({.clip_norm = 1});
      CHECK(linter.end_step().empty());
      Tape inference = Tape::inference();
      CHECK(loss(inference).item() > 0);
    }
  }
  CHECK(linter.report() == "[TrainingLinter] no mistake in 9 steps and 18 passes");
}

TEST_CASE("linter: nothing is said of a step that comes in front of the next pass") {
  const LintedNet net;
  SGD sgd(parameters(net), {.lr = 0.1});
  TrainingLinter linter(parameters(net));
  const auto backward = [&](std::uint64_t pass) {
    Tape tape = training(pass);
    linter.watch(tape);
    tape.backward(net.loss(tape));
  };
  for (std::uint64_t pass = 0; pass < 3; ++pass) {
    if (pass > 0) sgd.step();
    sgd.zero_grad();
    backward(pass);
    linter.end_step();
  }
  clip_grad_norm(sgd.parameters(), 1);
  backward(3);
  sgd.step();
  sgd.zero_grad();
  backward(4);
  linter.end_step();
  sgd.step();
  CHECK(linter.report() == "[TrainingLinter] no mistake in 4 steps and 5 passes");
}

TEST_CASE("linter: nothing is said of what is moved by hand, all or some") {
  const LintedNet net;
  SGD head(parameters(net).with_prefix("head."), {.lr = 0.1});
  CHECK(report_on(net, [&](Tape& tape, const Var& loss) {
          parameters(net).zero_grad();
          tape.backward(loss);
          head.step();
          for (const NamedParameter& p : parameters(net).with_prefix("body."))
            p.set_value(p.value());
        }) == none_in_4);
  const LintedNet another;
  CHECK(report_on(another, [&](Tape& tape, const Var& loss) {
          parameters(another).zero_grad();
          tape.backward(loss);
          for (const NamedParameter& p : parameters(another)) p.set_value(p.value());
        }) == "[TrainingLinter] no mistake in 0 steps and 4 passes");
}

TEST_CASE("linter: gradients of several passes may be added up, whether or not a step is ended") {
  const LintedNet net;
  Adam adam(parameters(net));
  for (const bool each : {false, true}) {
    TrainingLinter linter(parameters(net));
    for (std::uint64_t pass = 0; pass < 12; ++pass) {
      Tape tape = training(pass);
      linter.watch(tape);
      if (pass % 3 == 0) adam.zero_grad();
      tape.backward(net.loss(tape));
      clip_grad_norm(adam.parameters(), 1);
      if (pass % 3 == 2) adam.step();
      if (each || pass % 3 == 2) linter.end_step();
    }
    CHECK(linter.report() == "[TrainingLinter] no mistake in 4 steps and 12 passes");
  }
}

TEST_CASE("linter: two networks in turns, each with its optimizer") {
  const LintedNet judge(1);
  Rng rng(2);
  const Linear maker(2, 2, rng);
  Adam of_judge(parameters(judge)), of_maker(parameters(maker));
  for (const bool each : {false, true}) {
    TrainingLinter linter(parameters(judge) + parameters(maker), {.patience = 3});
    for (std::uint64_t pass = 0; pass < 12; ++pass) {
      const bool judges = pass % 3 < 2;
      Optimizer& optimizer = judges ? static_cast<Optimizer&>(of_judge) : of_maker;
      Tape tape = training(pass);
      linter.watch(tape);
      const Var made = maker(tape, LintedNet::x());
      optimizer.zero_grad();
      tape.backward(LintedNet::loss_of(judge(tape, judges ? made.detach() : made)));
      optimizer.step({.clip_norm = 1});
      if (each || pass % 3 == 2) linter.end_step();
    }
    CHECK(linter.report() == "[TrainingLinter] no mistake in " + std::to_string(each ? 12 : 4) +
                                 " steps and 12 passes");
  }
}

TEST_CASE("linter: a layer that learns later on, and one that nothing reaches any more") {
  const LintedNet net;
  const Parameters body = parameters(net).with_prefix("body.");
  SGD sgd(parameters(net), {.lr = 0.1});
  TrainingLinter linter(parameters(net), {.patience = 2});
  body.freeze();
  for (std::uint64_t pass = 0; pass < 12; ++pass) {
    if (pass == 5) body.unfreeze();
    Tape tape = training(pass);
    linter.watch(tape);
    sgd.zero_grad();
    Var features = tanh(net.body(tape, LintedNet::x()));
    if (pass > 7) features = features.detach();
    tape.backward(LintedNet::loss_of(net.head(tape, features)));
    sgd.step();
    linter.end_step();
  }
  CHECK(linter.report() == "[TrainingLinter] no mistake in 12 steps and 12 passes");
}

TEST_CASE("linter: gradients of all parameters that are 0 are no mistake") {
  const LintedNet net;
  SGD sgd(parameters(net), {.lr = 0.1});
  CHECK(report_on(net, [&](Tape& tape, const Var& loss) {
          sgd.zero_grad();
          tape.backward(0.0 * loss);
          sgd.step();
        }) == none_in_4);
}

TEST_CASE("linter: passes with dropout that are no evaluation, and evaluations without") {
  const LintedNet net;
  TrainingLinter linter(parameters(net));
  const auto run = [&](Tape tape, auto use) {
    linter.watch(tape);
    use(tape);
  };
  const auto read = [&](Tape& tape) { CHECK(net.loss(tape).item() > 0); };
  run(Tape::evaluation(), read);
  run(Tape::inference(), read);
  run(training(0), [&](Tape& tape) { (void)net.body(tape, LintedNet::x()); });
  run(training(1), [&](Tape& tape) {
    const Var loss = net.loss(tape);
    CHECK(tape.gradient(loss, {tape.leaf(net.head.bias)}, {.retain = true}).size() == 1);
  });
  const auto fail = [&](Tape& tape) {
    (void)net.loss(tape);
    throw std::runtime_error("stop");
  };
  CHECK_THROWS_AS(run(training(2), fail), std::runtime_error);
  CHECK(linter.report() == "[TrainingLinter] no mistake in 0 steps and 5 passes");
}

TEST_CASE("linter: rows of the batch that go on may be fewer, and new ones may follow") {
  const LintedNet net;
  TrainingLinter linter(parameters(net));
  const auto watch = [&](const std::vector<std::size_t>& chosen, bool carried) {
    Tape tape = Tape::inference();
    linter.watch(tape, {.places = chosen, .carried = carried});
  };
  watch({0, 10, 20}, true);  // nothing was before
  watch({1, 11, 21}, true);
  watch({1, 12}, true);
  watch({7, 5, 3}, false);
  watch({7, 6, 3}, true);
  Tape tape;
  linter.watch(tape);
  CHECK(linter.report() == "[TrainingLinter] no mistake in 0 steps and 6 passes");
}

TEST_CASE("linter: a training with it has the same bits, and asks the heap for nothing more") {
  const auto train = [](bool linted) {
    const LintedNet net;
    Adam adam(parameters(net));
    TrainingLinter linter(parameters(net));
    std::size_t asked = 0;
    for (std::uint64_t pass = 0; pass < 20; ++pass) {
      const std::size_t before = allocations();
      Tape tape = training(pass);
      if (linted) linter.watch(tape);
      adam.zero_grad();
      tape.backward(net.loss(tape));
      adam.step({.clip_norm = 1});
      if (linted) CHECK(linter.end_step().empty());
      if (pass > 4) asked += allocations() - before;
    }
    std::vector<double> result = {static_cast<double>(asked)};
    for (const NamedParameter& p : parameters(net)) {
      for (std::size_t i = 0; i < p.value().numel(); ++i) result.push_back(p.value().at(i));
    }
    return result;
  };
  CHECK(train(true) == train(false));
}
