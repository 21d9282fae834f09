// Covers Embedding with lengths and with dropout of rows, by itself and as the input of an LSTM.

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../../layers/embedding.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t rows = 5, features = 3;
const Tensor ids = Tensor::from({3, 2}, {1, 4, 1, -1, 0, 7});  // wrong ids behind the second's end
const Tensor lengths = Tensor::from({2}, {3, 1});

Embedding make_embedding(DType dtype, double row_dropout = 0) {
  Rng rng(3);
  Embedding embed(rows, features, rng, dtype);
  embed.row_dropout = row_dropout;
  return embed;
}

}  // namespace

TEST_CASE("embedding: behind a sequence's end, zeros, no gradient, and ids that are not read") {
  const Embedding embed = make_embedding(DType::float32);
  Tape tape;
  const Var y = embed(tape, ids, lengths);
  CHECK(y.shape() == Shape{3, 2, features});
  for (std::size_t t = 0; t < 3; ++t) {
    for (std::size_t b = 0; b < 2; ++b) {
      const bool valid = b == 0 || t == 0;
      for (std::size_t f = 0; f < features; ++f) {
        const auto id = static_cast<std::size_t>(valid ? ids.at(t * 2 + b) : 0);
        const double expected = valid ? embed.weight.value().at(id * features + f) : 0;
        CHECK(y.value().at((t * 2 + b) * features + f) == expected);
      }
    }
  }
  const Tensor gradient = tape.gradient(sum(y), {tape.leaf(embed.weight)})[0].value();
  const double uses[rows] = {1, 2, 0, 0, 1};  // of ids 1, 4, 1, 0
  for (std::size_t k = 0; k < gradient.numel(); ++k) CHECK(gradient.at(k) == uses[k / features]);

  CHECK_THROWS_WITH_AS(embed(tape, ids, Tensor::from({2}, {3, 4})),
                       "[embedding] length 4 of sequence 1 is out of range: lengths must be in "
                       "[0, T], T = 3",
                       UsageError);
  CHECK_THROWS_WITH_AS(embed(tape, Tensor::zeros({3}, DType::int32), lengths),
                       "[embedding] ids has shape (3): it must be (T, B), where there are lengths",
                       ShapeError);
  CHECK_THROWS_AS(embed(tape, ids, Tensor::from({2}, {3, 2})), UsageError);  // now -1 is read
}

TEST_CASE("embedding: gradients with lengths, and with dropout of rows") {
  check_op("embedding", [](In x) { return Out{embedding(square(x[0]), ids, lengths)}; },
           {{rows, features}});
  for (const double p : {0.2, 0.5, 0.8}) {
    const Embedding embed = make_embedding(DType::float64, p);
    const GradcheckReport report = gradcheck(
        [&](Tape& tape) { return sum(square(embed(tape, ids, lengths))); }, parameters(embed));
    CHECK_MESSAGE(report.failed == 0, report.text());
    CHECK_MESSAGE(report.reason.empty(), report.text());
  }
}

TEST_CASE("embedding: dropout takes whole rows, a function of the id, and scales the others") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const Embedding embed = make_embedding(dtype, 0.5);
    std::size_t dropped = 0;
    for (std::uint64_t pass = 0; pass < 200; ++pass) {
      Tape tape = Tape::training({.seed = 1, .pass = pass});
      const Tensor table = embed.table(tape).value();
      for (std::size_t r = 0; r < rows; ++r) {
        const bool gone = table.at(r * features) == 0;
        dropped += gone ? 1 : 0;
        for (std::size_t f = 0; f < features; ++f) {
          const std::size_t k = r * features + f;
          CHECK(table.at(k) == (gone ? 0 : 2 * embed.weight.value().at(k)));
        }
      }
      // All uses of an id see the same row.
      Tape again = Tape::training({.seed = 1, .pass = pass});
      const Tensor y = embed(again, Tensor::from({2}, {1, 1})).value();
      for (std::size_t f = 0; f < features; ++f) {
        CHECK(y.at(f) == table.at(features + f));
        CHECK(y.at(features + f) == table.at(features + f));
      }
    }
    CHECK(dropped > 400);  // of 1000, half
    CHECK(dropped < 600);
    Tape evaluation = Tape::evaluation();
    CHECK(embed.table(evaluation).value().at(4) == embed.weight.value().at(4));
  }
  Embedding wrong = make_embedding(DType::float32, 1);
  Tape tape = Tape::training({.seed = 1, .pass = 0});
  CHECK_THROWS_WITH_AS(wrong(tape, ids.slice(0, 1)), "[row_dropout] p is 1: it must be in [0, 1)",
                       UsageError);
  Tape plain;
  wrong.row_dropout = 0.5;
  CHECK_THROWS_AS(wrong(plain, ids.slice(0, 1)), UsageError);  // neither training nor evaluation
  CHECK_THROWS_WITH_AS(row_dropout(tape, Tensor::zeros({2}), 0.5),
                       "[row_dropout] x has shape (2): it must be a table, (R, F)", ShapeError);
}

TEST_CASE("embedding: the LSTM that takes ids drops the same rows") {
  const Embedding embed = make_embedding(DType::float64, 0.5);
  Rng rng(4);
  const LSTM lstm({.input = features, .hidden = 4, .dtype = DType::float64}, rng);
  for (std::uint64_t pass = 0; pass < 5; ++pass) {
    const auto solve = [&](bool by_ids) {
      Tape tape = Tape::training({.seed = 2, .pass = pass});
      const Var table = tape.leaf(embed.weight);
      const LSTMState zero = lstm.zero_state(2);
      const Var y = by_ids ? lstm(tape, embed, ids, zero, lengths).y
                           : lstm(tape, embed(tape, ids, lengths), zero, lengths).y;
      return std::vector{y.value(), tape.gradient(sum(square(y)), {table})[0].value()};
    };
    const std::vector<Tensor> fused = solve(true), plain = solve(false);
    for (std::size_t part = 0; part < 2; ++part) {
      for (std::size_t k = 0; k < fused[part].numel(); ++k) {
        CHECK(std::abs(fused[part].at(k) - plain[part].at(k)) <= 1e-14);
      }
    }
  }
}
