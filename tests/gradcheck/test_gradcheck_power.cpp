// Covers autograd/gradcheck: how likely a wrong entry is found in a block that is sampled, and that
// long sequences and large models are decided.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"

TEST_SUITE_BEGIN("gradients");

using namespace tapegrad;

TEST_CASE("gradcheck: wrong entries are missed no more often than the report says") {
  constexpr std::size_t size = 5000;
  for (const std::size_t directions : {0u, 1u, 2u, 4u}) {
    Rng rng(directions, "power");
    std::vector<double> x(size), dx(size);
    for (double& v : x) v = rng.uniform(0.5, 1);
    const auto loss = [&] {  // rounded so much that a direction misses something
      double sum = 0;
      for (const double v : x) sum += v * v;
      return std::round(sum * 0x1p21) * 0x1p-21;
    };
    const auto check = [&](std::uint64_t seed) {
      return gradcheck(loss, {grad_block("x", x, dx)},
                       {.inconclusive_at = 1,
                        .budget = 100,
                        .entries = 8,
                        .directions = directions,
                        .seed = seed});
    };
    constexpr int trials = 100;
    int missed = 0;
    double promised = 0, variance = 0;
    for (std::uint64_t trial = 0; trial < trials; ++trial) {
      double scale = 0;
      for (std::size_t i = 0; i < size; ++i) scale = std::max(scale, dx[i] = 2 * x[i]);
      const GradcheckReport right = check(trial);
      CHECK_MESSAGE(right, right);
      const double p = right.blocks[0].missed;
      promised += p;
      variance += p * (1 - p);
      dx[rng.below(size)] += (rng.below(2) == 0 ? 0.01 : -0.01) * scale;
      missed += check(trial).verdict == Verdict::pass;
    }
    MESSAGE(directions, " directions: missed ", missed, " of ", trials,
            ", the reports say at most ", promised);
    CHECK(missed <= promised + 3 * std::sqrt(variance) + 1);
    if (directions < 2) CHECK(missed >= promised / 4);  // the bound says something
  }
}

TEST_CASE("gradcheck: an LSTM of 41,000 weights, sampled") {
  Rng rng(1);
  const LSTM lstm({.input = 94, .hidden = 64, .dtype = DType::float64}, rng);
  const Tensor x = rng.normal({5, 2, 94}, 0, 1, DType::float64);
  const Tensor w = rng.normal({5, 2, 64}, 0, 1, DType::float64);
  const auto loss = [&](Tape& tape) { return sum(lstm(tape, x).y * Var(w)); };
  const auto start = std::chrono::steady_clock::now();
  const GradcheckReport report = gradcheck(loss, parameters(lstm));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  MESSAGE(seconds.count(), " s: ", report);
  CHECK_MESSAGE(report, report.text());
  CHECK(report.inconclusive == 0);
  CHECK(report.evaluations < 1000);
  for (const GradBlockSummary& b : report.blocks) CHECK(b.missed < 1e-6);
}

TEST_CASE("gradcheck: an LSTM over 300 steps, every entry decided") {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    Rng rng(seed);
    const LSTM lstm({.input = 3, .hidden = 4, .dtype = DType::float64}, rng);
    const Tensor x = rng.normal({300, 1, 3}, 0, 1, DType::float64);
    const Tensor w = rng.normal({300, 1, 4}, 0, 1, DType::float64);
    const GradcheckReport report = gradcheck(
        [&](Tape& tape) { return mean(square(lstm(tape, x).y - Var(w))); }, parameters(lstm));
    CHECK_MESSAGE(report, report.text());
    CHECK(report.inconclusive == 0);
    double error = 0, bound = 0;
    for (const GradEntry& e : report.entries) {
      error = std::max(error, e.error);
      bound = std::max(bound, e.bound);
    }
    MESSAGE("T = 300: ", report.checked, " entries, largest error ", error, ", largest bound ",
            bound);
  }
}

TEST_SUITE_END();
