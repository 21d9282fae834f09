// Covers autograd/gradcheck/tape_twin_check: float32 models against their float64 twins.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/tape_twin_check.h"
#include "../../autograd/node.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/softmax.h"
#include "../../core/error.h"
#include "../../layers/model/clone.h"
#include "../support/char_lm.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// A gradient that is wrong by a factor in float32 only, as a fast path would be.
Var wrong_in_single(const Var& x, double factor) {
  Node n("wrong_in_single", {x});
  Var y = n.out(x.detach().value());
  const bool single = x.dtype() == DType::float32;
  n.rule([=](Grads& g) { g.add(0, single ? g.d() * factor : g.d()); });
  return y;
}

struct Setup {
  Rng rng;
  std::size_t hidden, steps;
  SequenceModel model;
  Tensor x, y;
  double factor = 1;

  explicit Setup(std::uint64_t seed)
      : rng(seed, "twin"),
        hidden(2 + rng.below(5)),
        steps(1 + rng.below(8)),
        model{{{.input = 3, .hidden = hidden, .layers = 1 + rng.below(2)}, rng}, {hidden, 4, rng}},
        x(rng.normal({steps, 2, 3}, 0, std::pow(10.0, rng.uniform(-2, 1)))),
        y(rng.normal({steps, 2, 4}, 0, 1)) {
    const double size = std::pow(10.0, rng.uniform(-2, 1));
    for (const NamedParameter& p : parameters(model)) {
      p.set_value(rng.normal(p.value().shape(), 0, size));
    }
  }
  Var loss(Tape& tape, const SequenceModel& m, DType dtype) const {
    const Var h = dropout(tape, m.lstm(tape, x.to(dtype)).y, 0.2);
    return mean(square(log_softmax(m.head(tape, wrong_in_single(h, factor))) - Var(y.to(dtype))));
  }
  TwinReport check(const SequenceModel& twin) const {
    return twin_check([&](Tape& t) { return loss(t, model, DType::float32); }, parameters(model),
                      [&](Tape& t) { return loss(t, twin, DType::float64); }, parameters(twin),
                      {.budget = 0, .entries = 2, .directions = 1});
  }
  TwinReport check() const { return check(to(model, DType::float64)); }
};

}  // namespace

TEST_CASE("gradcheck: 200 random float32 models agree with their twins, a planted 1e-4 seldom" *
          doctest::test_suite("gradients")) {
  double closest = 0;
  int found = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Setup s(seed);
    const TwinReport right = s.check();
    CHECK_MESSAGE(right.loss_error <= right.loss_bound, "seed ", seed, ": ", right);
    CHECK_MESSAGE(right.formula.failed == 0, "seed ", seed, ": ", right);
    for (const TwinBlock& b : right.blocks) {
      CHECK_MESSAGE(b.error <= b.bound, "seed ", seed, ": ", right);
      if (b.bound > 0) closest = std::max(closest, b.error / b.bound);
    }
    s.factor = 1.0001;
    const TwinReport wrong = s.check();
    found +=
        !std::ranges::all_of(wrong.blocks, [](const TwinBlock& b) { return b.error <= b.bound; });
  }
  MESSAGE("largest error / bound ", closest, ", planted 1e-4 found in ", found, " of 200");
  CHECK(found >= 190);
}

TEST_CASE("twin_check: the report, and twins that are none") {
  Setup s(1);
  SequenceModel twin = to(s.model, DType::float64);
  const TwinReport right = s.check(twin);
  CHECK_MESSAGE(right, right);
  CHECK(right.operations > 0);
  CHECK(right.text().starts_with("twin_check: PASS; "));
  s.factor = 1.01;
  const TwinReport wrong = s.check(twin);
  CHECK_FALSE(wrong);
  CHECK(wrong.formula);  // the formula is right, float32 is not
  CHECK(wrong.blocks[0].name.starts_with("lstm"));
  CHECK(wrong.text().find(wrong.blocks[0].name + ": float32 differs by ") != std::string::npos);
  const std::string cure =
      ": they must agree; make the twin with to(model, DType::float64) just before";
  const auto check = [&](const SequenceModel& other, const std::string& message) {
    CHECK_THROWS_WITH(s.check(other), message.c_str());
  };
  s.factor = 1;
  TwinReport undecided = right;
  undecided.formula.verdict = Verdict::inconclusive;
  CHECK(undecided.text().starts_with("twin_check: INCONCLUSIVE; "));
  undecided.loss_error = 2 * undecided.loss_bound + 1;
  CHECK(undecided.text().starts_with("twin_check: FAIL; "));
  Setup different(1);
  different.model.head.weight.set_value(
      Tensor::full(different.model.head.weight.value().shape(), 1));
  check(to(different.model, DType::float64),
        "[twin_check] head.weight and its twin head.weight have different values" + cure);
  twin.head.bias.set_requires_grad(false);
  check(twin, "[twin_check] head.bias and its twin head.bias are not both frozen" + cure);
  s.model.head.bias.set_requires_grad(false);
  CHECK(s.check(twin).blocks.size() + 1 == right.blocks.size());
  CHECK_THROWS_AS(s.check(clone(s.model)), DtypeError);
  CHECK_THROWS_WITH_AS((void)twin_check([](Tape&) { return Var(); }, parameters(s.model),
                                        [](Tape&) { return Var(); }, {}),
                       "[twin_check] the model has 6 Parameters but its twin has 0: they must "
                       "agree; make the twin with to(model, DType::float64)",
                       UsageError);
  std::ostringstream out;
  out << right;
  CHECK(out.str() == right.text());
}

