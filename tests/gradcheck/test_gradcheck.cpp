// Covers autograd/gradcheck: right gradients pass (wrong ones are test_planted_bugs.cpp's), what
// cannot be decided is not passed, values are restored, every reason's whole text, the report's
// text.

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../../autograd/gradcheck/gradcheck.h"
#include "../oracles/lstm_by_hand.h"

using namespace tapegrad;
using namespace tapegrad::testing;
using Vector = std::vector<double>;

namespace {

const double not_a_number = std::numeric_limits<double>::quiet_NaN();

// f(x) of one variable with the claimed derivative.
GradcheckReport check_scalar(double (*f)(double), double x, double claimed,
                             const GradcheckOptions& options = {}) {
  return gradcheck([&] { return f(x); }, {grad_block("x", &x, &claimed, 1)}, options);
}

// The named block failed in `failed` entries, the others in none.
void check_failed(const GradcheckReport& report, const std::string& name, std::size_t failed) {
  INFO(report);
  CHECK(report.verdict == Verdict::fail);
  CHECK(report.blocks[report.entries.front().block].block.name == name);
  for (const GradBlockSummary& b : report.blocks)
    CHECK(b.failed == (b.block.name == name ? failed : 0));
}

}  // namespace

TEST_CASE("gradcheck passes right gradients and says how well they agree" *
          doctest::test_suite("gradients")) {
  CHECK(check_scalar([](double x) { return x * x * x - 2 * x; }, 1.5, 3 * 2.25 - 2));
  CHECK(check_scalar([](double x) { return std::exp(x) * std::sin(3 * x); }, 0.3,
                     std::exp(0.3) * (std::sin(0.9) + 3 * std::cos(0.9))));
  // Degree 6: D6 is exact, so all that remains is rounding.
  const GradcheckReport r =
      check_scalar([](double x) { return std::pow(x, 6); }, 0.5, 6 * std::pow(0.5, 5));
  CHECK(r);
  CHECK(r.entries[0].error < 1e-14);
}

TEST_CASE("gradcheck: scale of the loss and of the values does not matter" *
          doctest::test_suite("gradients")) {
  for (const double scale : {1e-10, 1e10}) {
    Vector x = {0.3, -0.7}, dx = {scale * std::cos(0.3), scale * std::cos(-0.7)};
    const auto loss = [&] { return scale * (std::sin(x[0]) + std::sin(x[1])); };
    CHECK(gradcheck(loss, {grad_block("x", x, dx)}));
    dx[1] *= 1 + 1e-6;
    CHECK(gradcheck(loss, {grad_block("x", x, dx)}).failed == 1);
  }
  CHECK(check_scalar([](double x) { return x * x; }, 1e10, 2e10));
  CHECK(check_scalar([](double x) { return x * x + x; }, 1e-10, 1 + 2e-10));
  // A step of five units in the last place: the distance that is stored is what counts.
  CHECK(check_scalar([](double x) { return x; }, 1e10, 1, {.step = 1e-5}).entries[0].error < 1e-15);
}

TEST_CASE("gradcheck: LSTM by hand, every entry decided, at T = 1, 20, 50, 300" *
          doctest::test_suite("gradients")) {
  for (const std::size_t steps : {1u, 20u, 50u, 300u}) {
    LstmByHand lstm({.T = steps, .B = 1, .I = 3, .H = 4, .initial = false});
    Inputs<double>&w = lstm.data.in, &dw = lstm.gradients;
    const GradcheckReport report =
        gradcheck([&] { return lstm.loss(); }, {grad_block("weight_ih", w[W_IH], dw[W_IH], {16, 3}),
                                                grad_block("weight_hh", w[W_HH], dw[W_HH], {16, 4}),
                                                grad_block("bias", w[B_IH], dw[B_IH])});
    MESSAGE("T = ", steps, ": ", report);
    CHECK(report);
    CHECK(report.checked == 128);
    CHECK(report.inconclusive == 0);
    CHECK(report.evaluations == 3 + 7 * 3 + 6 * 128);  // the noise is measured in each block
    // T = 1 with h0 = c0 = 0 leaves weight_hh and the forget gate without effect.
    CHECK(report.unexercised == (steps == 1 ? 80 : 0));
    for (const GradEntry& e : report.entries) CHECK(e.error < 1e-12);
  }
}

