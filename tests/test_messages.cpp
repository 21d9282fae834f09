#include <doctest/doctest.h>
#include <fmt/format.h>

#include "../autograd/node.h"
#include "../autograd/ops/elementwise.h"
#include "../autograd/ops/embedding.h"
#include "../autograd/ops/loss.h"
#include "../autograd/ops/matrix.h"
#include "../autograd/ops/reduce.h"
#include "../autograd/ops/shape.h"
#include "../core/error.h"
#include "../layers/dropout.h"
#include "../layers/embedding.h"
#include "../layers/linear.h"
#include "../layers/lstm.h"

// Bad input: the type of the exception and its whole message.

using namespace tapegrad;

namespace {

Var values(const Shape& shape, DType dtype = DType::float32) {
  return Tensor::full(shape, 0.5, dtype);
}

LSTM two_layers() {
  Rng rng(1);
  return LSTM({.input = 10, .hidden = 32, .layers = 2}, rng);
}

}  // namespace

TEST_CASE("messages: wrong rank") {
  CHECK_THROWS_WITH_AS(linear(values({3}), values({4, 3})),
                       "[linear] x has shape (3): it must be of rank 2 or more, (..., I)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(embedding(values({3}), Tensor::of({1}, {0}, DType::int32)),
                       "[embedding] table has shape (3): it must be of rank 2, (V, E)", ShapeError);
  const LSTM lstm = two_layers();
  Tape tape;
  CHECK_THROWS_WITH_AS(
      lstm(tape, values({4, 10})),
      "[lstm] x has shape (4, 10): it must be a sequence, (T, B, I); one step (B, I) is for "
      "LSTMCell",
      ShapeError);
}

TEST_CASE("messages: wrong sizes name both sides and the letter that must match") {
  const LSTM lstm = two_layers();
  Tape tape;
  CHECK_THROWS_WITH_AS(
      lstm(tape, values({20, 4, 12})),
      "[lstm] weight_ih has shape (4H, I) = (128, 10) but x has shape (T, B, I) = (20, 4, 12): I "
      "must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      lstm(tape, values({20, 4, 10}), lstm.zero_state(5)),
      "[lstm] x and weight_hh demand a state of shape (B, H) = (4, 32) but h has shape (5, 32): "
      "make it with zero_state(batch)",
      ShapeError);
  CHECK_THROWS_WITH_AS(lstm(tape, values({20, 4, 10}), {values({1, 4, 32}), values({1, 4, 32})}),
                       "[lstm] the stack has 2 layers but h has shape (1, 4, 32): states are (L, "
                       "B, H); make it with "
                       "zero_state(batch)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      matmul(values({2, 3}), values({4, 5})),
      "[matmul] a has shape (M, K) = (2, 3) but b has shape (K, N) = (4, 5): K must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      matmul(values({2, 3}), values({4, 5}), Transpose::yes, Transpose::yes),
      "[matmul] a has shape (K, M) = (2, 3) but b has shape (N, K) = (4, 5): K must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      linear(values({2, 3}), values({4, 5})),
      "[linear] weight has shape (O, I) = (4, 5) but x has shape (..., I) = (2, 3): I must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      linear(values({2, 5}), values({4, 5}), values({5})),
      "[linear] weight has shape (O, I) = (4, 5) but bias has shape (O) = (5): O must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(values({2, 3}) + values({2}),
                       "[add] a has shape (2, 3) but b has shape (2): the shapes must be equal, or "
                       "one the last axes "
                       "of the other",
                       ShapeError);
  CHECK_THROWS_WITH_AS(mse(values({2, 1}), values({2})),
                       "[mse] prediction has shape (2, 1) but target has shape (2): the shapes "
                       "must be equal, a loss "
                       "never broadcasts; reshape(prediction, target.shape()) makes them so",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(values({2, 3}), Tensor::zeros({3}, DType::int32)),
                       "[cross_entropy] logits has shape (..., V) = (2, 3) but ids has shape (...) "
                       "= (3): the leading "
                       "axes must match",
                       ShapeError);
}

