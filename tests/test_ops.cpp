#include <doctest/doctest.h>

#include "../autograd/ops/dropout.h"
#include "../autograd/ops/elementwise.h"
#include "../autograd/ops/embedding.h"
#include "../autograd/ops/loss.h"
#include "../autograd/ops/lstm.h"
#include "../autograd/ops/matrix.h"
#include "../autograd/ops/reduce.h"
#include "../autograd/ops/shape.h"
#include "op_check.h"

// Every op has a line here: gradcheck to first and second order, every subset of inputs,
// accumulation.

using namespace tapegrad;
using tapegrad::testing::check_op;
using In = std::span<const Var>;
using Out = Vars;

TEST_CASE("gradcheck: matmul in all four transpositions, linear in two and three axes") {
  constexpr Transpose no = Transpose::no, yes = Transpose::yes;
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[1])}; }, {{2, 3}, {3, 4}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[1], yes, no)}; }, {{3, 2}, {3, 4}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[1], no, yes)}; }, {{2, 3}, {4, 3}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[1], yes, yes)}; }, {{3, 2}, {4, 3}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[0])}; }, {{3, 3}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[1])}; }, {{1, 1}, {1, 1}});
  check_op("linear", [](In x) { return Out{linear(x[0], x[1], x[2])}; }, {{3, 2}, {4, 2}, {4}});
  check_op("linear", [](In x) { return Out{linear(x[0], x[1])}; }, {{3, 2}, {4, 2}});
  check_op("linear", [](In x) { return Out{linear(x[0], x[1], x[2])}; }, {{2, 3, 2}, {4, 2}, {4}});
}

TEST_CASE("gradcheck: shapes") {
  check_op("reshape", [](In x) { return Out{square(reshape(x[0], {3, 2}))}; }, {{2, 3}});
  for (std::size_t axis = 0; axis < 3; ++axis) {
    check_op("slice", [axis](In x) { return Out{square(slice(x[0], axis, 1, 3))}; }, {{3, 3, 4}});
    check_op("pad", [axis](In x) { return Out{square(pad(x[0], axis, 1, 5))}; }, {{2, 3, 2}});
    check_op("concat",
             [axis](In x) {
               return Out{square(concat({x[0], x[1], x[0]}, axis))};
             },
             {{2, 2, 2}, {2, 2, 2}});
    check_op("stack",
             [axis](In x) {
               return Out{square(stack({x[0], x[1]}, axis))};
             },
             {{2, 3}, {2, 3}});
    check_op("split",
             [axis](In x) {
               const auto [a, b] = split<2>(x[0], axis);
               return Out{square(b) * a, b};
             },
             {{2, 4, 2}});
  }
  check_op("concat", [](In x) { return Out{square(concat({x[0], x[1]}, 1))}; }, {{2, 1}, {2, 3}});
  check_op("unbind",
           [](In x) {
             const Vars rows = unbind(x[0]);
             return Out{rows[0] * rows[2], square(rows[0])};  // rows[1] is unused
           },
           {{3, 2}});
  check_op("unbind", [](In x) { return Out{square(unbind(x[0])[1])}; }, {{2}});
}

TEST_CASE("gradcheck: embedding, with rows used twice and never") {
  const Tensor ids = Tensor::of({2, 3}, {0, 3, 3, 1, 0, 3}, DType::int32);
  check_op("embedding", [&](In x) { return Out{square(embedding(x[0], ids))}; }, {{5, 2}});
  check_op("scatter_rows", [&](In x) { return Out{square(scatter_rows(x[0], ids, 5))}; },
           {{2, 3, 2}});
}

TEST_CASE("gradcheck: losses") {
  const Tensor ids = Tensor::of({2, 2}, {2, 0, -100, 1}, DType::int32);
  const Tensor counted = Tensor::of({2, 2}, {2, 0, 1, 1}, DType::int32);
  check_op("log_softmax", [](In x) { return Out{log_softmax(x[0])}; }, {{2, 3}});
  check_op("log_softmax", [](In x) { return Out{log_softmax(x[0])}; }, {{4}});
  check_op("cross_entropy", [&](In x) { return Out{cross_entropy(x[0], ids)}; }, {{2, 2, 3}});
  check_op("cross_entropy",
           [&](In x) { return Out{square(cross_entropy(x[0], counted, {.ignore_index = 1}))}; },
           {{2, 2, 3}});
  check_op("mse", [](In x) { return Out{mse(x[0], x[1])}; }, {{2, 3}, {2, 3}});
}

TEST_CASE("gradcheck: dropout, its mask repeated at every evaluation") {
  check_op("dropout", [](In x) { return Out{dropout(square(x[0]), 0.4, RandomKey{7})}; }, {{3, 4}});
}

TEST_CASE("gradcheck: one LSTM step and a fused sequence, to second order") {
  const auto cell = [](In x) {
    const LSTMState s = lstm_cell(x[0], {x[1], x[2]}, {x[3], x[4], x[5], x[6]});
    return Out{s.h, s.c};
  };
  check_op("lstm_cell", cell, {{2, 3}, {2, 2}, {2, 2}, {8, 3}, {8, 2}, {8}, {8}});
  const auto fused = [](In x) {
    const LSTMResult r = lstm(x[0], {x[1], x[2]}, {x[3], x[4], x[5], x[6]});
    return Out{r.y, r.last.h, r.last.c};
  };
  check_op("lstm", fused, {{3, 2, 2}, {2, 2}, {2, 2}, {8, 2}, {8, 2}, {8}, {8}});
  const auto without_bias = [](In x) {
    return Out{lstm(x[0], {x[1], x[2]}, {x[3], x[4], {}, {}}).y};
  };
  check_op("lstm", without_bias, {{3, 2, 2}, {2, 1}, {2, 1}, {4, 2}, {4, 1}});
}

TEST_CASE(
    "gradcheck: a twin whose inputs depend on each other, or are the same, counts no path twice") {
  // The twin is differentiated on aliases ("identity") of its inputs: here c0 is a function of h0,
  // and so is x.
  check_op("identity",
           [](In v) {
             const LSTMResult r =
                 lstm(stack({v[0], tanh(v[0])}), {v[0], square(v[0])}, {v[1], v[1], {}, {}});
             return Out{r.y, r.last.c};
           },
           {{2, 2}, {8, 2}});
}