TEST_CASE("gradcheck: what cannot be decided is inconclusive, what is clearly wrong fails" *
          doctest::test_suite("gradients")) {
  // White noise that depends on the values only.
  Vector x = wave(40, 1.3, 1.0), dx(40, 0.5);
  const auto hash = [&] {
    std::uint64_t z = 0;
    for (const double v : x) z = (z ^ std::bit_cast<std::uint64_t>(v)) * 0x9e3779b97f4a7c15u;
    return static_cast<double>((z ^ (z >> 29)) * 0xbf58476d1ce4e5b9u >> 11) * 0x1p-53;
  };
  CHECK(gradcheck(hash, {grad_block("x", x, dx)}).verdict == Verdict::inconclusive);
  dx[7] = 1e7;
  CHECK(gradcheck(hash, {grad_block("x", x, dx)}).failed == 1);

  // float32 inside: the noise is measured, right gradients are not failed, gross bugs are.
  Vector w = wave(40, 0.3, 1.0), dw(40);
  for (std::size_t i = 0; i < 40; ++i) dw[i] = std::cos(w[i]);
  const auto single = [&] {
    float sum = 100;
    for (const double v : w) sum += std::sin(static_cast<float>(v));
    return static_cast<double>(sum);
  };
  const GradcheckReport measured = gradcheck(single, {grad_block("w", w, dw)});
  CHECK(measured);  // with the step that fits this noise
  CHECK(measured.noise > 1e-6);
  CHECK(measured.entries[0].step > 0.01);
  CHECK(gradcheck(single, {grad_block("w", w, dw)}, {.inconclusive_at = 1e-5}).verdict ==
        Verdict::inconclusive);
  dw[3] = -dw[3];
  check_failed(gradcheck(single, {grad_block("w", w, dw)}), "w", 1);  // beyond even a wide bound

  // Cancellation, a kink inside the stencil, the edge of the domain.
  const auto cancel = [](double v) { return (1e12 + std::sin(v)) - 1e12; };
  CHECK(check_scalar(cancel, 0.3, std::cos(0.3)).verdict == Verdict::inconclusive);
  const auto magnitude = [](double v) { return std::abs(v); };
  CHECK(check_scalar(magnitude, 1e-3, 1, {.step = 1e-3}).verdict == Verdict::inconclusive);
  CHECK(check_scalar(magnitude, 0.01, 1).verdict == Verdict::pass);  // with a smaller step
  Vector k = {0.4, 1e-3, 0.6}, dk = {2 * 0.4, 1, 2 * 0.6};  // one kink among smooth entries
  const auto kink = [&] { return k[0] * k[0] + std::abs(k[1]) + k[2] * k[2]; };
  CHECK(gradcheck(kink, {grad_block("k", k, dk)}));
  k[1] = 0;  // at the kink any slope in [-1, 1] is one
  for (const double slope : {-1.0, 0.3, 1.0}) {
    dk[1] = slope;
    const GradcheckReport report = gradcheck(kink, {grad_block("k", k, dk)});
    CHECK(report);
    CHECK(report.kinks == 1);
    CHECK(report.entries[0].index == 1);
    CHECK(report.entries[0].left == doctest::Approx(-1));
    CHECK(report.entries[0].right == doctest::Approx(1));
  }
  dk[1] = 1.001;
  check_failed(gradcheck(kink, {grad_block("k", k, dk)}), "k", 1);
  const auto log = [](double v) { return std::log(v); };
  CHECK(check_scalar(log, 1e-3, 1e3, {.step = 1e-3}).verdict == Verdict::inconclusive);
  CHECK(check_scalar(log, 1e-3, 1e3).verdict == Verdict::pass);
}

TEST_CASE("gradcheck restores the values bit for bit, also when the loss throws" *
          doctest::test_suite("gradients")) {
  Vector x = {0.1, -0.0, 1e-300, -7e17, 5e-324}, dx(5, 1.0);
  const Vector before = x;
  const auto same = [&] { return std::memcmp(x.data(), before.data(), 5 * sizeof(double)) == 0; };
  const auto sum = [&] { return x[0] + x[1] + x[2] + x[3] + x[4]; };
  gradcheck(sum, {grad_block("x", x, dx)});
  CHECK(same());
  for (int stop = 1; stop <= 33; ++stop) {
    int calls = 0;
    const auto throws = [&] { return ++calls == stop ? throw std::runtime_error("mine") : sum(); };
    CHECK_THROWS_WITH_AS(gradcheck(throws, {grad_block("x", x, dx)}), "mine", std::runtime_error);
    CHECK(same());
  }
}

