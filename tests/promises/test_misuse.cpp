#include "../support/misuse.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <memory>
#include <utility>

#include "../../autograd/node.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/parameters.h"
#include "../../core/error.h"
#include "../support/temp_folder.h"

TEST_SUITE_BEGIN("misuse");

// Mistakes with tapes, values and ops: what is recorded, changed and differentiated, and when.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

const char* const overwritten =
    "[Var] the elements of this value were overwritten after it was used: gradients would be "
    "wrong; make a Tape for each pass, inside the loop, and give it a tensor of its own, or "
    "clone() "
    "before writing";
std::string over(const char* op, const char* name, const char* maker) {
  return fmt::format(
      "[{}] {} was made in pass N of its tape{} but that pass is over (now pass N): call detach() "
      "on "
      "a state that is carried into the next pass",
      op, name, maker);
}
std::string not_recorded(const char* op) {
  return fmt::format(
      "[{}] the value to differentiate is a constant: it was not recorded on this tape; does it "
      "depend on a leaf, and was the tape recording?",
      op);
}
std::string other_tape(const char* op, const char* name) {
  return fmt::format("[{}] {} was recorded on another tape: call the tape that recorded it", op,
                     name);
}

}  // namespace

// --- what was saved is changed ---

TEST_CASE("misuse: the batch is refilled between forward and backward") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const Var loss = t.loss(tape);
    t.x.copy_from(t.x.clone());  // even by the same numbers
    mistake.is<UsageError>(overwritten, [&] { tape.backward(loss); });
  });
}

TEST_CASE("misuse: set_value, load or an optimizer's step between forward and backward") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const Var loss = t.loss(tape);
    t.model.head.weight.set_value(t.model.head.weight.value().clone());
    mistake.is<UsageError>(overwritten, [&] { tape.backward(loss); });
  });
  after([](Training& t, const Mistake& mistake) {
    const TempFolder folder;
    save_parameters(folder / "model", t.adam.parameters());
    Tape tape = t.tape();
    const Var loss = t.loss(tape);
    load_parameters(folder / "model", t.adam.parameters());
    mistake.is<UsageError>(overwritten, [&] { tape.backward(loss); });
  });
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const Var loss = t.loss(tape);
    tape.backward(loss, {.retain = true});
    t.adam.step();
    mistake.is<UsageError>(overwritten, [&] { tape.backward(loss); });
    mistake.is<UsageError>(
        "[leaf] a Parameter of shape (7, 3) was changed after this tape used it, as by a step of "
        "an "
        "optimizer: make a Tape for each pass, inside the loop",
        [&] { (void)t.loss(tape); });  // its leaves are saved values
  });
}

// --- what is differentiated, and when ---

TEST_CASE("misuse: a second backward without retain") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const Var loss = t.loss(tape);
    tape.backward(loss);
    mistake.is<UsageError>(
        "[backward] the pass was differentiated before and the saved values of 'cross_entropy' are "
        "freed: make a Tape for each pass, inside the loop, or pass {.retain = true} to the first "
        "call",
        [&] { tape.backward(loss); });
  });
}

TEST_CASE("misuse: backward of a vector, of a constant, of a loss without parameters") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const Var h = t.model.embed(tape, t.x);
    mistake.is<ShapeError>(
        "[backward] the value to differentiate has shape (5, 3, 3): it must have one element; "
        "reduce it with sum() or mean()",
        [&] { tape.backward(h); });
    mistake.is<ShapeError>(
        "[gradient] the value to differentiate has shape (5, 3, 3): it must have one element; "
        "reduce it with sum() or mean()",
        [&] { (void)tape.gradient(h, {tape.leaf(t.model.embed.weight)}); });
    const Var constant = mse(Tensor::zeros({2}), Tensor::zeros({2}));
    mistake.is<UsageError>(not_recorded("backward"), [&] { tape.backward(constant); });
    mistake.is<UsageError>(not_recorded("backward"), [&] { tape.backward(Var()); });
    const Var other = sum(tape.leaf(Tensor::zeros({2})));
    mistake.is<UsageError>(
        "[backward] the loss depends on no Parameter, so nothing would change: use gradient() for "
        "other leaves",
        [&] { tape.backward(other); });
  });
  after([](Training& t, const Mistake& mistake) {
    Tape tape = Tape::inference();
    const Var loss = t.loss(tape);
    mistake.is<UsageError>(not_recorded("backward"), [&] { tape.backward(loss); });
  });
}

TEST_CASE("misuse: a value of a tape that is gone, a state carried without detach()") {
  after([](Training& t, const Mistake& mistake) {
    Var old;
    {
      Tape tape = t.tape();
      old = t.loss(tape);
    }
    const char* const by = ", by 'cross_entropy',";
    const LSTMState carried = t.next;
    Tape tape = t.tape();
    mistake.is<UsageError>(over("scale", "input 0", by), [&] { (void)(old * 2.0); });
    mistake.is<UsageError>(over("backward", "the loss", by), [&] { tape.backward(old); });
    mistake.is<UsageError>(over("gradient", "x", by),
                           [&] { (void)tape.gradient(t.loss(tape), {old}); });
    mistake.is<UsageError>(over("LSTM", "state.h", ", by 'concat' in lstm,"), [&] {
      const LSTMState detached = std::exchange(t.state, carried);
      try {
        (void)t.loss(tape);
      } catch (...) {
        t.state = detached;
        throw;
      }
    });
  });
}

