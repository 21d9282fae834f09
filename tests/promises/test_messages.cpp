#include <doctest/doctest.h>
#include <fmt/format.h>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/parameters.h"
#include "../../core/error.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../support/small_values.h"

// Shapes and dtypes that an op or a layer cannot take: the type of the exception and its whole
// message. Mistakes in the use of tapes, layers and optimizers are in test_misuse*.cpp.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

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
}

TEST_CASE("messages: wrong sizes name both sides and the letter that must match") {
  const LSTM lstm = two_layers();
  Tape tape;
  CHECK_THROWS_WITH_AS(
      lstm(tape, values({20, 4, 12})),
      "[lstm] weight_ih has shape (4H, I) = (128, 10) but x has shape (T, B, I) = (20, 4, 12): I "
      "must match (in lstm.0)",
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
}

TEST_CASE("messages: a sequence given to a cell") {
  Rng rng(1);
  const LSTMCell cell({.input = 10, .hidden = 32}, rng);
  Tape tape;
  CHECK_THROWS_WITH_AS(cell(tape, values({4, 12}), cell.zero_state(4)),
                       "[lstm_cell] weight_ih has shape (4H, I) = (128, 10) but x has shape (B, I) "
                       "= (4, 12): I must "
                       "match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cell(tape, values({4, 10}), cell.zero_state(3)),
                       "[lstm_cell] x has shape (B, I) = (4, 10) but h has shape (B, H) = (3, 32): "
                       "B must match; make the state with zero_state(4), or, if x is a step of "
                       "unbind(), look whether the sequence is (T, B, I)",
                       ShapeError);
}

TEST_CASE("messages: mixed dtypes") {
  CHECK_THROWS_WITH_AS(values({2}) + values({2}, DType::float64),
                       "[add] input 0 is float32 but input 1 is float64: convert one with to()",
                       DtypeError);
  CHECK_THROWS_WITH_AS(sum(Tensor::zeros({2}, DType::int32)),
                       "[sum] x is int32: it must be float32 or float64; convert it with to()",
                       DtypeError);
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

TEST_CASE("messages: shapes that no LSTM has") {
  const Var x = values({5, 2, 3}), h = values({2, 4});
  const auto check = [&](const LSTMWeights& w, const char* message) {
    CHECK_THROWS_WITH_AS((void)lstm(x, {h, h}, w), message, ShapeError);
  };
  check({values({16}), values({16, 4}), {}, {}},
        "[lstm] weight_ih has shape (16): it must be (4H, I) with H >= 1");
  check({values({18, 3}), values({16, 4}), {}, {}},
        "[lstm] weight_ih has shape (18, 3): it must be (4H, I) with H >= 1");
  check({values({16, 3}), values({16, 5}), {}, {}},
        "[lstm] weight_ih has shape (4H, I) = (16, 3) but weight_hh has shape (4H, H) = (16, 5): H "
        "must match");
  check({values({16, 3}), values({16, 4}), values({12}), {}},
        "[lstm] weight_ih has shape (4H, I) = (16, 3) but bias_ih has shape (4H) = (12): H must "
        "match");
  check({values({16, 3}), values({16, 4}), values({16}), values({16, 1})},
        "[lstm] weight_ih has shape (4H, I) = (16, 3) but bias_hh has shape (4H) = (16, 1): H must "
        "match");
  Tape tape;
  CHECK_THROWS_WITH_AS((void)two_layers()(tape, values({4, 10})),
                       "[LSTM] x has shape (4, 10): it must be a sequence, (T, B, I); one step (B, "
                       "I) is for LSTMCell",
                       ShapeError);
}

TEST_CASE("messages: axes, ranges and parts that are not there") {
  const Var x = values({2, 3});
  CHECK_THROWS_WITH_AS((void)linear(x, values({3})),
                       "[linear] weight has shape (3): it must be of rank 2, (O, I)", ShapeError);
  CHECK_THROWS_WITH_AS(
      (void)mean(values({2, 0}), 1),
      "[mean] x has shape (2, 0): it must be of at least one element along the axis", ShapeError);
  CHECK_THROWS_WITH_AS((void)sum_to(x, {2}),
                       "[sum_to] x has shape (2, 3) but the result has shape (2): the result must "
                       "be the last axes of x",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)broadcast_to(x, {2, 3, 4}),
                       "[broadcast_to] x has shape (2, 3) but the result has shape (2, 3, 4): x "
                       "must be the last axes of the result",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)slice(x, 1, 2, 1),
                       "[slice] [2, 1) of axis 1 does not exist in shape (2, 3)", ShapeError);
  CHECK_THROWS_WITH_AS((void)slice(x, 1, 1, 4),
                       "[slice] [1, 4) of axis 1 does not exist in shape (2, 3)", ShapeError);
  CHECK_THROWS_WITH_AS((void)pad(x, 1, 3, 5),
                       "[pad] [3, 6) of axis 1 does not exist in shape (2, 5)", ShapeError);
  CHECK_THROWS_WITH_AS((void)concat({x, values({3, 3})}, 1),
                       "[concat] the first part has shape (2, 3) but another has shape (3, 3): all "
                       "axes but the one of the concatenation must be equal",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)scatter_rows(x, Tensor::of({3}, {0, 1, 2}, DType::int32), 5),
                       "[scatter_rows] rows has shape (..., E) = (2, 3) but ids has shape (...) = "
                       "(3): the leading axes must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)Parameters().find("weight"),
                       "[find] there is no parameter weight: there are no parameters", UsageError);
}