TEST_CASE("messages: a sequence given to a cell") {
  Rng rng(1);
  const LSTMCell cell({.input = 10, .hidden = 32}, rng);
  Tape tape;
  CHECK_THROWS_WITH_AS(cell(tape, values({20, 4, 10}), cell.zero_state(4)),
                       "[lstm_cell] x has shape (20, 4, 10): it must be one step, (B, I); a "
                       "sequence (T, B, I) is for "
                       "LSTM, or step over unbind(x)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cell(tape, values({4, 12}), cell.zero_state(4)),
                       "[lstm_cell] weight_ih has shape (4H, I) = (128, 10) but x has shape (B, I) "
                       "= (4, 12): I must "
                       "match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cell(tape, values({4, 10}), cell.zero_state(3)),
                       "[lstm_cell] x and weight_hh demand a state of shape (B, H) = (4, 32) but h "
                       "has shape (3, 32): "
                       "make it with zero_state(batch)",
                       ShapeError);
}

TEST_CASE("messages: T = 0 and B = 0") {
  const LSTM lstm = two_layers();
  Tape tape;
  CHECK_THROWS_WITH_AS(lstm(tape, values({0, 4, 10})),
                       "[lstm] x has shape (0, 4, 10): it must be (T, B, I) with T >= 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(lstm(tape, values({5, 0, 10}), {values({2, 0, 32}), values({2, 0, 32})}),
                       "[lstm] x has shape (5, 0, 10): it must be (T, B, I) with B >= 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      lstm.zero_state(0),
      "[LSTM] the state (L, B, H) has shape (2, 0, 32): it must be of at least one row",
      ShapeError);
}

TEST_CASE("messages: ids out of range, or no ids at all") {
  const Var table = values({65, 4});
  CHECK_THROWS_WITH_AS(
      embedding(table, Tensor::of({2, 2}, {0, 64, 65, 1}, DType::int32)),
      "[embedding] id 65 at position 2 of shape (2, 2) is out of range: ids must be in [0, 65)",
      UsageError);
  CHECK_THROWS_WITH_AS(
      embedding(table, Tensor::of({1}, {-1}, DType::int32)),
      "[embedding] id -1 at position 0 of shape (1) is out of range: ids must be in [0, 65)",
      UsageError);
  CHECK_THROWS_WITH_AS(embedding(table, Tensor::of({1}, {1})),
                       "[embedding] ids are float32: they must be int32", DtypeError);
  CHECK_THROWS_WITH_AS(
      cross_entropy(values({1, 3}), Tensor::of({1}, {3}, DType::int32)),
      "[cross_entropy] id 3 at position 0 of shape (1) is out of range: ids must be in [0, 3)",
      UsageError);
}

TEST_CASE("messages: mixed dtypes") {
  CHECK_THROWS_WITH_AS(values({2}) + values({2}, DType::float64),
                       "[add] an input is float32 but another is float64: convert one with to()",
                       DtypeError);
  const LSTM lstm = two_layers();
  Tape tape;
  CHECK_THROWS_WITH_AS(lstm(tape, values({3, 4, 10}, DType::float64), lstm.zero_state(4)),
                       "[lstm] an input is float64 but another is float32: convert one with to()",
                       DtypeError);
  CHECK_THROWS_WITH_AS(sum(Tensor::zeros({2}, DType::int32)),
                       "[sum] x is int32: it must be float32 or float64; convert it with to()",
                       DtypeError);
  CHECK_THROWS_WITH_AS(tape.leaf(Tensor::zeros({2}, DType::int32)),
                       "[leaf] the value is int32: only float32 and float64 have gradients",
                       DtypeError);
}

