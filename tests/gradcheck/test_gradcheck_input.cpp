// Covers autograd/gradcheck on what nobody should give it, and on edges of what one may: a clear
// verdict, and the values as they were, bit for bit. (Texts of reasons: test_gradcheck.cpp.)

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <clocale>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/gradcheck.h"

TEST_SUITE_BEGIN("gradients");

using namespace tapegrad;
using Vector = std::vector<double>;

namespace {

const double infinity = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// sum of x^2 with its gradient, and whether x is as it was.
struct Squares {
  Vector x = {0.5, -0.0, 3e-310, -7.25}, dx = {1, 0, 6e-310, -14.5};
  Vector before = x;

  double operator()() const {
    double sum = 0;
    for (const double v : x) sum += v * v;
    return sum;
  }
  GradBlock block() { return grad_block("x", x, dx); }
  bool same() const { return std::memcmp(x.data(), before.data(), x.size() * sizeof(double)) == 0; }
};

}  // namespace

TEST_CASE("gradcheck: a loss that is not finite or throws, from any call on") {
  Squares s;
  const std::size_t calls = gradcheck([&] { return s(); }, {s.block()}).evaluations;
  for (const double bad : {infinity, -infinity, not_a_number}) {
    for (std::size_t from = 0; from < calls; ++from) {  // as long as it lasts
      std::size_t call = 0;
      const GradcheckReport all =
          gradcheck([&] { return call++ >= from ? bad : s(); }, {s.block()});
      CHECK(all.verdict == Verdict::fail);
      CHECK(!all.reason.empty());
      CHECK(s.same());
      call = 0;
      const GradcheckReport one =
          gradcheck([&] { return call++ == from ? bad : s(); }, {s.block()});
      CHECK_MESSAGE(one.failed == 0, one.text());  // the gradient is right
      CHECK(s.same());
    }
  }
  for (std::size_t from = 0; from < calls; ++from) {
    std::size_t call = 0;
    CHECK_THROWS_WITH_AS(
        gradcheck([&] { return call++ >= from ? throw std::runtime_error("mine") : s(); },
                  {s.block()}),
        "mine", std::runtime_error);
    CHECK(s.same());
  }
}

TEST_CASE("gradcheck: a loss of time, of the calls, of a state") {
  Squares s;
  for (const int from : {1, 2, 3, 9, 20, 30}) {  // is another function from some call on
    int call = 0;
    const GradcheckReport r = gradcheck([&] { return ++call > from ? s() + 1 : s(); }, {s.block()});
    INFO(r);
    CHECK(r.verdict == Verdict::fail);
    CHECK(!r.reason.empty());
    CHECK(s.same());
  }
  // `reseed` makes a function of one that draws.
  std::uint64_t state = 7;
  const auto drawn = [&] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return s() + static_cast<double>(state >> 40) * 1e-9;
  };
  CHECK(gradcheck(drawn, {s.block()}).reason.starts_with("the loss is not deterministic"));
  int reseeded = 0;
  const GradcheckReport seeded =
      gradcheck(drawn, {s.block()}, {.reseed = [&] { state = 7, ++reseeded; }});
  CHECK_MESSAGE(seeded, seeded.text());
  CHECK(static_cast<std::size_t>(reseeded) == seeded.evaluations);
}

TEST_CASE("gradcheck: blocks that alias, are empty, or lie at the edge of their domain") {
  Squares s;
  const auto loss = [&] { return s(); };
  const GradBlock left = grad_block("left", s.x.data(), s.dx.data(), 2);
  const GradBlock overlap = grad_block("overlap", s.x.data() + 1, s.dx.data() + 1, 3);
  CHECK(gradcheck(loss, {left, overlap}).reason.find("overlap in memory") != std::string::npos);
  CHECK(gradcheck(loss, {left, grad_block("right", s.x.data() + 2, s.dx.data() + 2, 2)}));
  Vector none;
  const GradcheckReport with_empty = gradcheck(
      loss, {grad_block("none", none, none), s.block(), grad_block("also", none, none, {0, 5})});
  CHECK(with_empty);
  CHECK(with_empty.checked == 4);
  CHECK(with_empty.blocks.size() == 3);

  double v = 2, dv = 3 * 4;
  GradBlock edge = grad_block("v", &v, &dv, 1);
  const auto cube = [&] {
    if (v < edge.low || v > edge.high) throw std::domain_error("outside");
    return v * v * v;
  };
  edge.low = 2;  // the stencil needs both sides
  CHECK(gradcheck(cube, {edge}).verdict == Verdict::inconclusive);
  edge.low = -infinity, edge.high = 2;
  CHECK(gradcheck(cube, {edge}).verdict == Verdict::inconclusive);
  edge.high = 2.001, edge.low = 1.999;
  CHECK(gradcheck(cube, {edge}));
  dv = 12.001;
  CHECK(gradcheck(cube, {edge}).failed == 1);
  edge.low = 2.5;
  CHECK(gradcheck(cube, {edge}).reason.find("must be in its domain") != std::string::npos);
  CHECK(v == 2);
}

