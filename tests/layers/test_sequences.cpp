#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "../../autograd/inspect/observer.h"
#include "../../autograd/ops/cross_entropy.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../../core/pool.h"
#include "../../core/threads.h"
#include "../../layers/recurrent/stream.h"
#include "../../layers/recurrent/verify_padding.h"
#include "../support/lstm_cases.h"
#include "../support/op_check.h"
#include "../support/stacks.h"

using namespace tapegrad;
using namespace tapegrad::testing;

// Lengths, directions and variants of LSTM, GRU and RNN: fused against composed, against numbers, and
// against the same sequences one by one.

namespace {

constexpr std::size_t batch = 4;

/// Lengths in no order; one of T, one of 0.
Tensor some_lengths(std::size_t T) {
  const auto n = static_cast<std::int32_t>(T);
  return Tensor::from<std::int32_t>({batch}, {(n + 1) / 2, n, 0, std::max(1, n - 1)});
}

struct Data {
  Tensor x;
  std::vector<Tensor> state;

  Data(const Stack& stack, std::size_t T, DType dtype, bool zero_state = false) {
    Rng rng(5, "sequences");
    x = rng.normal({T, batch, stack_input}, 0, 1, dtype);
    for (const Shape& shape : stack.state(batch)) {
      state.push_back(zero_state ? Tensor::zeros(shape, dtype) : rng.uniform(shape, -1, 1, dtype));
    }
  }
};

Var weighed(const Vars& outputs, DType dtype) {
  Rng rng(6, "weights of the loss");
  Var total = sum(outputs[0] * Var(rng.normal(outputs[0].shape(), 0, 1, dtype)));
  for (std::size_t i = 1; i < outputs.size(); ++i) {
    total = total + sum(outputs[i] * Var(rng.normal(outputs[i].shape(), 0, 1, dtype)));
  }
  return total;
}

/// Outputs, and the gradients of x, the first state and all Parameters.
std::vector<NamedValue> solve(const Stack& stack, bool fused, const Data& data,
                              const Tensor& lengths) {
  Tape tape = Tape::training({.seed = 3, .pass = 1});
  Vars leaves = {tape.leaf(data.x)};
  std::vector<std::string> names = {"dx"};
  for (const Tensor& s : data.state) {
    leaves.push_back(tape.leaf(s));
    names.push_back("dstate");
  }
  for (const NamedParameter& p : stack.parameters) {
    leaves.push_back(tape.leaf(p));
    names.push_back("d" + p.name);
  }
  const Vars state(leaves.begin() + 1, leaves.begin() + 1 + static_cast<int>(data.state.size()));
  const Vars outputs = stack.run(fused, tape, leaves[0], state, lengths);
  std::vector<NamedValue> result;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    result.push_back({i == 0 ? "y" : "last", outputs[i].value()});
  }
  const Vars gradients = tape.gradient(weighed(outputs, data.x.dtype()), leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    result.push_back({names[i], gradients[i].value()});
  }
  return result;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return false;
  for (std::size_t i = 0; i < a.numel(); ++i) {
    const double x = a.at(i), y = b.at(i);
    if (x != y || std::signbit(x) != std::signbit(y)) return false;
  }
  return true;
}

}  // namespace

TEST_SUITE_BEGIN("gradients");

TEST_CASE("sequences: lengths, directions and variants, fused against composed, float32") {
  constexpr double unit = std::numeric_limits<float>::epsilon();
  double worst = 0;
  pool::poison(true);
  for (const StackCase& c : stack_cases()) {
    for (const Stack& stack : all_stacks(c, DType::float32)) {
      for (const std::size_t T : {1U, 2U, 3U, 7U, 50U}) {
        for (const Tensor& lengths : {Tensor(), some_lengths(T)}) {
          const Data data(stack, T, DType::float32);
          Deviation d;
          d.compare(solve(stack, true, data, lengths), solve(stack, false, data, lengths));
          d.worst -= 2 * unit * static_cast<double>(T);
          INFO(stack.name, ", T = ", T, ", lengths ", lengths.defined(), ": ", d.where);
          CHECK(d.worst <= 2e-5);
          if (is_worse(d.worst, worst)) worst = d.worst;
        }
      }
    }
  }
  pool::poison(false);
  MESSAGE("worst ", worst);
}