TEST_CASE("gradcheck: reasons, the whole text" * doctest::test_suite("gradients")) {
  Vector x = {1, 2, 3, 4}, dx = {2, 4, 6, 8};
  const auto squares = [&] { return x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + x[3] * x[3]; };
  const std::function<double()> none;
  const auto reason = [](const GradcheckReport& r) {
    CHECK(r.verdict == Verdict::fail);
    CHECK(r.text() == "gradcheck: FAIL " + r.reason);
    return r.reason;
  };
  const GradBlock good = grad_block("w", x, dx, {2, 2});
  CHECK(gradcheck(squares, {good}));
  CHECK(reason(gradcheck(none, {good})) == "no loss was given: it must be callable");
  CHECK(reason(gradcheck(squares, {})) == "no blocks were given: name at least one block to check");
  CHECK(reason(gradcheck(squares, {grad_block("e", Vector(), Vector())})) ==
        "every block is empty: there is nothing to check");
  CHECK(
      reason(gradcheck(squares, {grad_block("w", static_cast<double*>(nullptr), dx.data(), 4)})) ==
      "block w: its values pointer is null: it must point at the entries");
  CHECK(reason(gradcheck(squares, {grad_block("w", x.data(), static_cast<double*>(nullptr), 1)})) ==
        "block w: its gradient pointer is null: it must point at the entries");
  CHECK(reason(gradcheck(squares, {grad_block("tail", &x[3], &dx[3], 1), good})) ==
        "blocks w and tail overlap in memory: a value must belong to one block only; give a "
        "shared weight once, with its summed gradient");
  CHECK(reason(gradcheck(squares, {good}, {.step = -1})) ==
        "option step is -1: it must be finite and not negative");
  CHECK(reason(gradcheck(squares, {good}, {.rtol = not_a_number})) ==
        "option rtol is nan: it must be finite and not negative");
  CHECK(reason(gradcheck([] { return not_a_number; }, {good})) ==
        "the loss is nan: it must be finite at the given values");
  double calls = 0;
  CHECK(reason(gradcheck([&] { return calls++; }, {good})) ==
        "the loss is not deterministic: two calls at the same values gave 0 and 1; dropout? "
        "set the seed of all random draws in `reseed`; or it keeps state between calls");
  dx[2] = not_a_number;
  CHECK(reason(gradcheck(squares, {good})) ==
        "the analytic gradient of w[1, 0] is nan: it must be finite");
  x[1] = not_a_number;
  CHECK(reason(gradcheck(squares, {good})) == "the value of w[0, 1] is nan: it must be finite");

  double v = 1, dv = 1, highest = 1;  // a loss that remembers the largest value it has seen
  const GradBlock stateful = grad_block("v", &v, &dv, 1);
  const std::string kept =
      gradcheck([&] { return highest = std::max(highest, v); }, {stateful}).reason;
  CHECK(kept.starts_with("the loss changed from 1 to 1."));
  CHECK(
      kept.ends_with(" although every value was restored: it keeps state between calls; reset "
                     "that state inside the loss"));
}

TEST_CASE(
    "grad_block: sizes must agree, and float arrays, spans and get/set pairs are blocks too") {
  Vector four(4), three(3);
  const auto reason = [](const GradBlock& b) { return gradcheck([] { return 0.0; }, {b}).reason; };
  CHECK(reason(grad_block("w", four, three)) ==
        "block w has 4 values but 3 gradient entries: they must agree");
  CHECK(reason(grad_block("w", four, four, {3, 2})) ==
        "block w has 4 values but shape (3, 2) = 6 entries: they must agree");
  CHECK(reason(grad_block("w", four, four, {SIZE_MAX, 2, 2})).starts_with("block w has 4 values"));
  CHECK(reason(GradBlock{"w", {4}, {}, {}, {}}) ==
        "block w lacks get, set or gradient: make it with grad_block()");
  CHECK(gradcheck([&] { return four[0]; },
                  {grad_block("w", four, four), grad_block("w", three, three)})
            .reason == "two blocks are called w: each needs a name of its own");

  std::vector<float> x = {0.5f, -1.25f}, dx = {1.0f, -2.5f};
  const auto squares = [&] {
    return static_cast<double>(x[0]) * x[0] + static_cast<double>(x[1]) * x[1];
  };
  CHECK(gradcheck(squares, {grad_block("x", x, dx)}));
  const std::vector<float> before = x;
  dx[1] = 2.5f;
  CHECK(gradcheck(squares, {grad_block("x", std::span(x), std::span(dx))}).failed == 1);
  CHECK(x == before);

  // Memory that we may not touch: a device, another process.
  Vector far = {2, 3};
  std::size_t calls = 0;
  GradBlock remote{"far",
                   {2},
                   [&](std::size_t i) { return ++calls, far[i]; },
                   [&](std::size_t i, double v) { far[i] = v; },
                   [&](std::size_t i) { return 2 * far[i]; }};
  CHECK(gradcheck([&] { return far[0] * far[0] + far[1] * far[1]; }, {remote}));
  CHECK(calls > 0);
  CHECK(far == Vector{2, 3});
}

