#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "../../autograd/inspect/graph.h"
#include "../../autograd/inspect/scope.h"
#include "../../autograd/inspect/trace.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"

using namespace tapegrad;

TEST_CASE("inspect: the text of a tape") {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2, 3}));
  {
    const Scope outer(tape, "decoder");
    const Vars rows = unbind(x);
    const Scope inner(tape, "step", 4);
    (void)(tanh(rows[0]) * Var(Tensor::zeros({3})));
  }
  (void)sum(x);
  CHECK(to_text(tape) ==
        "#0 (2, 3)  leaf()\n"
        "#1 (3), #2 (3)  unbind(#0)  decoder\n"
        "#3 (3)  tanh(#1)  decoder/step.4\n"
        "#4 (3)  mul(#3, constant)  decoder/step.4\n"
        "#5 ()  sum(#0)\n");
  CHECK(nodes(tape).size() == tape.size());
  CHECK(to_text(Tape()).empty());
}

TEST_CASE("inspect: DOT has an arrow for each use and a box for each scope") {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2}));
  {
    const Scope scope(tape, "a \"b\"");
    (void)(x * x);
  }
  CHECK(to_dot(tape) ==
        "digraph tape {\nrankdir=LR;\nnode [shape=box, fontname=\"sans-serif\"];\n"
        "n0 [label=\"leaf (2)\", style=rounded];\n"
        "subgraph cluster_0 {\nlabel=\"a \\\"b\\\"\";\n"
        "n1 [label=\"mul (2)\"];\n"
        "}\n"
        "n0 -> n1 [label=\"#0\"];\nn0 -> n1 [label=\"#0\"];\n"
        "}\n");
}

TEST_CASE("inspect: the layers of an LSTM name their nodes") {
  Rng rng(1);
  const LSTM lstm({.input = 2, .hidden = 3, .layers = 2}, rng);
  Tape tape = Tape::evaluation();
  const Scope model(tape, "model");
  (void)lstm(tape, Tensor::zeros({4, 1, 2}));
  std::vector<std::string> scopes;
  for (const NodeView& node : nodes(tape)) {
    if (std::string(node.name) == "lstm") scopes.push_back(node.scope);
  }
  CHECK(scopes == std::vector<std::string>{"model/lstm.0", "model/lstm.1"});
}

TEST_CASE("inspect: a trace shows a pass as it flows") {
  std::vector<std::string> lines;
  Tape tape;
  Trace trace(
      tape, [&](std::string_view line) { lines.emplace_back(line); }, 2);
  const Var x = trace.name("x", tape.leaf(Tensor::of({3}, {1, 2, 3}, DType::float64)));
  const Var y = trace.name("y", square(x) * Var(Tensor::scalar(2, DType::float64)));
  (void)tape.gradient(sum(y), {x});
  CHECK(lines == std::vector<std::string>{
                     "#0 = leaf() = [1, 2, ...]", "#1 = square(x) = [1, 4, ...]",
                     "#2 = mul(#1, constant) = [2, 8, ...]", "#3 = sum(y) = 28", "d#3 = 1",
                     "dy = [1, 1, ...]", "d#1 = [2, 2, ...]", "dx = [4, 8, ...]"});
}

TEST_CASE("inspect: a trace shows the gradient of every output of a node") {
  std::vector<std::string> lines;
  Tape tape;
  const Var x = tape.leaf(Tensor::of({2}, {1, 2}, DType::float64));
  const Vars parts = unbind(x);
  const Var y = parts[0] * parts[1];
  const Trace trace(tape, [&](std::string_view line) { lines.emplace_back(line); });
  (void)tape.gradient(y, {x});
  CHECK(lines == std::vector<std::string>{"d#3 = 1", "d#1 = 2", "d#2 = 1", "d#0 = [2, 1]"});
}

TEST_CASE("inspect: a trace of no elements shows that there are some") {
  std::string last;
  Tape tape;
  Trace trace(
      tape, [&](std::string_view line) { last = line; }, 0);
  (void)tape.leaf(Tensor::of({2}, {1, 2}, DType::float64));
  CHECK(last == "#0 = leaf() = [...]");
  (void)tape.leaf(Tensor::scalar(7));
  CHECK(last == "#1 = leaf() = 7");
}