TEST_CASE("gradcheck: 10^9 entries behind get and set, of which a few are looked at") {
  constexpr std::size_t size = 1000000000;
  std::size_t moved = size;  // the one entry that is not sin of its index
  double there = 0;
  const auto start = [](std::size_t i) { return std::sin(static_cast<double>(i % 1000)); };
  GradBlock block;
  block.name = "far";
  block.shape = {1000, 1000, 1000};
  block.get = [&](std::size_t i) { return i == moved ? there : start(i); };
  block.set = [&](std::size_t i, double v) { moved = i, there = v; };
  double factor = 2;
  block.gradient = [&](std::size_t i) { return factor * start(i); };
  const auto loss = [&] { return moved == size ? 0 : there * there - start(moved) * start(moved); };
  const GradcheckReport report = gradcheck(loss, {block});
  CHECK_MESSAGE(report, report.text());
  CHECK(report.checked == 16);
  CHECK(report.blocks[0].missed > 0.999);  // and it says so
  CHECK(there == start(moved));
  factor = 2.001;
  CHECK(gradcheck(loss, {block}).failed > 0);
  block.shape = {SIZE_MAX, 3};
  CHECK(gradcheck(loss, {block}).reason ==
        "block far has shape (18446744073709551615, 3) but its product overflows: it must be a "
        "number of entries");
}

TEST_CASE("gradcheck: float blocks at huge values") {
  std::array<float, 4> x = {3e38f, -3e38f, 1e-45f, 16777216}, dx = {1, 1, 1, 1}, before = x;
  const auto loss = [&] {
    return static_cast<double>(x[0]) + static_cast<double>(x[1]) + static_cast<double>(x[2]) +
           static_cast<double>(x[3]);
  };
  const GradcheckReport report = gradcheck(loss, {grad_block("x", x, dx)});
  CHECK_MESSAGE(report.failed == 0, report.text());
  CHECK(std::memcmp(x.data(), before.data(), sizeof x) == 0);
  std::array<float, 1> large = {1e30f}, slope = {2};
  const auto linear = [&] { return 2 * static_cast<double>(large[0]); };
  CHECK(gradcheck(linear, {grad_block("x", large, slope)}));
  slope[0] = 2.001f;
  CHECK(gradcheck(linear, {grad_block("x", large, slope)}).failed == 1);
}

TEST_CASE("gradcheck: a second backward, exactly twice, and one that is right") {
  Squares s;
  const auto loss = [&] { return s(); };
  const auto adds = [&] {
    for (std::size_t i = 0; i < 4; ++i) s.dx[i] += 2 * s.x[i];
  };
  const auto sets = [&] {
    for (std::size_t i = 0; i < 4; ++i) s.dx[i] = 2 * s.x[i];
  };
  CHECK(gradcheck(loss, {s.block()}, {.backward = sets}));
  s.dx.assign(4, 0);
  CHECK(gradcheck(loss, {s.block()}, {.backward = adds})
            .reason.ends_with(
                "exactly twice, so it adds to what is there; set the gradients to zero first"));
  s.dx.assign(4, 1);
  CHECK(gradcheck(loss, {s.block()}, {.backward = adds})
            .reason.ends_with("it is not repeatable, or adds to what is there"));
  // What backward writes is looked at, not what was there before.
  const auto sets_infinity = [&] { sets(), s.dx[2] = infinity; };
  s.dx.assign(4, 0);
  CHECK(gradcheck(loss, {s.block()}, {.backward = sets_infinity}).reason ==
        "the analytic gradient of x[2] is inf: it must be finite");
  s.dx.assign(4, not_a_number);
  CHECK(gradcheck(loss, {s.block()}, {.backward = sets}));
}