TEST_CASE("gradcheck counts and names what was not exercised" * doctest::test_suite("gradients")) {
  Vector x = {1, 2}, dx = {2, 0}, u(3, 0.5), du(3);
  const auto loss = [&] { return x[0] * x[0]; };
  const auto check = [&](GradcheckOptions o) {
    return gradcheck(loss, {grad_block("x", x, dx), grad_block("u", u, du)}, o);
  };
  const GradcheckReport report = check({});
  CHECK(report);
  CHECK(report.unexercised == 4);
  CHECK(report.blocks[1].unexercised == 3);
  CHECK(report.text().ends_with(
      "\n  x: 1 of 2 entries not exercised, zero both ways (T = 1, a zero state, an unused input?)"
      "\n  u: 3 of 3 entries not exercised, zero both ways (T = 1, a zero state, an unused "
      "input?)"));
  const GradcheckReport strict = check({.strict = true});
  CHECK(strict.verdict == Verdict::fail);
  CHECK(strict.reason == "entries were not exercised, and `strict` is set");
  du[1] = 1e-3;  // a gradient claimed where there is none
  check_failed(check({}), "u", 1);
}

TEST_CASE(
    "gradcheck: beyond the budget blocks are sampled: largest, first, last, smallest, random" *
    doctest::test_suite("gradients")) {
  Vector x = wave(10000, 0.37, 1.0), dx(10000);
  for (std::size_t i = 0; i < x.size(); ++i) dx[i] = 2 * x[i];
  x[417] = 25, dx[417] = 50;       // the largest
  x[611] = 5e-10, dx[611] = 1e-9;  // the smallest
  const auto loss = [&] {
    double sum = 0;
    for (const double v : x) sum += v * v;
    return sum;
  };
  const auto chosen = [&](std::size_t entries, std::uint64_t seed) {
    std::set<std::size_t> indices;
    const GradcheckReport r =
        gradcheck(loss, {grad_block("x", x, dx)},
                  {.budget = 1000, .entries = entries, .directions = 0, .seed = seed});
    CHECK(r);
    for (const GradEntry& e : r.entries) indices.insert(e.index);
    CHECK(r.checked == indices.size());
    CHECK(r.evaluations == 3 + 7 + 6 * indices.size());
    return indices;
  };
  using Set = std::set<std::size_t>;
  CHECK(chosen(1, 0) == Set{417});
  CHECK(chosen(3, 0) == Set{0, 417, 9999});
  CHECK(chosen(4, 0) == Set{0, 417, 611, 9999});
  CHECK(chosen(12, 0).size() == 12);
  CHECK(chosen(12, 0) == chosen(12, 0));
  CHECK(chosen(12, 0) != chosen(12, 1));
}

TEST_CASE("gradcheck: a failing direction is followed to the entry that is wrong" *
          doctest::test_suite("gradients")) {
  Vector x = wave(10000, 0.37, 1.0), dx(10000);
  for (std::size_t i = 0; i < x.size(); ++i) dx[i] = 2 * x[i];
  dx[7123] += 0.05;
  const auto loss = [&] {
    double sum = 0;
    for (const double v : x) sum += v * v;
    return sum;
  };
  const GradcheckReport r = gradcheck(loss, {grad_block("x", x, dx, {100, 100})}, {.seed = 3});
  INFO(r);
  CHECK(r.verdict == Verdict::fail);
  CHECK(r.blocks[0].directions == 8);
  CHECK(r.blocks[0].missed < 1e-20);
  const auto found = std::ranges::find_if(
      r.entries, [](const GradEntry& e) { return !e.direction && e.verdict == Verdict::fail; });
  REQUIRE(found != r.entries.end());
  CHECK(r.entry_name(*found) == "x[71, 23]");
  CHECK(x == wave(10000, 0.37, 1.0));
}

