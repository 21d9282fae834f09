#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <string>

#include "../../autograd/inspect/scope.h"
#include "../../autograd/node.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../support/extended.h"
#include "../support/heap.h"

TEST_SUITE_BEGIN("long runs");

// An op of a user's throws, anywhere: the tape that was thrown at keeps its word, the others do not
// notice, and nothing is left behind.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

struct Boom {};

enum class Where { before_output, between_outputs, before_rule, paused, in_rule, in_twin, nowhere };

/// y = 2 x, twice.
std::array<Var, 2> twice(const Var& x, Where where) {
  Node n("twice", {x});
  if (where == Where::before_output) throw Boom();
  const Var y = n.out((x.detach() * 2.0).value());
  if (where == Where::between_outputs) throw Boom();
  const Var z = n.out((x.detach() * 2.0).value());
  if (where == Where::before_rule) throw Boom();
  n.rule([x, where](Grads& g) {
    if (where == Where::in_rule) throw Boom();
    g.through(
        [where](const Vars& in) {
          const Var out = in[0] * 2.0;
          if (where == Where::in_twin) throw Boom();
          return Vars{out, out};
        },
        {x});
  });
  return {y, z};
}

/// d/dw of sum((2 w)^2 + (2 w)^2), which is 16 w, added to w's gradient.
void step(Tape& tape, const Parameter& w, Where where, const Tape::Options& options) {
  if (where == Where::paused) {
    const auto pause = tape.pause();
    throw Boom();
  }
  const Scope scope(tape, "step");
  const auto [y, z] = twice(tape.leaf(w), where);
  tape.backward(sum(square(y) + square(z)), options);
}

template <class F>
bool throws(const F& f) {
  try {
    f();
  } catch (const Boom&) {
    return true;
  }
  return false;
}

/// An op that throws in its own nested tape, while `outer` is being recorded; then `outer` goes on.
/// Returns what was not as it should be, first of all; else "".
const char* first_wrong(const Parameter& w, Where where, const Tape::Options& options) {
  w.data()->zero_grad();
  Tape outer;
  const Var before = square(outer.leaf(w));
  {
    Tape tape;
    if (!throws([&] { step(tape, w, where, options); })) return "the exception did not come out";
    if (!tape.recording()) return "the tape has stopped recording";
    if (w.grad().defined()) return "the Parameter has got a gradient";
    // The same tape can still be recorded on, whatever lies on it.
    tape.backward(sum(square(tape.leaf(w))));
    if (w.grad().item() != 6) return "the tape, used again, gives a wrong gradient";
    step(tape, w, Where::nowhere, options);
    if (w.grad().item() != 6 + 48) return "the op that threw gives a wrong gradient afterwards";
  }
  outer.backward(sum(before));
  return w.grad().item() == 6 + 48 + 6 ? "" : "the outer tape gives a wrong gradient";
}

}  // namespace

TEST_CASE(
    "exceptions: an op that throws harms neither its tape nor another one, and leaks nothing") {
  const Parameter w(Tensor::of({1}, {3}, DType::float64));
  const std::size_t rounds = length(6'000, 20'000);
  for (const Where where : {Where::before_output, Where::between_outputs, Where::before_rule,
                            Where::paused, Where::in_rule, Where::in_twin}) {
    for (const Tape::Options& options :
         {Tape::Options{}, Tape::Options{.retain = true}, Tape::Options{.create_graph = true}}) {
      INFO("place ", static_cast<int>(where), ", retain ", options.retain, ", create_graph ",
           options.create_graph);
      std::size_t blocks = 0, bytes = 0;
      for (std::size_t round = 0; round < rounds; ++round) {
        const std::string wrong = first_wrong(w, where, options);
        if (!wrong.empty()) FAIL("round ", round, ": ", wrong);
        if (round != 20) continue;
        blocks = blocks_in_use();
        bytes = bytes_in_use();
      }
      CHECK(blocks_in_use() == blocks);
      CHECK(bytes_in_use() < bytes + 1000);
    }
  }
}

TEST_CASE("exceptions: after a throw in backward the pass is spent, unless it was retained") {
  const Parameter w(Tensor::of({1}, {3}, DType::float64));
  for (const Where where : {Where::in_rule, Where::in_twin}) {
    Tape tape;
    const auto [y, z] = twice(tape.leaf(w), where);
    const Var loss = sum(square(y) + square(z));
    CHECK_THROWS_AS(tape.backward(loss, {.retain = true}), Boom);
    CHECK_THROWS_AS(tape.backward(loss, {.retain = true}), Boom);  // the rule runs again
    CHECK_THROWS_AS(tape.backward(loss), Boom);
    CHECK_THROWS_AS(tape.backward(loss), UsageError);
    CHECK_FALSE(w.grad().defined());
  }
}

TEST_CASE("exceptions: a rule that threw is not run again on what it may have overwritten") {
  Tape tape;
  const Var x = tape.leaf(Tensor::scalar(3, DType::float64));
  const Var y = twice(x, Where::in_rule)[0];  // nothing comes after it that would be freed before
  CHECK_THROWS_AS(tape.gradient(y, {x}), Boom);
  CHECK_THROWS_AS(tape.gradient(y, {x}), UsageError);
  CHECK(tape.gradient(twice(x, Where::nowhere)[0], {x})[0].item() == 2);
}

TEST_CASE("exceptions: a tape made while another one is thrown at, in any order of destruction") {
  const Parameter w(Tensor::of({1}, {3}, DType::float64));
  auto first = std::make_unique<Tape>();
  auto second = std::make_unique<Tape>();
  CHECK(throws([&] { step(*first, w, Where::in_rule, {}); }));
  first.reset();
  Tape third;  // takes the state that the first one left
  step(*second, w, Where::nowhere, {});
  step(third, w, Where::nowhere, {});
  CHECK(throws([&] { step(third, w, Where::in_twin, {}); }));
  second.reset();
  CHECK(w.grad().item() == 2 * 48);
}

TEST_SUITE_END();