TEST_CASE("gradcheck: a step whose loss is not defined takes no fail back") {
  double w = 0.02, dw = 1 / 0.02 + 2;
  const auto log = [&] { return std::log(w); };  // NaN at steps of 0.02 / 3 and more
  CHECK(gradcheck(log, {grad_block("w", &w, &dw, 1)}).verdict == Verdict::fail);
  dw -= 2;
  CHECK(gradcheck(log, {grad_block("w", &w, &dw, 1)}));
}

TEST_CASE("gradcheck: a jump is no kink") {
  double w = 0, dw = 1;
  for (const double height : {1.0, 1e-3, -1e4}) {
    for (const bool right : {true, false}) {  // the value stands on one of the two sides
      const auto jump = [&] { return ((right ? w >= 0 : w > 0) ? height : 0) + std::sin(w); };
      const GradcheckReport report = gradcheck(jump, {grad_block("w", &w, &dw, 1)});
      CHECK_MESSAGE(report.kinks == 0, report.text());
      CHECK_FALSE(report);
    }
  }
  // Rounding looks like slopes that move apart, too, where branches meet smoothly.
  for (double offset = 0.1; offset < 100; offset *= 1.1) {
    w = 0.3, dw = std::cos(0.3);
    const auto smooth = [&] { return offset + std::sin(w) + std::pow(std::max(w - 0.3, 0.0), 2); };
    const auto branch = [&] { return w > 0.3 ? std::uint64_t{1} : std::uint64_t{0}; };
    CHECK(gradcheck(smooth, {grad_block("w", &w, &dw, 1)}, {.branches = branch}));
  }
  w = 0;  // curved sides: still a kink
  for (const double slope : {-1.0, 0.3, 1.0}) {
    dw = slope;
    const auto kink = [&] { return std::abs(std::sin(40 * w)) / 40 + std::abs(w * w * w); };
    CHECK(gradcheck(kink, {grad_block("w", &w, &dw, 1)}).kinks == 1);
  }
}

TEST_CASE("gradcheck: no step leaves the domain, whatever the options") {
  double w = 0.02, dw = 1 / 0.02;
  GradBlock block = grad_block("w", &w, &dw, 1);
  block.low = 0.01;
  block.high = 0.5;
  const auto log = [&] {
    if (w < block.low || w > block.high) throw std::domain_error("outside");
    return std::log(w);
  };
  CHECK(gradcheck(log, {block}, {.step = 1}).entries[0].step <= (w - block.low) / 3);
  CHECK(gradcheck(log, {block}, {.step = 1e-4}).entries[0].step == 1e-4);
  for (const double wrong : {1.0, 1.001, 2.0, -1.0, 0.0}) {
    for (const double room : {0.0, 1e-9, 1e-4, 0.01}) {
      dw = wrong / w, block.low = w - room, block.high = 0.5;
      CHECK_NOTHROW(gradcheck(log, {block}));
      block.low = 0.01, block.high = w + room;
      CHECK_NOTHROW(gradcheck(log, {block}));
    }
  }
  // With noise larger steps are tried, and taken.
  const auto noisy = [&] {
    if (w < block.low || w > block.high) throw std::domain_error("outside");
    return static_cast<double>(static_cast<float>(w));
  };
  for (double error = 1e-6; error < 1e-3; error *= 1.3) {
    w = 0.7, dw = 1 + error, block.low = w - 1, block.high = w + 1;
    CHECK_NOTHROW(gradcheck(noisy, {block}));
  }
}