TEST_CASE("messages: two tapes, an earlier pass, a state that was not detached") {
  Tape one;
  Tape two;
  const Var a = one.leaf(Tensor::zeros({2}));
  const Var b = two.leaf(Tensor::zeros({2}));
  CHECK_THROWS_WITH_AS(a * b,
                       "[mul] the inputs were recorded on two tapes: use one tape for a pass, or "
                       "detach() one of them",
                       UsageError);
  Var carried;
  {
    Tape earlier;
    carried = square(earlier.leaf(Tensor::zeros({2})));
  }
  std::string message;
  try {
    (void)(carried + 1.0);
  } catch (const UsageError& e) {
    message = e.what();
  }
  const std::string end = ": call detach() on a state that is carried into the next pass";
  CHECK(message.starts_with("[add_scalar] an input was recorded in pass "));
  CHECK(message.find(" of its tape, which is over (now pass ") != std::string::npos);
  CHECK(message.ends_with(end));
  CHECK_NOTHROW(carried.detach() + 1.0);
}

TEST_CASE("messages: backward twice, backward of what it cannot take") {
  const Parameter w{Tensor::full({2}, 1)};
  Tape tape;
  const Var y = square(tape.leaf(w));
  CHECK_THROWS_WITH_AS(tape.backward(y),
                       "[backward] the value to differentiate has shape (2): it must have one "
                       "element; reduce it with "
                       "sum() or mean()",
                       ShapeError);
  const Var loss = sum(y);
  tape.backward(loss);
  CHECK_THROWS_WITH_AS(
      tape.backward(loss),
      "[backward] the pass was differentiated before and the saved values of 'sum' are freed: pass "
      "{.retain = true} to the first call",
      UsageError);
  CHECK_THROWS_WITH_AS(
      tape.backward(values({})),
      "[backward] the value to differentiate is a constant: it was not recorded on this tape; does "
      "it depend on a leaf, and was the tape recording?",
      UsageError);
  CHECK_THROWS_WITH_AS(tape.backward(sum(tape.leaf(Tensor::zeros({2})))),
                       "[backward] the loss depends on no Parameter, so nothing would change: use "
                       "gradient() for other "
                       "leaves",
                       UsageError);
  CHECK(w.grad().at(0) == 2);
}

TEST_CASE("messages: a value overwritten after it was used") {
  const Parameter w{Tensor::full({2}, 1)};
  Tensor batch = Tensor::full({2}, 3);
  Tape tape;
  const Var loss = sum(tape.leaf(w) * Var(batch));
  batch.fill(4);
  CHECK_THROWS_WITH_AS(
      tape.backward(loss),
      "[var] the elements of this value were overwritten after it was used: gradients would be "
      "wrong; give each pass a tensor of its own, or clone() before writing",
      UsageError);
  CHECK_FALSE(w.data()->grad.defined());
}

TEST_CASE("messages: a rule that gives the wrong shape") {
  const Parameter w{Tensor::full({2}, 1)};
  Tape tape;
  const Var x = tape.leaf(w);
  Node n("wrong", {x});
  const Var y = n.out(x.value());
  n.rule([](Grads& g) { g.add(0, sum(g.d())); });
  CHECK_THROWS_WITH_AS(tape.backward(sum(y)),
                       "[wrong] its rule gave input 0 a gradient of shape () and float32, but the "
                       "input has shape (2) "
                       "and is float32",
                       ShapeError);
}

TEST_CASE("messages: dropout") {
  Rng rng(1);
  Tape undecided;
  CHECK_THROWS_WITH_AS(Dropout{0.5}(undecided, values({2})),
                       "[dropout] this tape says neither training nor evaluation: make it with "
                       "Tape::training({.seed "
                       "= ..., .pass = ...}), Tape::evaluation() or Tape::inference()",
                       UsageError);
  CHECK_THROWS_WITH_AS(Dropout{1.0}(undecided, values({2})),
                       "[dropout] p is 1: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(LSTM({.input = 2, .hidden = 3, .dropout = 0.2}, rng),
                       "[LSTM] dropout = 0.2 acts between layers, but there is only one: put a "
                       "Dropout after the LSTM",
                       UsageError);
  CHECK_THROWS_WITH_AS(LSTM({.input = 2, .hidden = 3, .layers = 2, .dropout = -0.1}, rng),
                       "[LSTM] dropout is -0.1: it must be in [0, 1)", UsageError);
  CHECK_NOTHROW(Dropout{0.0}(undecided, values({2})));
}

