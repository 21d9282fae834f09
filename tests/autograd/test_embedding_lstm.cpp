#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "../../autograd/inspect/graph.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/lstm.h"
#include "../../core/error.h"
#include "../../layers/embedding.h"
#include "../support/kernel_cases.h"
#include "../support/lstm_cases.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// An LSTM over ids of a table, some of which are never used.
struct IdsProblem {
  LstmProblem lstm;
  Embedding embed;
  Tensor ids;

  IdsProblem(const LstmCase& c, std::size_t rows) : lstm(c) {
    Rng rng(c.seed, "ids");
    embed = Embedding(rows, c.input, rng, c.dtype);
    ids = Tensor::empty({c.steps, c.batch}, DType::int32);
    for (std::int32_t& id : ids.mutable_values<std::int32_t>()) {
      id = static_cast<std::int32_t>(rng.below(rows > 1 ? rows - 1 : 1));
    }
  }

  /// y, h_T, c_T, and the gradients for h0, c0 and all Parameters that are not frozen.
  std::vector<NamedValue> solve(bool by_ids) {
    Tape tape = Tape::training({.seed = 5, .pass = 0});
    Vars leaves = {tape.leaf(lstm.h0), tape.leaf(lstm.c0)};
    std::vector<std::string> names = {"dh0", "dc0"};
    for (const NamedParameter& p : parameters(lstm.model)) {
      if (!p.requires_grad()) continue;
      leaves.push_back(tape.leaf(p));
      names.push_back("d" + p.name);
    }
    if (embed.weight.requires_grad()) {
      leaves.push_back(tape.leaf(embed.weight));
      names.emplace_back("dtable");
    }
    const LSTMState state{leaves[0], leaves[1]};
    const LSTMResult r =
        by_ids ? lstm.model(tape, embed, ids, state) : lstm.model(tape, embed(tape, ids), state);
    std::vector<NamedValue> result = {
        {"y", r.y.value()}, {"h_T", r.last.h.value()}, {"c_T", r.last.c.value()}};
    const Vars gradients = tape.gradient(lstm.loss_of(r, Loss::all), leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      result.push_back({names[i], gradients[i].value()});
    }
    return result;
  }
};

/// Checks that both calls agree: values, and gradients of what does not go through the table, in
/// their bits.
void check_both(IdsProblem& p, double tolerance) {
  const std::vector<NamedValue> ours = p.solve(true), plain = p.solve(false);
  REQUIRE(ours.size() == plain.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    CAPTURE(ours[i].name);
    Deviation d;
    d.compare({ours[i]}, {plain[i]});
    CHECK(d.worst <= tolerance);
    if (ours[i].name == "dtable" || ours[i].name == "dweight_ih_l0") continue;
    CHECK(same_bits(ours[i].value, plain[i].value));
  }
}

/// How many nodes of this name are on the tape.
std::size_t count(const Tape& tape, const std::string& name) {
  std::size_t n = 0;
  for (const NodeView& node : nodes(tape)) n += node.name == name ? 1U : 0U;
  return n;
}

}  // namespace

// The gradients of the table and of W_ih are sums of the same products in another order: of T B
// terms at most, added in parts or in double. (Ten roundings were the most that was seen.)
TEST_CASE("lstm: of ids equals lstm of the embedding of ids") {
  for (const DType dtype : float_types) {
    const double tolerance = 64 * epsilon_of(dtype);
    for (const std::size_t steps : {1U, 3U, 30U}) {
      for (const std::size_t batch : {1U, 3U, 20U}) {
        for (const std::size_t rows : {2U, 7U, 90U}) {
          IdsProblem p({.steps = steps,
                        .batch = batch,
                        .input = 5,
                        .hidden = 9,
                        .layers = 2,
                        .dtype = dtype,
                        .dropout = 0.3},
                       rows);
          CAPTURE(steps);
          CAPTURE(batch);
          CAPTURE(rows);
          check_both(p, tolerance);
        }
      }
    }
  }
}