TEST_CASE("inspect: what ops note is shown if somebody asks for notes") {
  const auto record = [](Tape& tape) {
    const Var x = tape.leaf(Tensor::zeros({2, 3}));
    const Var y = transpose(x);
    (void)scale(cumsum(sum(y, 1), 0, true), 0.5);
  };
  Tape unobserved, tape;
  record(unobserved);
  CHECK(to_text(unobserved).find('=') == std::string::npos);
  Observer notes(Interest::notes);
  observe(tape, notes);
  record(tape);
  CHECK(to_text(tape) ==
        "#0 (2, 3)  leaf()\n"
        "#1 (3, 2)  transpose(#0, axis0=0, axis1=1)\n"
        "#2 (3)  sum(#1, axis=1)\n"
        "#3 (3)  cumsum(#2, axis=0, reverse=1)\n"
        "#4 (3)  scale(#3, factor=0.5)\n");
  CHECK(to_dot(tape).find("n4 [label=\"scale factor=0.5 (3)\"];") != std::string::npos);
}

TEST_CASE("inspect: a trace shows what ops note, and Parameters by their names") {
  std::vector<std::string> lines;
  Rng rng(1);
  Linear linear(1, 1, rng);
  Tape tape;
  Trace trace(tape, [&](std::string_view line) { lines.emplace_back(line); });
  trace.name(parameters(linear));
  (void)scale(tape.leaf(linear.bias), 2);
  REQUIRE(lines.size() == 2);
  CHECK(lines[1].starts_with("#1 = scale(bias, factor=2) = ["));
  (void)linear(tape, Tensor::zeros({1, 1}));
  CHECK(nodes(tape)[0].parameter == linear.bias.data().get());
  CHECK(nodes(tape)[1].parameter == nullptr);
  const std::string text = to_text(tape, parameters(linear));
  CHECK(text.starts_with("#0 (1)  leaf(bias)\n"));
  CHECK(text.find("(1, 1)  leaf(weight)\n") != std::string::npos);
  CHECK(to_dot(tape, parameters(linear)).find("leaf bias (1)") != std::string::npos);
}

TEST_CASE("inspect: scopes may end in any order") {
  Tape tape;
  auto outer = std::make_unique<Scope>(tape, "outer");
  auto inner = std::make_unique<Scope>(tape, "inner");
  const auto here = [&] {
    (void)tape.leaf(Tensor::zeros({1}));
    return nodes(tape).back().scope;
  };
  CHECK(here() == "outer/inner");
  outer.reset();
  CHECK(here() == "outer/inner");  // what goes on belongs to both
  inner.reset();
  CHECK(here() == "");
  const Scope next(tape, "next");
  CHECK(here() == "next");
}

TEST_CASE("inspect: an error names its scope, whether or not anything is recorded") {
  for (const bool records : {true, false}) {
    Tape tape = records ? Tape::evaluation() : Tape::inference();
    const Scope decoder(tape, "a decoder with a long name");
    const auto wrong = [&] { (void)(Var(Tensor::zeros({2})) * Var(Tensor::zeros({3}))); };
    {
      const Scope head(tape, "head", 2);
      CHECK_THROWS_WITH_AS(
          wrong(),
          "[mul] a has shape (2) but b has shape (3): the shapes must be equal, or one the last "
          "axes of the other (in a decoder with a long name/head.2)",
          ShapeError);
    }
    CHECK_THROWS_WITH_AS(
        wrong(),
        "[mul] a has shape (2) but b has shape (3): the shapes must be equal, or one the last axes "
        "of the other (in a decoder with a long name)",
        ShapeError);
  }
  CHECK(ErrorContext::path().empty());
}

TEST_CASE("inspect: scopes cost nothing where nothing is recorded") {
  Tape tape = Tape::inference();
  for (int i = 0; i < 3; ++i) {
    const Scope scope(tape, "step", 1);
    (void)tanh(tape.leaf(Tensor::zeros({1})));
  }
  CHECK(tape.size() == 0);
}