TEST_CASE("messages: sizes of zero in layers") {
  Rng rng(1);
  CHECK_THROWS_WITH_AS(Linear(0, 3, rng),
                       "[Linear] weight (O, I) has shape (3, 0): it must be without a size of 0",
                       ShapeError);
  CHECK_THROWS_WITH_AS(Embedding(0, 3, rng),
                       "[Embedding] weight (V, E) has shape (0, 3): it must be without a size of 0",
                       ShapeError);
  CHECK_THROWS_WITH_AS(LSTM({.input = 2, .hidden = 0}, rng),
                       "[LSTM] weight_ih (4H, I) has shape (0, 2): it must be without a size of 0",
                       ShapeError);
  CHECK_THROWS_WITH_AS(LSTM({.input = 2, .hidden = 2, .layers = 0}, rng),
                       "[LSTM] layers is 0: it must be at least 1", UsageError);
}

TEST_CASE("messages: slices, stacks and means of nothing") {
  CHECK_THROWS_WITH_AS(slice(values({2, 3}), 1, 2, 4),
                       "[slice] [2, 4) of axis 1 does not exist in shape (2, 3)", ShapeError);
  CHECK_THROWS_WITH_AS(concat({}, 0), "[concat] there are no parts: at least one is needed",
                       UsageError);
  CHECK_THROWS_WITH_AS(
      stack({values({2}), values({3})}),
      "[stack] the first part has shape (2) but another has shape (3): the shapes must be equal",
      ShapeError);
  CHECK_THROWS_WITH_AS(mean(values({0, 3})),
                       "[mean] x has shape (0, 3): it must be of at least one element", ShapeError);
  CHECK_THROWS_WITH_AS(
      reshape(values({2, 3}), {4}),
      "[reshape] x has shape (2, 3) but the result has shape (4): the numbers of elements must be "
      "equal",
      ShapeError);
  CHECK_THROWS_WITH_AS(split<2>(values({2, 3}), 1),
                       "[split] axis 1 of shape (2, 3) cannot be cut into 2 equal parts",
                       ShapeError);
  CHECK_THROWS_WITH_AS(sum(values({2}), 1),
                       "[sum] axis 1 of shape (2) does not exist: it has 1 axes", ShapeError);
}

TEST_CASE("messages: layers that were never constructed") {
  Tape tape;
  CHECK_THROWS_WITH_AS(
      Linear()(tape, values({2, 3})),
      "[leaf] the parameter is undefined: construct the layer with its sizes and an Rng first",
      UsageError);
  const char* no_layers =
      "[LSTM] this LSTM has no layers: construct it with LSTMOptions and an Rng first";
  CHECK_THROWS_WITH_AS(LSTM().zero_state(2), no_layers, UsageError);
  CHECK_THROWS_WITH_AS(LSTM()(tape, values({2, 1, 3}), {values({0, 1, 3}), values({0, 1, 3})}),
                       no_layers, UsageError);
}

TEST_CASE("messages: an op that makes its outputs out of order") {
  const char* order =
      "[mine] the op makes its outputs out of order: call out() for all of them, one after the "
      "other, then rule()";
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2}));
  CHECK_THROWS_WITH_AS(Node("mine", {x}).rule([](Grads&) {}), order, UsageError);
  Node n("mine", {x});
  (void)n.out(x.value());
  (void)(x + x);  // another node in between
  CHECK_THROWS_WITH_AS(n.out(x.value()), order, UsageError);
}