TEST_CASE("lstm: of ids, with a wide input, without biases, with frozen weights") {
  const double tolerance = 64 * epsilon_of(DType::float64);
  for (const std::size_t batch : {1U, 8U}) {
    IdsProblem wide({.steps = 9, .batch = batch, .input = 300, .hidden = 12}, 4);
    check_both(wide, tolerance);
  }
  IdsProblem p({.steps = 9, .batch = 2, .bias = LSTMBias::none}, 4);
  check_both(p, tolerance);
  p.embed.weight.set_requires_grad(false);
  check_both(p, tolerance);
  p.lstm.model.layers[0].weight_ih.set_requires_grad(false);
  check_both(p, tolerance);
  p.embed.weight.set_requires_grad(true);
  check_both(p, tolerance);
}

TEST_CASE(
    "lstm: of ids, the table is multiplied by W_ih where it has fewer rows than there are ids") {
  for (const std::size_t rows : {5U, 6U, 7U}) {
    IdsProblem p({.steps = 3, .batch = 2, .layers = 2}, rows);
    Tape tape;
    const LSTMResult r = p.lstm.model(tape, p.embed, p.ids, p.lstm.model.zero_state(2));
    CHECK(count(tape, "lstm") == 2);
    CHECK(count(tape, "embedding") == (rows < 6 ? 0 : 1));
    Tape inference = Tape::inference();
    const LSTMResult same = p.lstm.model(inference, p.embed, p.ids, p.lstm.model.zero_state(2));
    CHECK(same_bits(r.y.value(), same.y.value()));
  }
}

TEST_CASE("lstm: of ids, a retained pass differentiates twice alike") {
  IdsProblem p({.steps = 5, .batch = 2}, 3);
  Tape tape;
  const Var table = tape.leaf(p.embed.weight);
  const LSTMResult r = p.lstm.model(tape, p.embed, p.ids, {p.lstm.h0, p.lstm.c0});
  const Var loss = p.lstm.loss_of(r, Loss::all);
  const Tensor first = tape.gradient(loss, {table}, {.retain = true})[0].value();
  CHECK(same_bits(tape.gradient(loss, {table})[0].value(), first));
}

TEST_CASE("lstm: of ids, the same bits for any number of threads" *
          doctest::test_suite("threads")) {
  IdsProblem p({.steps = 30, .batch = 40, .input = 30, .hidden = 64, .dtype = DType::float32}, 50);
  for (std::size_t i = 0; i < p.solve(true).size(); ++i) {
    check_threads_do_not_matter([&] { return p.solve(true)[i].value; });
  }
}