TEST_CASE("misuse: two tapes at once") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    Tape other;
    const Var h = t.model.embed(tape, t.x);
    const Var elsewhere = t.model.embed(other, t.x);
    const Var far = sum(elsewhere);
    mistake.is<UsageError>(
        "[LSTM] x was recorded on another tape than the one given: use one tape for a pass, or "
        "detach() x",
        [&] { (void)t.model.lstm(other, h, t.state); });
    mistake.is<UsageError>(
        "[concat] input 2 was recorded on another tape than input 1: use one tape for a pass, or "
        "detach() input 2",
        [&] {
          (void)concat({h.detach(), h, elsewhere}, 0);
        });
    mistake.is<UsageError>(other_tape("backward", "the loss"), [&] { tape.backward(far); });
    mistake.is<UsageError>(other_tape("gradient", "y"), [&] { (void)tape.gradient(far, {h}); });
    mistake.is<UsageError>(other_tape("gradient", "x"),
                           [&] { (void)tape.gradient(sum(h), {far}); });
    mistake.is<UsageError>(not_recorded("gradient"), [&] { (void)tape.gradient(sum(h), {Var()}); });
  });
}

TEST_CASE("misuse: dy of another shape, dtype, or overwritten") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const Var h = t.model.embed(tape, t.x);
    const auto gradient = [&](const Var& dy) {
      (void)tape.gradient(h, {tape.leaf(t.model.embed.weight)}, {.retain = true}, dy);
    };
    mistake.is<ShapeError>(
        "[gradient] dy has shape (15, 3) and is float32 but y has shape (5, 3, 3) and is float32: "
        "they must be equal",
        [&] {
          gradient(Tensor::zeros({T * B, E}));
        });
    mistake.is<DtypeError>(
        "[gradient] dy has shape (5, 3, 3) and is float64 but y has shape (5, 3, 3) and is "
        "float32: they must be equal",
        [&] {
          gradient(Tensor::zeros({T, B, E}, DType::float64));
        });
    Tensor buffer = Tensor::zeros({T, B, E});
    const Var dy = buffer;
    buffer.fill(1);
    mistake.is<UsageError>(overwritten, [&] { gradient(dy); });
  });
}

// --- ops of one's own ---

TEST_CASE("misuse: an op whose rule is wrong, missing, or given twice") {
  const auto differentiate = [](Training& t, const std::function<void(Grads&)>& rule) {
    Tape tape;
    const Var w = tape.leaf(t.model.head.weight);
    const Var constant = Tensor::zeros({1});
    Node n("mine", {w, constant});
    const Var y = n.out(w.value());
    if (rule) n.rule(rule);
    tape.backward(sum(y));
  };
  after([&](Training& t, const Mistake& mistake) {
    const auto zeros = [](DType dtype) { return Tensor::zeros({V, H}, dtype); };
    mistake.is<ShapeError>(
        "[mine] its rule gave input 0 a gradient of shape () and float32, but the input has shape "
        "(7, 4) and is float32",
        [&] { differentiate(t, [](Grads& g) { g.add(0, sum(g.d())); }); });
    mistake.is<DtypeError>(
        "[mine] its rule gave input 0 a gradient of shape (7, 4) and float64, but the input has "
        "shape (7, 4) and is float32",
        [&] { differentiate(t, [&](Grads& g) { g.add(0, zeros(DType::float64)); }); });
    mistake.is<UsageError>("[mine] its rule asks for input 2 but there are 2: count from 0", [&] {
      differentiate(t, [&](Grads& g) { g.add(2, zeros(DType::float32)); });
    });
    mistake.is<UsageError>("[mine] its rule asks for output 1 but there are 1: count from 0",
                           [&] { differentiate(t, [](Grads& g) { g.add(0, g.d(1)); }); });
    mistake.is<UsageError>(
        "[mine] its rule calls into(1), but that gradient is not wanted, or is recorded: call it "
        "only if needs() and not graph()",
        [&] { differentiate(t, [](Grads& g) { (void)g.into(1); }); });
    mistake.is<UsageError>(
        "[backward] 'mine' is not differentiable: detach() its result, or give it a rule",
        [&] { differentiate(t, nullptr); });
  });
  after([](Training& t, const Mistake& mistake) {
    const std::string order =
        "[mine] the op makes its outputs out of order: call out() for all of them, one after the "
        "other, then rule()";
    Tape tape = t.tape();
    const Var w = tape.leaf(t.model.head.weight);
    const auto nothing = [](Grads&) {};
    mistake.is<UsageError>(order, [&] { Node("mine", {w}).rule(nothing); });
    Node split("mine", {w});
    (void)split.out(w.value());
    (void)(w + w);  // another node in between
    mistake.is<UsageError>(order, [&] { (void)split.out(w.value()); });
    Node twice("mine", {w});
    (void)twice.out(w.value());
    twice.rule(nothing);
    mistake.is<UsageError>(order, [&] { twice.rule(nothing); });
    mistake.is<UsageError>(order, [&] { (void)twice.out(w.value()); });
  });
}

// --- what looks like a mistake and is none ---

TEST_CASE("misuse: a value set from views of itself; a pause that outlives its pass") {
  Parameter w(Tensor::of({2, 2}, {1, 2, 3, 4}));
  w.set_value(w.value());
  w.set_value(w.value().reshape({4}).reshape({2, 2}));
  w.value().slice(0, 1).copy_from(w.value().slice(1, 2));
  CHECK(bytes(w.value()) == bytes(Tensor::of({2, 2}, {3, 4, 3, 4})));

  auto tape = std::make_unique<Tape>();
  std::unique_ptr<Tape::Guard> pause(new Tape::Guard(tape->pause()));
  tape = nullptr;
  for (int i = 0; i < 2; ++i) {  // the state of the first tape is used again
    Tape next;
    CHECK(next.recording());
    pause = nullptr;
    CHECK(next.recording());
  }
}

TEST_SUITE_END();