TEST_CASE("gradcheck: what a report says of edges, noise, kinks and directions, and in colour") {
  double v = 2, dv = 12;
  GradBlock edge = grad_block("v", &v, &dv, 1);
  edge.low = 2;
  const auto cube = [&] { return v * v * v; };
  CHECK(gradcheck(cube, {edge}).text() ==
        "gradcheck: INCONCLUSIVE 1 entry of 1 block: 0 failed, 1 inconclusive; 10 evaluations, "
        "seed 0, noise 1.8e-15\n"
        "  v (1): 0 failed, 1 inconclusive of 1 entry\n"
        "  v[0] INCONCLUSIVE: no room for differences in its domain; move the value inside, or "
        "widen low and high\n"
        "  reproduce: {.seed = 0, .only_block = \"v\", .only_entry = 0}");
  edge.low = 0;
  dv = 11;
  const GradcheckReport fail = gradcheck(cube, {edge});
  CHECK(fail.text(true).starts_with("gradcheck: \033[31mFAIL\033[0m 1 entry"));
  CHECK(fail.text(true).find("v[0] \033[31mFAIL\033[0m: numeric 12") != std::string::npos);
  CHECK(fail.text().find('\033') == std::string::npos);
  CHECK(fail.text().find("noise") == std::string::npos);

  Vector k = {0, 0, 1}, dk = {0.5, 0.3, 1};
  const auto ramps = [&] { return std::max(k[0], 0.0) + std::max(k[1], 0.0) + k[2]; };
  const std::string kinks = gradcheck(ramps, {grad_block("k", k, dk)}).text(true);
  CHECK(kinks.starts_with("gradcheck: \033[32mPASS\033[0m 3 entries"));
  CHECK(kinks.find(", 2 at kinks (first k[0]); ") != std::string::npos);

  // A direction is the worst, and the entry that it led to is the one to look at again.
  Vector x(10000, 0.5), dx(10000, 1);
  const auto squares = [&] {
    double sum = 0;
    for (const double e : x) sum += e * e;
    return sum;
  };
  for (std::size_t i = 1; i < x.size(); i += 2) dx[i] = 1 + 1e-5;
  GradcheckReport sampled = gradcheck(squares, {grad_block("x", x, dx)});
  REQUIRE(sampled.verdict == Verdict::fail);
  const auto direction =
      std::ranges::find_if(sampled.entries, [](const GradEntry& e) { return e.direction; });
  std::rotate(sampled.entries.begin(), direction, direction + 1);  // whichever it was
  const auto entry =
      std::ranges::find_if(sampled.entries, [](const GradEntry& e) { return !e.direction; });
  CHECK(sampled.text().ends_with("\n  reproduce: {.seed = 0, .only_block = \"x\", .only_entry = " +
                                 std::to_string(entry->index) + "}"));
}

TEST_CASE("gradcheck: nothing looked at is no pass") {
  Vector x(10000, 0.5), dx(10000, 1);
  const auto loss = [&] { return x[0] * x[0]; };
  CHECK(gradcheck(loss, {grad_block("x", x, dx)}, {.entries = 0, .directions = 0}).reason ==
        "option entries is 0: it must be at least 1");
}

TEST_CASE("gradcheck: the power counts directions that were decided") {
  Vector x(10000, 0.5), dx(10000, 1);
  std::size_t calls = 0;  // a loss that has no value along most directions
  const auto loss = [&] {
    double sum = 0, moved = 0;
    for (const double v : x) sum += v * v, moved += v != 0.5;
    return moved > 1 && ++calls > 6 * 3 ? not_a_number : sum;
  };
  const GradcheckReport report = gradcheck(loss, {grad_block("x", x, dx)}, {.budget = 100});
  CHECK(report.inconclusive == 5);
  CHECK(report.blocks[0].missed > 0);
  CHECK(report.blocks[0].missed < 1e-9);
  calls = 1000;
  const GradcheckReport none = gradcheck(loss, {grad_block("x", x, dx)}, {.budget = 100});
  CHECK(none.inconclusive == 8);
  CHECK(none.blocks[0].missed == doctest::Approx(1 - 16e-4));
}

TEST_CASE("gradcheck: JSON and text are the same wherever the comma is the decimal point") {
  Squares s;
  const std::string text = gradcheck([&] { return s(); }, {s.block()}).json();
  const std::string before = std::setlocale(LC_NUMERIC, nullptr);
  bool found = false;
  for (const char* name : {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "fr_FR"}) {
    found = found || std::setlocale(LC_NUMERIC, name) != nullptr;
  }
  const std::string abroad = gradcheck([&] { return s(); }, {s.block()}).json();
  std::setlocale(LC_NUMERIC, before.c_str());
  if (!found) MESSAGE("skipped: no locale with a decimal comma is installed");
  CHECK(abroad == text);
  CHECK(gradcheck([] { return -not_a_number; }, {s.block()}).reason.starts_with("the loss is nan"));
}