TEST_CASE("embedding_lstm: bad input, with whole messages") {
  const Var table = Tensor::zeros({3, 2}), state = Tensor::zeros({2, 1});
  const Var ih = Tensor::zeros({4, 2}), hh = Tensor::zeros({4, 1});
  const Tensor ids = Tensor::zeros({3, 2}, DType::int32);
  const auto call = [&](const Var& rows, const Tensor& of, const LSTMState& s,
                        const LSTMWeights& w) { embedding_lstm(rows, of, s, w); };
  CHECK_THROWS_WITH_AS(call({}, ids, {state, state}, {ih, hh, {}, {}}),
                       "[embedding_lstm] table is undefined: give it a value first", UsageError);
  CHECK_THROWS_WITH_AS(call(table, {}, {state, state}, {ih, hh, {}, {}}),
                       "[embedding_lstm] ids is undefined: give it a value first", UsageError);
  CHECK_THROWS_WITH_AS(call(table, ids, {state, state}, {ih, {}, {}, {}}),
                       "[embedding_lstm] weights.hh is undefined: give it a value first",
                       UsageError);
  CHECK_THROWS_WITH_AS(call(Tensor::zeros({3}), ids, {state, state}, {ih, hh, {}, {}}),
                       "[embedding_lstm] table has shape (3): it must be of rank 2, (V, I)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(call(table, Tensor::zeros({3, 2}), {state, state}, {ih, hh, {}, {}}),
                       "[embedding_lstm] ids are float32: they must be int32", DtypeError);
  CHECK_THROWS_WITH_AS(
      call(table, Tensor::full({3, 2}, 3, DType::int32), {state, state}, {ih, hh, {}, {}}),
      "[embedding_lstm] id 3 at position 0 of shape (3, 2) is out of range: ids must be in [0, 3)",
      UsageError);
  CHECK_THROWS_WITH_AS(
      call(table, Tensor::zeros({3}, DType::int32), {state, state}, {ih, hh, {}, {}}),
      "[embedding_lstm] x has shape (3, 2): it must be a sequence, (T, B, I); one step (B, I) is "
      "for LSTMCell",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      call(table, Tensor::zeros({0, 2}, DType::int32), {state, state}, {ih, hh, {}, {}}),
      "[embedding_lstm] x has shape (0, 2, 2): it must be (T, B, I) with T >= 1", ShapeError);
  CHECK_THROWS_WITH_AS(call(Tensor::zeros({3, 4}), ids, {state, state}, {ih, hh, {}, {}}),
                       "[embedding_lstm] weight_ih has shape (4H, I) = (4, 2) but x has shape "
                       "(T, B, I) = (3, 2, 4): I must match",
                       ShapeError);
  CHECK_THROWS_AS(call(Tensor::zeros({3, 2}, DType::int32), ids, {state, state}, {ih, hh, {}, {}}),
                  DtypeError);
  CHECK_THROWS_AS(
      call(Tensor::zeros({3, 2}, DType::float64), ids, {state, state}, {ih, hh, {}, {}}),
      DtypeError);

  // Ids that are overwritten before backward are noticed.
  Tape tape;
  const Var leaf = tape.leaf(Tensor::zeros({3, 2}));
  Tensor changed = ids.clone();
  const LSTMResult r = embedding_lstm(leaf, changed, {state, state}, {ih, hh, {}, {}});
  changed.fill(1);
  CHECK_THROWS_AS(tape.gradient(sum(r.y), {leaf}), UsageError);
}

TEST_CASE("lstm: of ids, mistakes are those of the embedding and of the LSTM") {
  IdsProblem p({.steps = 3, .batch = 2}, 4);
  Tape tape;
  const LSTMState zero = p.lstm.model.zero_state(2);
  CHECK_THROWS_WITH_AS(LSTM()(tape, p.embed, p.ids, zero),
                       "[LSTM] this LSTM has no layers: construct it with LSTMOptions and an Rng "
                       "first",
                       UsageError);
  CHECK_THROWS_WITH_AS(p.lstm.model(tape, Embedding(), p.ids, zero),
                       "[leaf] the parameter is undefined: construct the layer with its sizes and "
                       "an Rng first, and do not use it after a move",
                       UsageError);
  CHECK_THROWS_WITH_AS(p.lstm.model(tape, p.embed, Tensor(), zero),
                       "[LSTM] ids is undefined: give it a value first", UsageError);
  CHECK_THROWS_WITH_AS(p.lstm.model(tape, p.embed, Tensor::zeros({3, 2, 2, 1}, DType::int32), zero),
                       "[LSTM] ids has shape (3, 2, 2, 1): it must be (T, B)", ShapeError);
  CHECK_THROWS_WITH_AS(p.lstm.model(tape, p.embed, Tensor::full({3, 2}, -1, DType::int32), zero),
                       "[embedding_lstm] id -1 at position 0 of shape (3, 2) is out of range: ids "
                       "must be in [0, 4) (in lstm.0)",
                       UsageError);
  CHECK_THROWS_WITH_AS(p.lstm.model(tape, p.embed, p.ids.reshape({6}), zero),
                       "[LSTM] ids has shape (6): it must be (T, B)", ShapeError);
  CHECK_THROWS_WITH_AS(p.lstm.model(tape, p.embed, p.ids, p.lstm.model.zero_state(3)),
                       "[LSTM] x has shape (T, B, I) = (3, 2, 2) but h has shape (L, B, H) = "
                       "(1, 3, 3): B must match; x looks like (B, T, I), and transpose(x, 0, 1) "
                       "makes it (T, B, I)",
                       ShapeError);
  Tape other;
  const LSTMState theirs{other.leaf(p.lstm.h0), other.leaf(p.lstm.c0)};
  CHECK_THROWS_AS(p.lstm.model(tape, p.embed, p.ids, theirs), UsageError);
}