TEST_CASE("twin_check: a NaN is not forgotten, and is the worst of all") {
  const auto blocks = [](DType dtype) {
    Parameters result;
    for (const char* name : {"unused", "wrong", "nan"}) {
      result.push_back({name, Parameter(Tensor::of({3}, {1, 2, 3}, dtype))});
    }
    return result;
  };
  const Parameters single = blocks(DType::float32), twin = blocks(DType::float64);
  const auto scaled = [](const Var& x, std::size_t entry, float by) {  // its gradient, in float32
    Node n("scaled", {x});
    Var y = n.out(x.detach().value());
    Tensor factor = Tensor::full(x.shape(), 1, x.dtype());
    if (x.dtype() == DType::float32) factor.mutable_values<float>()[entry] = by;
    n.rule([f = Var(factor)](Grads& g) { g.add(0, g.d() * f); });
    return y;
  };
  for (std::size_t entry = 0; entry < 3; ++entry) {
    const auto loss = [&](const Parameters& p) {
      return [&, entry](Tape& tape) {
        const Var wrong = scaled(tape.leaf(p[1]), entry, 1.01f);
        const Var nan = scaled(tape.leaf(p[2]), entry, std::nanf(""));
        return sum(square(wrong) + square(nan) + 0.0 * tape.leaf(p[0]));
      };
    };
    const TwinReport report = twin_check(loss(single), single, loss(twin), twin);
    CHECK_FALSE(report);
    CHECK(report.formula);
    REQUIRE(report.blocks.size() == 3);
    CHECK(report.blocks[0].name == "nan");
    CHECK(report.blocks[0].entry == entry);
    CHECK(report.blocks[1].name == "wrong");
    CHECK(report.blocks[1].entry == entry);
    CHECK(report.blocks[2].name == "unused");  // zero both ways: nothing is wrong with it
  }
}

// Truncated BPTT differentiates a sum of losses in which the state at the start of each window is a
// constant. Differences see the same only if these states are frozen at what they are: computed
// once, before any weight is moved.
TEST_CASE("gradcheck: truncated BPTT is exact for its own objective, and not for the full one" *
          doctest::test_suite("gradients")) {
  Rng rng(5);
  const LSTM lstm({.input = 3, .hidden = 4, .dtype = DType::float64}, rng);
  constexpr std::size_t windows = 4;
  std::vector<Tensor> x, y;
  for (std::size_t k = 0; k < windows; ++k) {
    x.push_back(rng.normal({5, 2, 3}, 0, 1, DType::float64));
    y.push_back(rng.normal({5, 2, 4}, 0, 1, DType::float64));
  }
  // The training loop as everybody writes it; it keeps the states at which windows began.
  std::vector<LSTMState> frozen;
  LSTMState state = lstm.zero_state(2);
  for (std::size_t k = 0; k < windows; ++k) {
    frozen.push_back(state);
    Tape tape;
    const LSTMResult r = lstm(tape, x[k], state);
    tape.backward(mean(square(r.y - Var(y[k]))));
    state = r.last.detach();
  }
  std::vector<GradBlock> blocks;
  for (const NamedParameter& p : parameters(lstm)) {
    const auto dims = p.value().shape().dims();
    Tensor value = p.value();
    blocks.push_back(grad_block(p.name, value.mutable_values<double>(), p.grad().values<double>(),
                                {dims.begin(), dims.end()}));
  }
  const auto objective = [&](bool truncated) {
    for (const NamedParameter& p : parameters(lstm)) {  // has changed
      Tensor value = p.value();
      value.mutable_data<double>();
    }
    double sum = 0;
    LSTMState carried = frozen[0];
    for (std::size_t k = 0; k < windows; ++k) {
      Tape tape = Tape::inference();
      const LSTMResult r = lstm(tape, x[k], truncated ? frozen[k] : carried);
      carried = r.last;
      sum += mean(square(r.y - Var(y[k]))).item();
    }
    return sum;
  };
  const GradcheckReport report = gradcheck([&] { return objective(true); }, blocks);
  CHECK_MESSAGE(report, report.text());
  CHECK(report.inconclusive == 0);
  const GradcheckReport full = gradcheck([&] { return objective(false); }, blocks);
  CHECK(full.verdict == Verdict::fail);
  CHECK(full.failed > report.checked / 2);
}
