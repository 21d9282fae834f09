#include <doctest/doctest.h>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/node.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../../core/kernels/elementwise.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"

TEST_SUITE_BEGIN("tape");

using namespace tapegrad;

namespace {

/// tanh with a rule that is wrong by a factor.
Var wrong_tanh(const Var& x, double factor) {
  Node n("wrong_tanh", {x});
  Var y = n.out(tanh(x.detach()).value());
  n.rule([y, factor](Grads& g) { g.add(0, factor * g.d() * (1.0 - square(y))); });
  return y;
}

const Tensor points = Tensor::of({2, 3}, {0.1, -0.4, 0.9, -1.1, 0.3, 0.7}, DType::float64);

}  // namespace

TEST_CASE("tape_gradcheck: a model's parameters by name") {
  Rng rng(1);
  Linear model(3, 2, rng, {.dtype = DType::float64});
  const GradcheckReport report = gradcheck(
      [&](Tape& tape) { return sum(square(tanh(model(tape, points)))); }, parameters(model));
  CHECK_MESSAGE(report, report.text());
  CHECK(report.checked == 8);
  CHECK(report.blocks[0].block.name == "weight");
}

TEST_CASE(
    "tape_gradcheck: a rule that is wrong by a thousandth fails, by name, to first and second "
    "order") {
  const auto f = [](double factor) {
    return [factor](Tape&, std::span<const Var> x) { return Vars{wrong_tanh(x[0], factor)}; };
  };
  CHECK(gradcheck(f(1.0), {{"x", points}}));
  CHECK(gradgradcheck(f(1.0), {{"x", points}}));
  const GradcheckReport report = gradcheck(f(1.001), {{"x", points}});
  CHECK(report.verdict == Verdict::fail);
  CHECK(report.failed == 6);
  CHECK(report.text().find("x[") != std::string::npos);
}

TEST_CASE("tape_gradcheck: outputs that cancel in a plain sum are still seen") {
  const auto f = [](Tape&, std::span<const Var> x) {
    const Var y = wrong_tanh(x[0], 2.0);
    return Vars{y, -y};
  };
  CHECK_FALSE(gradcheck(f, {{"x", points}}));
}

TEST_CASE("tape_gradcheck: dropout repeats its mask") {
  const auto f = [](Tape& tape, std::span<const Var> x) {
    return Vars{dropout(tape, square(x[0]), 0.5)};
  };
  const GradcheckReport report = gradcheck(f, {{"x", points}});
  CHECK_MESSAGE(report, report.text());
  CHECK(report.unexercised > 0);
}

TEST_CASE("tape_gradcheck: inputs and parameters are as before, float32 is refused") {
  const Tensor x = points.clone();
  (void)gradcheck([](Tape&, std::span<const Var> in) { return Vars{exp(in[0])}; }, {{"x", x}});
  for (std::size_t i = 0; i < x.numel(); ++i) CHECK(x.at(i) == points.at(i));
  Rng rng(1);
  Linear model(3, 2, rng);
  CHECK_THROWS_WITH_AS(
      gradcheck([&](Tape& tape) { return sum(model(tape, points.to(DType::float32))); },
                parameters(model)),
      "[gradcheck] weight is float32: it must be float64; float32 cannot resolve a difference of "
      "two "
      "losses",
      DtypeError);
}

