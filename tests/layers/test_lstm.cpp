#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "../../core/error.h"
#include "../../core/pool.h"
#include "../../core/threads.h"
#include "../oracles/naive_lstm.h"
#include "../support/extended.h"
#include "../support/lstm_cases.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t longest = sanitized ? 50 : 300;  // a sanitizer takes a hundred times as long

/// Fresh memory is NaN while it lives, so that nothing can pass by reading what was there.
struct PoisonedMemory {
  PoisonedMemory() { pool::poison(true); }
  ~PoisonedMemory() { pool::poison(false); }
};

/// A problem as the plain loops have it. Its inputs are numbered as the gradients of
/// LstmProblem::solve().
struct PlainLoops {
  NaiveCase sizes;
  std::vector<NaiveData> layers;

  static Values<double> numbers(const Tensor& t) {
    Values<double> n(t.numel());
    for (std::size_t i = 0; i < n.size(); ++i) n[i] = t.at(i);
    return n;
  }

  PlainLoops(const LstmCase& c, LstmProblem& p)
      : sizes{.T = c.steps, .B = c.batch, .I = c.input, .H = c.hidden} {
    const Parameters weights = parameters(p.model);
    for (std::size_t l = 0; l < c.layers; ++l) {
      NaiveData d;
      d.in.resize(INPUTS);
      if (l == 0) d.in[X] = numbers(p.x);
      d.in[H0] = numbers(p.h0.row(l)), d.in[C0] = numbers(p.c0.row(l));
      for (std::size_t k = 0; k < 4; ++k) d.in[W_IH + k] = numbers(weights[4 * l + k].value());
      if (l + 1 == c.layers) d.dy = numbers(p.wy);
      d.dh_last = numbers(p.wh.row(l)), d.dc_last = numbers(p.wc.row(l));
      layers.push_back(std::move(d));
    }
  }

  std::size_t inputs() const { return W_IH + 4 * layers.size(); }
  /// Returns d loss / d (number `index` of input `which`).
  double derivative(std::size_t which, std::size_t index) const {
    if (which == X) return complex_step(sizes, layers, 0, X, index);
    if (which >= W_IH) {
      return complex_step(sizes, layers, (which - W_IH) / 4, W_IH + (which - W_IH) % 4, index);
    }
    const std::size_t state = sizes.B * sizes.H;  // of one layer
    return complex_step(sizes, layers, index / state, which, index % state);
  }
};

/// The worst deviation beyond what float32 may lose on the way back through the steps, in each form
/// about a unit of the last place a step: they round differently, and a slice is compared with its
/// own largest element.
Deviation fused_against_composed(DType dtype, std::initializer_list<std::size_t> widths) {
  constexpr double unit = std::numeric_limits<float>::epsilon();
  const PoisonedMemory poisoned;
  Deviation d;
  std::size_t problems = 0;
  for (const std::size_t steps : std::initializer_list<std::size_t>{1, 2, 3, 7, 50, 300}) {
    if (steps > longest) continue;
    for (const std::size_t batch : std::initializer_list<std::size_t>{1, 3}) {
      for (const std::size_t hidden : widths) {
        for (const std::size_t layers : std::initializer_list<std::size_t>{1, 2, 3}) {
          LstmProblem problem({.steps = steps,
                               .batch = batch,
                               .input = 5,
                               .hidden = hidden,
                               .layers = layers,
                               .dtype = dtype});
          for (const Loss loss : {Loss::y, Loss::h, Loss::c, Loss::all}) {
            Deviation one;
            one.compare(problem.solve(true, loss), problem.solve(false, loss));
            if (dtype == DType::float32) one.worst -= 2 * unit * static_cast<double>(steps);
            if (is_worse(one.worst, d.worst)) d.worst = one.worst, d.where = one.where;
            d.excluded += one.excluded;
            ++problems;
          }
        }
      }
    }
  }
  MESSAGE("fused against composed, ", std::string(to_string(dtype)), ", ", problems,
          " problems: worst ", d.worst, " (", d.where, "), ", d.excluded,
          " slices without gradient excluded");
  return d;
}

}  // namespace

