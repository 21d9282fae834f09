// Covers autograd/gradcheck on random correct functions, many of them not smooth, saturated or
// badly scaled: none may fail. TAPEGRAD_SEEDS multiplies their number.

#include <doctest/doctest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/layer_norm.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/ops/softmax.h"
#include "../../layers/model/clone.h"
#include "../support/char_lm.h"
#include "../support/extended.h"

TEST_SUITE_BEGIN("random functions");

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t rows = 3, columns = 4;

double power_of_ten(Rng& rng) { return std::pow(10.0, std::floor(rng.uniform(-8, 9))); }

/// One of the ops that keep (3, 4), by number; every second is not smooth or saturates.
Var unary(Tape& tape, Rng& rng, const Var& x) {
  switch (rng.below(20)) {
    case 0:
      return relu(x);
    case 1:
      return abs(x);
    case 2:
      return clamp(x, -0.5, 0.5);
    case 3:
      return sigmoid(x * rng.uniform(0, 30));
    case 4:
      return tanh(x * rng.uniform(0, 30));
    case 5:
      return softplus(x);
    case 6:
      return exp(tanh(x));
    case 7:
      return log(square(x) + 0.01);
    case 8:
      return sqrt(square(x) + 0.01);
    case 9:
      return softmax(x);
    case 10:
      return log_softmax(x);
    case 11:
      return layer_norm(x);
    case 12:
      return dropout(tape, x, 0.5);
    case 13:
      return cumsum(x, rng.below(2));
    case 14:
      return repeat(max(x, 0), 0, rows);
    case 15:
      return transpose(transpose(x) - logsumexp(x));
    case 16:
      return x - mean(x, 0);
    case 17:
      return square(x) / (1.0 + square(x));
    case 18:
      return pow(abs(x) + 0.1, rng.uniform(-2, 2));
    default:
      return expm1(clamp(x, -3, 3));
  }
}

Var binary(Rng& rng, const Var& a, const Var& b) {
  switch (rng.below(7)) {
    case 0:
      return a + b;
    case 1:
      return a - b;
    case 2:
      return a * b;
    case 3:
      return a / (square(b) + 0.1);
    case 4:
      return maximum(a, b);
    case 5:
      return minimum(a, b);
    default:
      return matmul(matmul(a, b, Transpose::no, Transpose::yes), a);
  }
}

/// A composition of 3 to 10 ops, the same for the same seed.
Var composition(Tape& tape, std::uint64_t seed, std::span<const Var> x) {
  Rng rng(seed, "composition");
  std::vector<Var> values(x.begin(), x.end());
  const std::size_t ops = 3 + rng.below(8);
  for (std::size_t k = 0; k < ops; ++k) {
    const Var& a = values[values.size() - 1 - rng.below(std::min<std::size_t>(3, values.size()))];
    const Var& b = values[rng.below(values.size())];
    values.push_back(rng.below(3) == 0 ? binary(rng, a, b) : unary(tape, rng, a));
  }
  return values.back();
}

struct Tally {
  std::uint64_t functions = 0, failed = 0, undecided = 0, kinks = 0;
  std::size_t entries = 0, entries_undecided = 0, entries_at_kinks = 0;

  void add(const GradcheckReport& r, std::uint64_t seed) {
    CHECK_MESSAGE(r.verdict != Verdict::fail, "seed ", seed, ": ", r.text());
    ++functions;
    failed += r.verdict == Verdict::fail;
    undecided += r.verdict == Verdict::inconclusive;
    kinks += r.kinks > 0;
    entries += r.checked;
    entries_undecided += r.inconclusive;
    entries_at_kinks += r.kinks;
  }
  /// At most that many of 1000 functions may stay undecided, and of 1000 entries, which is about
  /// twice what does: who never decides is never wrong.
  void finish(const std::string& what, std::size_t most_functions, std::size_t most_entries) const {
    CHECK(1000 * undecided <= most_functions * functions);
    CHECK(1000 * entries_undecided <= most_entries * entries);
    MESSAGE(what, ": ", functions, " functions, ", failed, " failed, ", undecided, " undecided, ",
            kinks, " with kinks; ", entries, " entries, ", entries_undecided, " undecided, ",
            entries_at_kinks, " at kinks");
  }
};