TEST_CASE("gradcheck: undecided entries can be accepted, failed ones cannot") {
  double x = 0.3, dx = std::cos(0.3), y = 0.5, dy = 1;
  const auto loss = [&] { return (1e12 + std::sin(x)) - 1e12 + 1e12 * y; };
  const std::vector<GradBlock> blocks = {grad_block("x", &x, &dx, 1), grad_block("y", &y, &dy, 1)};
  dy = 1e12;
  CHECK(gradcheck(loss, blocks).verdict == Verdict::inconclusive);
  CHECK(gradcheck(loss, blocks, {.accept_inconclusive = true}).verdict == Verdict::pass);
  dy = 1.01e12;
  CHECK(gradcheck(loss, blocks, {.accept_inconclusive = true}).verdict == Verdict::fail);
}

TEST_CASE("gradcheck: the report as JSON has every entry, and its again leads to one of them") {
  Squares s;
  s.dx[3] = -14;
  double odd = 1;
  const double d_odd = 0.3;
  const auto loss = [&] { return s() + std::abs(odd - 1); };
  const std::vector<GradBlock> blocks = {grad_block("x", s.x, s.dx, {2, 2}),
                                         grad_block("a \"b\"\\\n\x01", &odd, &d_odd, 1)};
  const GradcheckReport report = gradcheck(loss, blocks, {.seed = 1ull << 63});
  const nlohmann::json j = nlohmann::json::parse(report.json());
  CHECK(j["verdict"] == "FAIL");
  CHECK(j["reason"] == "");
  CHECK(j["evaluations"] == report.evaluations);
  CHECK(j["seed"] == 1ull << 63);
  CHECK(j["counts"]["checked"] == 5);
  CHECK(j["counts"]["failed"] == 1);
  CHECK(j["counts"]["kinks"] == 1);
  REQUIRE(j["blocks"].size() == 2);
  CHECK(j["blocks"][1]["name"] == "a \"b\"\\\n\x01");
  CHECK(j["blocks"][0]["shape"] == nlohmann::json({2, 2}));
  CHECK(j["blocks"][0]["size"] == 4);
  CHECK(j["blocks"][0]["scale"] == 14);
  REQUIRE(j["entries"].size() == report.entries.size());
  for (std::size_t i = 0; i < report.entries.size(); ++i) {
    const GradEntry& e = report.entries[i];
    const nlohmann::json& entry = j["entries"][i];
    CHECK(entry["name"] == report.entry_name(e));
    CHECK(entry["verdict"] == to_string(e.verdict));
    CHECK(entry["index"] == e.index);
    CHECK(entry["analytic"] == e.analytic);
    CHECK(entry["numeric"] == e.numeric);
    CHECK(entry["bound"] == e.bound);
    CHECK(entry["loss"] == e.f);
    CHECK(entry.contains("left") == (e.verdict == Verdict::kink));
  }
  CHECK(j["entries"][0]["name"] == "x[1, 1]");
  const GradcheckReport again =
      gradcheck(loss, blocks, {.seed = 1ull << 63, .only_block = "x", .only_entry = 3});
  CHECK(again.checked == 1);
  CHECK(again.entries[0].numeric == doctest::Approx(report.entries[0].numeric));
  CHECK(again.entries[0].verdict == Verdict::fail);
  const nlohmann::json refused = nlohmann::json::parse(gradcheck(loss, {}).json());
  CHECK(refused["reason"] == "no blocks were given: name at least one block to check");
  // Infinity is no JSON.
  double x = 1, dx = 1;
  const auto wild = [&] { return x == 1 ? x : infinity; };
  CHECK(nlohmann::json::parse(
            gradcheck(wild, {grad_block("x", &x, &dx, 1)}).json())["entries"][0]["loss"][0]
            .is_null());
}

TEST_SUITE_END();