TEST_CASE("lstm: fused equals composed, values and all gradients, float64") {
  CHECK(fused_against_composed(DType::float64, {1, 3, 8, 17, 33}).worst <= 1e-13);
}

TEST_CASE("lstm: fused equals composed, values and all gradients, float32") {
  CHECK(fused_against_composed(DType::float32, {3, 8, 17, 33}).worst <= 5e-6);
  // With one unit a whole slice can be the difference of two numbers that are almost equal, and
  // then float32 has few digits left, in the composed form as in the fused one (both are that far
  // from float64).
  CHECK(fused_against_composed(DType::float32, {1}).worst <= 2e-4);
}

TEST_CASE("lstm: dropout between layers has the same masks in both, and one or no bias works") {
  for (const LSTMBias bias : {LSTMBias::none, LSTMBias::one, LSTMBias::two}) {
    LstmProblem problem(
        {.steps = 7, .batch = 3, .hidden = 5, .layers = 3, .dropout = 0.4, .bias = bias});
    Deviation d;
    d.compare(problem.solve(true, Loss::all), problem.solve(false, Loss::all));
    CHECK(d.worst <= 1e-13);
    CHECK(largest(problem.solve(true, Loss::all)[0].value) > 0);
    Deviation other;
    other.compare(problem.solve(true, Loss::all, 6), problem.solve(true, Loss::all, 7));
    CHECK(other.worst > 0.1);  // another seed, other masks
  }
}

TEST_CASE("lstm: gradients against the complex step") {
  Deviation d;
  for (const std::size_t steps : std::initializer_list<std::size_t>{1, 2, 3, 7, 50, 300}) {
    if (steps > longest) continue;
    for (const LstmCase& sizes : {LstmCase{.batch = 1, .input = 1, .hidden = 1, .layers = 1},
                                  LstmCase{.batch = 3, .input = 2, .hidden = 3, .layers = 1},
                                  LstmCase{.batch = 2, .input = 2, .hidden = 2, .layers = 2}}) {
      for (const Loss loss : {Loss::y, Loss::h, Loss::c, Loss::all}) {
        LstmCase c = sizes;
        c.steps = steps;
        c.loss = loss;
        LstmProblem problem(c);
        const std::vector<NamedValue> ours = problem.solve(true, Loss::all);
        const PlainLoops oracle(c, problem);
        for (std::size_t which = 0; which < oracle.inputs(); ++which) {
          const NamedValue& gradient = ours[3 + which];
          Tensor truth = gradient.value.clone();
          const std::span<double> values = truth.mutable_values<double>();
          // of a long x, the first and the last steps
          for (std::size_t i = 0; i < values.size(); ++i) {
            if (i >= 24 && i + 24 < values.size()) continue;
            values[i] = oracle.derivative(which, i);
          }
          d.compare(gradient.name, gradient.value, truth);
        }
      }
    }
  }
  MESSAGE("against the complex step: worst ", d.worst, " (", d.where, "), ", d.excluded,
          " tensors without gradient");
  CHECK(d.worst <= 1e-12);
}

TEST_CASE("gradcheck: lstm over long sequences, within the bound of the differences" *
          doctest::test_suite("gradients")) {
  double worst = 0, bound = 0;
  std::size_t undecided = 0, checked = 0;
  for (const std::size_t steps : std::initializer_list<std::size_t>{1, 2, 3, 7, 50, 300}) {
    if (steps > longest) continue;
    LstmProblem p({.steps = steps, .batch = 2, .input = 2, .hidden = 3, .layers = 2});
    const auto f = [&](Tape& tape, std::span<const Var> in) {
      const LSTMResult r = p.model(tape, in[0], {in[1], in[2]});
      return Vars{r.y, r.last.h, r.last.c};
    };
    const GradcheckReport report =
        gradcheck(f, {{"x", p.x}, {"h0", p.h0}, {"c0", p.c0}}, parameters(p.model),
                  {.budget = 1, .entries = 40, .directions = 0});
    CHECK_MESSAGE(report.failed == 0, report.text());
    CHECK_MESSAGE(report.reason.empty(), report.text());
    for (const GradEntry& e : report.entries) {
      // What happened 300 steps ago has a gradient far below the noise of the loss: nothing can
      // decide it.
      if (e.block >= 3) CHECK(e.verdict == Verdict::pass);
      if (e.error > worst) worst = e.error, bound = e.bound;
    }
    undecided += report.inconclusive;
    checked += report.checked;
  }
  MESSAGE("6-point differences: ", checked, " entries, worst error ", worst, " (bound ", bound,
          "), ", undecided, " of x, h0, c0 undecided");
}