TEST_CASE("sequences: second derivatives with lengths and variants") {
  StackCase c{.name = "all",
              .bidirectional = true,
              .variant = {.recurrent_dropout = 0.3, .zoneout_h = 0.3}};
  for (const Stack& stack : all_stacks(c)) {
    const Data data(stack, 3, DType::float64);
    const TapeFunction f = [&](Tape& tape, std::span<const Var> v) {
      return stack.run(true, tape, v[0], Vars(v.begin() + 1, v.end()), some_lengths(3));
    };
    std::vector<GradcheckInput> inputs = {{"x", data.x}};
    for (const Tensor& s : data.state) {
      inputs.push_back({inputs.size() == 1 ? "h" : "c", s});
    }
    const GradcheckReport report = gradgradcheck(f, inputs);
    INFO(stack.name, "\n", report.text());
    CHECK(report);
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("numerics");

TEST_CASE("sequences: with lengths, each sequence is what it is alone") {
  for (const StackCase& c :
       {StackCase{.name = "two layers", .layers = 2},
        StackCase{.name = "both directions", .layers = 2, .bidirectional = true}}) {
    for (const Stack& stack : all_stacks(c)) {
      const std::size_t T = 7;
      const Data data(stack, T, DType::float64);
      const Tensor lengths = some_lengths(T);
      Tape tape = Tape::inference();
      Vars state(data.state.begin(), data.state.end());
      const Vars all = stack.run(true, tape, data.x, state, lengths);
      for (std::size_t b = 0; b < batch; ++b) {
        INFO(stack.name, ", sequence ", b);
        const auto n = static_cast<std::size_t>(lengths.at(b));
        Vars own;
        for (const Var& s : state) own.push_back(slice(s, 1, b, b + 1));
        for (std::size_t t = n; t < T; ++t) {
          for (std::size_t j = 0; j < stack.output; ++j) {
            CHECK(all[0].value().at((t * batch + b) * stack.output + j) == 0);
          }
        }
        Vars alone(1 + own.size());
        if (n > 0) {
          alone = stack.run(true, tape, slice(slice(Var(data.x), 1, b, b + 1), 0, 0, n), own, {});
          const Var mine = slice(slice(all[0], 1, b, b + 1), 0, 0, n);
          CHECK(same_bits(mine.value(), alone[0].value()));
        } else {
          std::copy(own.begin(), own.end(), alone.begin() + 1);
        }
        for (std::size_t part = 1; part < all.size(); ++part) {
          CHECK(same_bits(slice(all[part], 1, b, b + 1).value(), alone[part].value()));
        }
      }
    }
  }
}

namespace {

struct BranchesSeen : Observer {
  BranchesSeen() : Observer(Interest::branches) {}
  void on_branch(std::size_t, const char*, const Tensor& choice) override {
    choices.push_back(choice.clone());
  }
  std::vector<Tensor> choices;
};

using Form = std::function<void(Tape&, const Steps&)>;

std::vector<Tensor> branches(const Form& form, const Steps& steps) {
  BranchesSeen seen;
  Tape tape;
  observe(tape, seen);
  form(tape, steps);
  return seen.choices;
}

/// Compares what the fused op (T, B, H) and the loop (n, H) at each step tell observers; returns how
/// many elements take another branch than 0.
std::size_t compare_branches(const Form& fused, const Form& composed, const Steps& steps,
                             std::size_t T) {
  const std::vector<Tensor> all = branches(fused, steps), each = branches(composed, steps);
  REQUIRE(all.size() == 1);
  REQUIRE(each.size() == T);
  std::size_t others = 0;
  for (std::size_t k = 0; k < T; ++k) {
    const std::size_t t = steps.reverse ? T - 1 - k : k;
    std::size_t row = 0;
    for (std::size_t b = 0; b < batch; ++b) {
      if (steps.lengths.defined() && static_cast<double>(t) >= steps.lengths.at(b)) continue;
      for (std::size_t j = 0; j < stack_hidden; ++j) {
        const double choice = all[0].at((t * batch + b) * stack_hidden + j);
        CHECK(choice == each[k].at(row * stack_hidden + j));
        others += choice != 0 ? 1 : 0;
      }
      ++row;
    }
  }
  return others;
}

}  // namespace

TEST_CASE("sequences: fused ops with kinks tell the branches that their twins tell") {
  constexpr std::size_t T = 5, H = stack_hidden;
  Rng rng(7, "branches");
  const auto draw = [&](const Shape& shape) { return rng.normal(shape, 0, 1, DType::float64); };
  const Tensor x = draw({T, batch, 2}), h = draw({batch, H}), c = draw({batch, H});
  const Tensor rate = Tensor::full({T, batch, H}, 0.4, DType::float64);
  const auto weights = [&](std::size_t gates) {
    return RecurrentWeights{draw({gates * H, 2}), draw({gates * H, H}), draw({gates * H}), {}};
  };
  const RecurrentWeights four = weights(4), one = weights(1);
  const RecurrentVariant cut{.zoneout_h = rate, .zoneout_c = rate, .cell_clip = 0.4};
  const RecurrentVariant kept{.zoneout_h = rate};
  constexpr auto relu = RNNNonlinearity::relu;
  for (const Tensor& lengths : {Tensor(), some_lengths(T)}) {
    for (const bool reverse : {false, true}) {
      INFO("lengths ", lengths.defined(), ", reverse ", reverse);
      const Steps steps{lengths, reverse};
      const std::size_t clipped = compare_branches(
          [&](Tape& tape, const Steps& s) {
            lstm(tape.leaf(x), {h, c}, four, s, cut);
          },
          [&](Tape& tape, const Steps& s) {
            lstm_composed(tape.leaf(x), {h, c}, four, s, cut);
          },
          steps, T);
      CHECK(clipped > 5);
      const std::size_t positive = compare_branches(
          [&](Tape& tape, const Steps& s) { rnn(tape.leaf(x), h, one, relu, s, kept); },
          [&](Tape& tape, const Steps& s) { rnn_composed(tape.leaf(x), h, one, relu, s, kept); },
          steps, T);
      CHECK(positive > 5);
    }
  }
}

TEST_CASE("sequences: two threads and one give the same bits with lengths and both directions") {
  Rng rng(1, "threads");
  const LSTM model(
      {.input = 16, .hidden = 96, .bidirectional = true, .variant = {.zoneout_h = 0.1}}, rng);
  const Tensor x = rng.normal({40, 24, 16}, 0, 1);
  Tensor lengths = Tensor::empty({24}, DType::int32);
  for (std::size_t b = 0; b < 24; ++b) {
    lengths.mutable_data<std::int32_t>()[b] = static_cast<std::int32_t>((b * 7) % 41);
  }
  const auto run = [&](std::size_t threads) {
    set_threads(threads);
    Tape tape = Tape::training({.seed = 1});
    const Var leaf = tape.leaf(x);
    const LSTMResult r = model(tape, leaf, model.zero_state(24), lengths);
    std::vector<Tensor> result = {r.y.value()};
    Vars wanted = {leaf};
    for (const LSTMParameters& p : model.layers) wanted.push_back(tape.leaf(p.weight_hh));
    for (const Var& g : tape.gradient(sum(square(r.y)), wanted)) result.push_back(g.value());
    set_threads(1);
    return result;
  };
  const auto one = run(1), two = run(2);
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(same_bits(one[i], two[i]));
}

TEST_CASE("sequences: padding is never read, in no layer and no variant") {
  for (const StackCase& c : stack_cases()) {
    for (const Stack& stack : all_stacks(c, DType::float32)) {
      const std::size_t T = 5;
      const Data data(stack, T, DType::float32);
      const Tensor lengths = some_lengths(T);
      for (const bool fused : {true, false}) {
        const PaddingReport report = verify_padding(
            [&](Tape& tape, const Var& x) {
              const Vars r =
                  stack.run(fused, tape, x, Vars(data.state.begin(), data.state.end()), lengths);
              Vars all = {weighed(r, DType::float32)};
              all.insert(all.end(), r.begin(), r.end());
              return all;
            },
            data.x, lengths, stack.parameters);
        INFO(stack.name, ", fused ", fused, ": ", report.text);
        CHECK(report.passed);
      }
    }
  }
}

TEST_CASE("sequences: ids behind an end may be any numbers") {
  Rng rng(1, "ids");
  for (const std::size_t vocabulary : {3U, 50U}) {  // a table in place of products, and not
    Embedding embed(vocabulary, 4, rng);
    LSTM model({.input = 4, .hidden = 3, .bidirectional = true}, rng);
    const Parameters all = parameters(embed) + parameters(model);
    const Tensor ids = Tensor::from<std::int32_t>({3, 2}, {0, 2, 1, 1, 2, 0});
    const Tensor lengths = Tensor::from<std::int32_t>({2}, {3, 1});
    const PaddingReport report = verify_padding_ids(
        [&](Tape& tape, const Tensor& padded) {
          const LSTMResult r = model(tape, embed, padded, model.zero_state(2), lengths);
          return Vars{sum(square(r.y)), r.y, r.last.h, r.last.c};
        },
        ids, lengths, all);
    INFO(report.text);
    CHECK(report.passed);
  }
}

TEST_CASE("sequences: the first state may be trained, given or burnt in") {
  Rng rng(1, "states");
  LSTM model({.input = 2, .hidden = 3, .layers = 2, .trained_state = true, .dtype = DType::float64},
             rng);
  const Tensor x = rng.normal({4, 2, 2}, 0, 1, DType::float64);
  model.layers[1].h0 = Parameter(rng.normal({3}, 0, 1, DType::float64));
  model.layers[0].c0 = Parameter(rng.normal({3}, 0, 1, DType::float64));
  const GradcheckReport report =
      gradcheck([&](Tape& tape) { return sum(square(model(tape, x).y)); }, parameters(model));
  INFO(report.text());
  CHECK(report);

  Tape tape;
  const LSTMState burnt = model.burn_in(tape, x, model.first_state(tape, 2));
  const LSTMState whole = model(tape, x, model.first_state(tape, 2)).last;
  CHECK(same_bits(burnt.h.value(), whole.h.value()));
  CHECK(same_bits(burnt.c.value(), whole.c.value()));
  CHECK(whole.h.recorded());
  CHECK_FALSE(burnt.h.recorded());
}

TEST_CASE("sequences: a trained first state may be of some layers and parts alone") {
  Rng rng(1, "states");
  LSTM model({.input = 2, .hidden = 3, .layers = 2}, rng);
  model.layers[1].c0 = Parameter(Tensor::full({3}, 7));
  Tape tape;
  const auto [h, c] = model.first_state(tape, 2);
  CHECK(same_bits(h.value(), Tensor::zeros({2, 2, 3})));
  CHECK(same_bits(c.value().slice(0, 1), Tensor::zeros({1, 2, 3})));
  CHECK(same_bits(c.value().slice(1, 2), Tensor::full({1, 2, 3}, 7)));
  CHECK(tape.gradient(sum(c), {tape.leaf(model.layers[1].c0)})[0].value().at(0) == 2);
  CHECK(Stream(model).state().c.value().at(3) == 7);
}

TEST_CASE("sequences: the last output is y at each end, in both directions") {
  Rng rng(1, "ends");
  for (const Merge merge : {Merge::concat, Merge::sum}) {
    const GRU model({.input = 2, .hidden = 3, .layers = 2, .bidirectional = true, .merge = merge},
                    rng);
    const Tensor x = rng.normal({5, 3, 2}, 0, 1);
    const Tensor lengths = Tensor::from<std::int32_t>({3}, {2, 5, 4});
    Tape tape = Tape::inference();
    const GRUResult r = model(tape, x, model.zero_state(3), lengths);
    const Tensor last = model.last_output(r.last).value();
    REQUIRE(last.shape() == Shape{3, model.output()});
    if (merge != Merge::concat) continue;
    for (std::size_t b = 0; b < 3; ++b) {
      const auto end = static_cast<std::size_t>(lengths.at(b)) - 1;
      for (std::size_t j = 0; j < 3; ++j) {
        CHECK(last.at(b * 6 + j) == r.y.value().at((end * 3 + b) * 6 + j));
        CHECK(last.at(b * 6 + 3 + j) == r.y.value().at((0 * 3 + b) * 6 + 3 + j));
      }
    }
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("misuse");

TEST_CASE("sequences: messages of what cannot be meant; nothing has changed") {
  Rng rng(1, "misuse");
  const LSTM model({.input = 2, .hidden = 3}, rng);
  const GRU gru_model({.input = 2, .hidden = 3}, rng);
  const Tensor x = Tensor::zeros({4, 2, 2});
  Tape tape = Tape::inference();
  const auto run = [&](const Tensor& lengths) { model(tape, x, model.zero_state(2), lengths); };
  const std::string where = " (in lstm.0)";
  CHECK_THROWS_WITH_AS(
      run(Tensor::from<std::int32_t>({2}, {3, 5})),
      ("[lstm] length 5 of sequence 1 is out of range: lengths must be in [0, T], T = "
       "4" +
       where)
          .c_str(),
      UsageError);
  CHECK_THROWS_WITH_AS(
      run(Tensor::from<std::int32_t>({2}, {-1, 4})),
      ("[lstm] length -1 of sequence 0 is out of range: lengths must be in [0, T], T "
       "= 4" +
       where)
          .c_str(),
      UsageError);
  CHECK_THROWS_WITH_AS(
      run(Tensor::from<std::int32_t>({3}, {1, 1, 1})),
      ("[lstm] lengths have shape (3) but x has B = 2 sequences: lengths must be (B)" + where)
          .c_str(),
      ShapeError);
  CHECK_THROWS_WITH_AS(run(Tensor::of({2}, {1, 1})),
                       ("[lstm] lengths are float32: they must be int32" + where).c_str(),
                       DtypeError);

  const auto make = [&](const LSTMOptions& o) { LSTM made(o, rng); };
  CHECK_THROWS_WITH_AS(make({.input = 2, .hidden = 3, .variant = {.zoneout_h = 1}}),
                       "[LSTM] zoneout_h is 1: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(make({.input = 2, .hidden = 3, .variant = {.recurrent_dropout = -0.1}}),
                       "[LSTM] recurrent_dropout is -0.1: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(make({.input = 2, .hidden = 3, .variant = {.cell_clip = -1}}),
                       "[LSTM] cell_clip is -1: it must be positive, or 0 for none", UsageError);
  CHECK_THROWS_WITH_AS(GRU({.input = 2, .hidden = 3, .variant = {.zoneout_c = 0.1}}, rng),
                       "[GRU] zoneout_c acts on c, which only the LSTM has: leave it out",
                       UsageError);
  CHECK_THROWS_WITH_AS(
      model.last_output({Tensor::zeros({2, 2, 3}), Tensor::zeros({2, 2, 3})}),
      "[LSTM] last has shape (2, 2, 3): it must be the last state of this stack, (1, B, 3)",
      ShapeError);

  const LSTMState state{Tensor::zeros({2, 3}), Tensor::zeros({2, 3})};
  const RecurrentWeights w = model.layers[0].on(tape);
  CHECK_THROWS_WITH_AS(lstm(x, state, w, {}, {.recurrent_mask = Tensor::zeros({2, 2})}),
                       "[lstm] recurrent_mask has shape (2, 2): it must be (B, H) = (2, 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      lstm(x, state, w, {}, {.zoneout_h = Tensor::full({4, 2, 3}, 1.5)}),
      "[lstm] zoneout_h has 1.5 at position 0 of shape (4, 2, 3): it must be in [0, 1]",
      UsageError);
  CHECK_THROWS_WITH_AS(
      gru(x, Tensor::zeros({2, 3}), gru_model.layers[0].on(tape), {}, {.cell_clip = 1}),
      "[gru] cell_clip acts on c, which only the LSTM has: leave it out", UsageError);
}

TEST_SUITE_END();