TEST_CASE(
    "tape_gradcheck: a kink is named by its op and place, and any slope between is accepted") {
  const Tensor at_kink = Tensor::of({2, 2}, {1, 0, -1, 0.5}, DType::float64);
  const auto check = [&](Var (*op)(const Var&), const Tensor& x) {
    return gradcheck(
        [op](Tape&, std::span<const Var> in) { return Vars{op(square(in[0]) * in[0] + in[0])}; },
        {{"x", x}});
  };
  using Op = Var (*)(const Var&);
  for (const Op op : {Op(relu), Op(abs)}) {
    const GradcheckReport report = check(op, at_kink);
    CHECK_MESSAGE(report, report.text());
    CHECK(report.kinks == 1);
    CHECK(report.checked == 4);
    const GradEntry& kink = report.entries.front();
    CHECK(kink.verdict == Verdict::kink);
    CHECK(kink.index == 1);
    CHECK(kink.branch == std::string(op == Op(abs) ? "abs" : "relu") + "#4[0, 1]");
    CHECK(report.text().find(", 1 at kinks (first x[0, 1] at " + kink.branch + ");") !=
          std::string::npos);
    CHECK(report.json().find("\"branch\":\"" + kink.branch + '"') != std::string::npos);
  }
  // Near a kink the step shrinks until it stays on one side.
  const GradcheckReport near = check(relu, Tensor::of({2}, {1e-3, -1e-3}, DType::float64));
  CHECK_MESSAGE(near, near.text());
  CHECK(near.kinks == 0);
}

TEST_CASE("tape_gradcheck: a wrong rule of relu is found beside kinks") {
  const auto leaky = [](const Var& x) {  // its gradient is, its value is not
    Node n("relu", {x});
    const Var y = n.out(kernels::relu(x.value()));
    n.branch([&] { return kernels::is_positive(x.value()); });
    n.rule([x](Grads& g) { g.add(0, g.d() * (kernels::is_positive(x.value())) + g.d() * 0.01); });
    return y;
  };
  const GradcheckReport report =
      gradcheck([&](Tape&, std::span<const Var> in) { return Vars{leaky(in[0])}; },
                {{"x", Tensor::of({3}, {0, -1, 1}, DType::float64)}});
  CHECK(report.verdict == Verdict::fail);
  CHECK(report.failed == 2);
}

TEST_CASE("tape_gradcheck: the rows of an LSTM's weights are called by their gates") {
  Rng rng(1);
  const LSTM lstm({.input = 2, .hidden = 3, .dtype = DType::float64}, rng);
  const Tensor x = rng.normal({4, 1, 2}, 0, 1, DType::float64);
  const GradcheckReport report =
      gradcheck([&](Tape& tape) { return sum(square(lstm(tape, x).y)); }, parameters(lstm));
  CHECK_MESSAGE(report, report.text());
  CHECK(report.blocks[1].block.entry_name(3 * 4 + 2) == "weight_hh_l0[gate f, row 1, col 2]");
  CHECK(report.blocks[2].block.entry_name(7) == "bias_ih_l0[gate g, row 1]");
}

TEST_CASE("tape_gradcheck: frozen Parameters are constants, and a function needs an output") {
  Rng rng(1);
  Linear model(3, 2, rng, {.dtype = DType::float64});
  const auto loss = [&](Tape& tape) { return sum(square(tanh(model(tape, points)))); };
  model.weight.set_requires_grad(false);
  const GradcheckReport report = gradcheck(loss, parameters(model));
  CHECK_MESSAGE(report, report.text());
  CHECK(report.checked == 2);
  CHECK(report.blocks[0].block.name == "bias");
  const char* none = "[gradcheck] the function gave no outputs: it must return at least one";
  const auto nothing = [](Tape&, std::span<const Var>) { return Vars{}; };
  CHECK_THROWS_WITH_AS(gradcheck(nothing, {{"x", points}}), none, UsageError);
  CHECK_THROWS_WITH_AS(gradgradcheck(nothing, {{"x", points}}), none, UsageError);
}

TEST_CASE("tape_gradcheck: the analytic gradient of a loss is the Parameter's") {
  Rng rng(1);
  Linear model(3, 2, rng, {.dtype = DType::float64});
  const auto loss = [&](Tape& tape) { return sum(square(tanh(model(tape, points)))); };
  const GradcheckReport report = gradcheck(loss, parameters(model));
  Tape tape;
  tape.backward(loss(tape));
  for (const GradEntry& e : report.entries) {
    const Parameter& p = e.block == 0 ? model.weight : model.bias;
    CHECK(e.analytic == p.grad().at(e.index));
  }
}

TEST_SUITE_END();
