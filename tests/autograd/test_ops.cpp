#include <doctest/doctest.h>

#include "../../autograd/node.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/gru.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/lstm_cell.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/rnn.h"
#include "../../autograd/ops/shape.h"
#include "../support/op_check.h"

TEST_SUITE_BEGIN("gradients");

// Every op has a line here: gradcheck to first and second order, every subset of inputs,
// accumulation.

using namespace tapegrad;
using namespace tapegrad::testing;

TEST_CASE("gradcheck: embedding, with rows used twice and never") {
  const Tensor ids = Tensor::of({2, 3}, {0, 3, 3, 1, 0, 3}, DType::int32);
  check_op("embedding", [&](In x) { return Out{square(embedding(x[0], ids))}; }, {{5, 2}});
  check_op("scatter_rows", [&](In x) { return Out{square(scatter_rows(x[0], ids, 5))}; },
           {{2, 3, 2}});
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

  // A table of 3 rows, one of them used four times and one never, in place of the products with x.
  const Tensor ids = Tensor::of({3, 2}, {0, 2, 2, 0, 2, 2}, DType::int32);
  const auto by_ids = [&](In x) {
    const LSTMResult r = embedding_lstm(x[0], ids, {x[1], x[2]}, {x[3], x[4], x[5], x[6]});
    return Out{r.y, r.last.h, r.last.c};
  };
  check_op("lstm", by_ids, {{3, 2}, {2, 2}, {2, 2}, {8, 2}, {8, 2}, {8}, {8}});
  const auto by_ids_without_bias = [&](In x) {
    return Out{embedding_lstm(x[0], ids, {x[1], x[2]}, {x[3], x[4], {}, {}}).y};
  };
  check_op("lstm", by_ids_without_bias, {{3, 2}, {2, 1}, {2, 1}, {4, 2}, {4, 1}});
}

TEST_CASE("gradcheck: GRU and RNN, one step and a fused sequence, to second order") {
  for (const GRUReset reset : {GRUReset::after, GRUReset::before}) {
    const auto cell = [&](In x) {
      return Out{gru_cell(x[0], x[1], {x[2], x[3], x[4], x[5]}, reset)};
    };
    check_op("gru_cell", cell, {{2, 3}, {2, 2}, {6, 3}, {6, 2}, {6}, {6}});
  }
  const auto gru_layer = [](In x) {
    const GRUResult r = gru(x[0], x[1], {x[2], x[3], x[4], x[5]});
    return Out{r.y, r.last};
  };
  check_op("gru", gru_layer, {{3, 2, 2}, {2, 2}, {6, 2}, {6, 2}, {6}, {6}});
  check_op("gru",
           [](In x) {
             return Out{gru(x[0], x[1], {x[2], x[3], {}, {}}).y};
           },
           {{3, 2, 2}, {2, 1}, {3, 2}, {3, 1}});
  for (const RNNNonlinearity phi : {RNNNonlinearity::tanh, RNNNonlinearity::relu}) {
    const auto cell = [&](In x) {
      return Out{rnn_cell(x[0], x[1], {x[2], x[3], x[4], x[5]}, phi)};
    };
    check_op("rnn_cell", cell, {{2, 3}, {2, 2}, {2, 3}, {2, 2}, {2}, {2}});
    const auto rnn_layer = [&](In x) {
      const RNNResult r = rnn(x[0], x[1], {x[2], x[3], x[4], x[5]}, phi);
      return Out{r.y, r.last};
    };
    check_op("rnn", rnn_layer, {{3, 2, 2}, {2, 2}, {2, 2}, {2, 2}, {2}, {2}});
    check_op("rnn",
             [&](In x) {
               return Out{rnn(x[0], x[1], {x[2], x[3], {}, {}}, phi).y};
             },
             {{3, 2, 2}, {2, 2}, {2, 2}, {2, 2}});
  }
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

TEST_CASE("gradcheck: a twin may return one value as two outputs") {
  check_op("square, twice",
           [](In v) {
             Node n("square, twice", {v[0]});
             const Tensor value = square(v[0].detach()).value();
             const Var first = n.out(value), second = n.out(value);
             n.rule([x = v[0]](Grads& g) {
               if (!g.graph()) return g.add(0, 2.0 * (g.d(0) + g.d(1)) * x);
               g.through(
                   [](const Vars& in) {
                     const Var y = square(in[0]);
                     return Vars{y, y};
                   },
                   {x});
             });
             return Out{first, second};
           },
           {{3}});
}

TEST_SUITE_END();