TEST_CASE("lstm: a sequence in two halves with carried state is the whole sequence") {
  // Not bit for bit: OpenBLAS may take another kernel for another number of rows.
  LstmProblem p({.steps = 6, .batch = 3, .input = 4, .hidden = 17, .layers = 2});
  Tape tape = Tape::inference();
  const LSTMResult whole = p.model(tape, p.x, {p.h0, p.c0});
  const LSTMResult first = p.model(tape, p.x.slice(0, 2), {p.h0, p.c0});
  const LSTMResult second = p.model(tape, p.x.slice(2, 6), first.last);
  Deviation d;
  d.compare("y", second.y.value(), whole.y.value().slice(2, 6));
  d.compare("h", second.last.h.value(), whole.last.h.value());
  d.compare("c", second.last.c.value(), whole.last.c.value());
  CHECK(d.worst <= 1e-14);
}

TEST_CASE("lstm: the bits of values and gradients do not depend on the number of threads" *
          doctest::test_suite("threads")) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    LstmProblem p(
        {.steps = 5, .batch = 70, .input = 30, .hidden = 40, .layers = 2, .dtype = dtype});
    set_threads(1);
    const std::vector<NamedValue> one = p.solve(true, Loss::all);
    set_threads(2);
    const std::vector<NamedValue> two = p.solve(true, Loss::all);
    set_threads(1);
    for (std::size_t i = 0; i < one.size(); ++i) {
      std::size_t different = 0;
      for (std::size_t k = 0; k < one[i].value.numel(); ++k)
        different += one[i].value.at(k) != two[i].value.at(k);
      CHECK_MESSAGE(different == 0, one[i].name);
    }
  }
}

TEST_CASE("lstm: recording changes no value, and a retained pass differentiates twice alike") {
  LstmProblem p({.steps = 4, .batch = 3, .hidden = 8, .layers = 2});
  Tape inference = Tape::inference();
  const LSTMResult plain = p.model(inference, p.x, {p.h0, p.c0});
  Tape tape;
  const Var x = tape.leaf(p.x);
  const LSTMResult recorded = p.model(tape, x, {p.h0, p.c0});
  const Var loss = p.loss_of(recorded, Loss::all);
  const Var first = tape.gradient(loss, {x}, {.retain = true})[0];
  const Var second = tape.gradient(loss, {x})[0];
  for (std::size_t i = 0; i < plain.y.shape().numel(); ++i)
    CHECK(plain.y.value().at(i) == recorded.y.value().at(i));
  for (std::size_t i = 0; i < p.x.numel(); ++i) CHECK(first.value().at(i) == second.value().at(i));
}

TEST_CASE("lstm: the constructor starts the forget gate open, torch's way is an option") {
  Rng rng(1);
  LSTM ours({.input = 2, .hidden = 3}, rng);
  LSTM theirs({.input = 2, .hidden = 3, .init = LSTMInit::torch}, rng);
  const Tensor& bias = ours.layers[0].bias_ih.value();
  for (std::size_t k = 0; k < 12; ++k) CHECK((bias.at(k) == 1) == (k >= 3 && k < 6));
  CHECK(largest(theirs.layers[0].bias_ih.value()) < 0.578);
  const Parameters names = parameters(ours);
  CHECK(names.size() == 4);
  CHECK(names[0].name == "weight_ih_l0");
  CHECK(names[3].name == "bias_hh_l0");
}