/// One or two layers, one to six steps, weights up to such that saturate all gates.
struct NetworkCase {
  Rng rng;
  std::size_t layers, hidden, steps;
  SequenceModel model;
  Tensor x, y;

  NetworkCase(std::uint64_t seed, DType dtype)
      : rng(seed, "network"),
        layers(1 + rng.below(2)),
        hidden(1 + rng.below(4)),
        steps(1 + rng.below(6)),
        model{{{.input = 2, .hidden = hidden, .layers = layers, .dtype = dtype}, rng},
              {hidden, 3, rng, {.dtype = dtype}}},
        x(rng.normal({steps, 2, 2}, 0, std::pow(10.0, rng.uniform(-2, 2)), dtype)),
        y(rng.normal({steps, 2, 3}, 0, 1, dtype)) {
    const double size = std::pow(10.0, rng.uniform(-2, 1.5));
    for (const NamedParameter& p : parameters(model)) {
      p.set_value(rng.normal(p.value().shape(), 0, size, dtype));
    }
  }
  static Var loss(Tape& tape, const SequenceModel& model, const Tensor& x, const Tensor& y) {
    const Var h = model.lstm(tape, x).y;
    return mean(square(log_softmax(model.head(tape, h)) - Var(y)));
  }
};

}  // namespace

TEST_CASE("gradcheck: no random composition of ops fails") {
  Tally tally;
  for (std::uint64_t seed = 0; seed < 1000 * seeds(); ++seed) {
    Rng rng(seed);
    const double in = seed % 4 == 0 ? power_of_ten(rng) : 1, out = power_of_ten(rng);
    const std::vector<GradcheckInput> inputs = {
        {"a", rng.normal({rows, columns}, 0, in, DType::float64)},
        {"b", rng.normal({rows, columns}, 0, 1, DType::float64)}};
    const auto f = [&](Tape& tape, std::span<const Var> x) {
      return Vars{composition(tape, seed, x) * out};
    };
    tally.add(gradcheck(f, inputs, {}, {.atol = 1e-12 * out, .seed = seed}), seed);
  }
  tally.finish("compositions", 48, 10);
}

TEST_CASE("gradcheck: no random LSTM fails") {
  Tally tally;
  for (std::uint64_t seed = 0; seed < 100 * seeds(); ++seed) {
    const NetworkCase c(seed, DType::float64);
    tally.add(gradcheck([&](Tape& tape) { return NetworkCase::loss(tape, c.model, c.x, c.y); },
                        parameters(c.model)),
              seed);
  }
  tally.finish("LSTMs", 240, 36);
}

TEST_CASE("gradcheck: no random LSTM in float32 fails, as an array of doubles") {
  Tally tally;
  for (std::uint64_t seed = 0; seed < 50 * seeds(); ++seed) {
    const NetworkCase c(seed, DType::float32);
    const SequenceModel twin = to(c.model, DType::float64);
    const Tensor x = c.x.to(DType::float64), y = c.y.to(DType::float64);
    Tape tape;
    tape.backward(NetworkCase::loss(tape, twin, x, y));
    std::vector<GradBlock> blocks;
    const Parameters single = parameters(c.model), exact = parameters(twin);
    for (std::size_t k = 0; k < single.size(); ++k) {
      Tensor value = single[k].value();
      blocks.push_back(grad_block(single[k].name, value.mutable_values<float>(),
                                  exact[k].grad().values<double>()));
    }
    const auto loss = [&] {
      for (const NamedParameter& p : single) {  // has changed
        Tensor value = p.value();
        value.mutable_data<float>();
      }
      Tape inference = Tape::inference();
      return NetworkCase::loss(inference, c.model, c.x, c.y).item();
    };
    tally.add(gradcheck(loss, blocks), seed);
  }
  tally.finish("LSTMs in float32", 1000, 600);
}

TEST_SUITE_END();