TEST_CASE("gradcheck: text of the report" * doctest::test_suite("gradients")) {
  Vector w = {1, 2, 3, 4}, dw = {2, 4, 7, 8}, b = {0};
  const Vector db = {0};
  const auto loss = [&] { return w[0] * w[0] + w[1] * w[1] + w[2] * w[2] + w[3] * w[3]; };
  const auto check = [&] {
    return gradcheck(loss, {grad_block("w", w, dw, {2, 2}), grad_block("b", b, db)}, {.seed = 9});
  };
  GradBlock block{"w", {2, 3, 4}, {}, {}, {}};
  CHECK(block.entry_name(18) == "w[1, 1, 2]");
  block.column_major = true;
  CHECK(block.entry_name(18) == "w[0, 0, 3]");
  CHECK(GradBlock{"w", {}, {}, {}, {}}.entry_name(0) == "w");
  block = {"w", {8, 3}, {}, {}, {}, {"i", "f", "g", "o"}};
  CHECK(block.entry_name(10) == "w[gate f, row 1, col 1]");
  std::ostringstream out;
  out << check();
  CHECK(out.str() ==
        "gradcheck: FAIL 5 entries of 2 blocks: 1 failed, 0 inconclusive, 1 not exercised; "
        "95 evaluations, seed 9\n"
        "  w (2, 2): 1 failed, 0 inconclusive of 4 entries\n"
        "    part: wrong in w[1, 0] only\n"
        "  b (1): 0 failed, 0 inconclusive, 1 not exercised of 1 entry\n"
        "  w[1, 0] FAIL: numeric 6 ± 3.1e-13, analytic 7, error 1.0e+00, h 0.25\n"
        "    loss at x - 3h, x - 2h, x - h: 26.0625, 27.25, 28.5625\n"
        "    loss at x + h, x + 2h, x + 3h: 31.5625, 33.25, 35.0625\n"
        "  reproduce: {.seed = 9, .only_block = \"w\", .only_entry = 2}");
  dw[2] = 6;
  CHECK(check().text() ==
        "gradcheck: PASS 5 entries of 2 blocks, worst error 0.0e+00 (bound 1.7e-11) in w[0, 0]; "
        "47 evaluations\n  b: 1 of 1 entry not exercised, zero both ways (T = 1, a zero state, an "
        "unused input?)");
}

TEST_CASE("gradcheck: what is added to every entry is named" * doctest::test_suite("gradients")) {
  Vector w = {0.3, -0.5, 0.8, 1.1, -1.3};
  const auto loss = [&] {
    double sum = 0;
    for (const double v : w) sum += v * v * v;
    return sum;
  };
  const auto diagnosis = [&](double constant, double decay) {
    Vector dw;
    for (const double v : w) dw.push_back(3 * v * v + constant + decay * v);
    return gradcheck(loss, {grad_block("w", w, dw)}).blocks[0].diagnosis;
  };
  CHECK(diagnosis(0.25, 0) ==
        "value: analytic = numeric + 0.25 in all entries: a constant is added");
  CHECK(diagnosis(0, 0.01) ==
        "value: analytic = numeric + 0.01 x the value itself: weight decay, or a penalty that is "
        "not in the loss");
}

TEST_CASE("gradcheck: a sampled block that fails is looked at in full, kinks too" *
          doctest::test_suite("gradients")) {
  constexpr std::size_t n = 40;
  Vector w = wave(n, 0.7, 1), dw(n);
  w[7] = 0;  // |w| has its kink here, and no sample of two entries meets it
  const auto loss = [&] {
    double sum = 0;
    for (const double v : w) sum += std::abs(v) * (1 + v);
    return sum;
  };
  for (std::size_t i = 0; i < n; ++i) {
    const double sign = w[i] > 0 ? 1 : w[i] < 0 ? -1 : 0;
    dw[i] = 1.01 * sign * (1 + 2 * w[i]);
  }
  const GradcheckReport report =
      gradcheck(loss, {grad_block("w", w, dw)}, {.budget = 0, .entries = 2, .directions = 0});
  CHECK(report.failed >= n - 1);
  CHECK(report.blocks[0].checked >= n);
  CHECK(report.kinks == 1);
}
