#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <sstream>
#include <utility>
#include <vector>

#include "../../core/error.h"
#include "../../core/rng.h"

using namespace tapegrad;

namespace {

using Words = std::array<std::uint32_t, 4>;

}  // namespace

// Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds.
TEST_CASE("rng: known answers of Philox4x32-10") {
  CHECK(random_words({0}, 0, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(random_words({0xffffffffffffffff}, 0xffffffff, 0xffffffff, 0xffffffffffffffff) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(random_words({0x299f31d0a4093822}, 0x03707344, 0x13198a2e, 0x85a308d3243f6a88) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// From a second implementation of Philox, FNV-1a and the rules in rng.h, in 30 lines of Python.
TEST_CASE("rng: first numbers, which no version may change") {
  CHECK(RandomKey::of(42, 0, "").bits == 0x4c4abea04c0a5678);
  const RandomKey site = RandomKey::of(7, 3, "lstm.0.dropout");
  CHECK(site.bits == 0xe36406c6965716c4);
  CHECK(random_words(site, 5, 6, 7) == Words{0xc5da52f6, 0xde771c48, 0x7572e028, 0x72fad890});

  Rng bits(42);
  for (const std::uint32_t word : {0x23fa4c9bU, 0x9967c48eU, 0x2df5429bU, 0x6ccec5f2U, 0x3104caadU,
                                   0x77758c5bU, 0x5f628a99U, 0x30603ad8U}) {
    CHECK(bits.next() == word);
  }
  Rng uniform(42);
  for (const double u : {0.14053801148563339, 0.17952362019591106, 0.19147936602411708}) {
    CHECK(uniform.uniform() == u);
  }
  Rng normal(42);
  for (const double z : {0.23582186504656402, -0.45401838583725257, -0.7944669974498935}) {
    CHECK(normal.normal() == doctest::Approx(z).epsilon(1e-15));  // log and cos are libm's
  }
  Rng below(42);
  for (const std::uint64_t n : {0U, 4U, 5U, 2U, 0U, 9U, 1U, 1U}) CHECK(below.below(10) == n);
}

TEST_CASE("rng: a seed repeats, streams and seeds differ") {
  Rng a(1), again(1), other_seed(2), named(1, "shuffle"), other_name(1, "init");
  std::set<std::uint32_t> firsts;
  for (int i = 0; i < 100; ++i) {
    const std::uint32_t word = a.next();
    CHECK(word == again.next());
    firsts.insert({word, other_seed.next(), named.next(), other_name.next()});
  }
  CHECK(firsts.size() == 400);  // two equal words among 400: 2e-5
}

TEST_CASE("rng: a key depends on seed, pass and site, in all their bits") {
  std::set<std::uint64_t> keys;
  for (const std::uint64_t seed : {0ULL, 1ULL, 1ULL << 32, 1ULL << 63}) {
    for (const std::uint64_t pass : {0ULL, 1ULL, 1ULL << 32, 1ULL << 63}) {
      for (const char* site : {"", "a", "b", "ab", "ba"}) {
        keys.insert(RandomKey::of(seed, pass, site).bits);
      }
    }
  }
  CHECK(keys.size() == 4 * 4 * 5);
}

TEST_CASE("rng: words depend on t, row and block, in all their bits") {
  std::set<Words> seen;
  for (const std::uint32_t t : {0U, 1U, 1U << 31}) {
    for (const std::uint32_t row : {0U, 1U, 1U << 31}) {
      for (const std::uint64_t block : {0ULL, 1ULL, 1ULL << 32, 1ULL << 63}) {
        seen.insert(random_words({5}, t, row, block));
      }
    }
  }
  CHECK(seen.size() == 3 * 3 * 4);
}

TEST_CASE("rng: streams do not correlate") {
  constexpr int n = 100000;
  Rng a(1, "a"), b(1, "b");
  double product = 0;
  for (int i = 0; i < n; ++i) product += (a.uniform() - 0.5) * (b.uniform() - 0.5);
  CHECK(std::abs(12 * product / n) < 4.5 / std::sqrt(n));
}

TEST_CASE("rng: moments of uniform numbers") {
  constexpr int n = 400000;
  Rng rng(3);
  double sum = 0, squares = 0, lag = 0, previous = 0, least = 1, most = 0;
  for (int i = 0; i < n; ++i) {
    const double u = rng.uniform();
    least = std::min(least, u);
    most = std::max(most, u);
    sum += u;
    squares += (u - 0.5) * (u - 0.5);
    lag += (u - 0.5) * previous;
    previous = u - 0.5;
  }
  const double bound = 4.5 / std::sqrt(n);  // 4.5 standard errors
  CHECK(least >= 0);
  CHECK(least < 1e-4);
  CHECK(most < 1);
  CHECK(most > 1 - 1e-4);
  CHECK(std::abs(sum / n - 0.5) < bound * std::sqrt(1.0 / 12));
  CHECK(std::abs(squares / n - 1.0 / 12) < bound * std::sqrt(1.0 / 180));
  CHECK(std::abs(12 * lag / n) < bound);
}

TEST_CASE("rng: moments and tails of normal numbers") {
  constexpr int n = 400000;
  Rng rng(4);
  std::array<double, 5> moments{};
  int beyond_two = 0;
  for (int i = 0; i < n; ++i) {
    const double z = rng.normal();
    double power = 1;
    for (double& m : moments) {
      m += power / n;
      power *= z;
    }
    if (std::abs(z) > 2) ++beyond_two;
  }
  const double bound = 4.5 / std::sqrt(n);
  CHECK(std::abs(moments[1]) < bound);
  CHECK(std::abs(moments[2] - 1) < bound * std::sqrt(2.0));
  CHECK(std::abs(moments[3]) < bound * std::sqrt(15.0));
  CHECK(std::abs(moments[4] - 3) < bound * std::sqrt(96.0));
  CHECK(std::abs(beyond_two / double{n} - 0.0455003) < bound * std::sqrt(0.0455));
}

TEST_CASE("rng: below is even over its range, and without bias where 2^64 mod n is large") {
  Rng rng(5);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts[rng.below(7)];
  double chi_squared = 0;
  for (const int count : counts) chi_squared += (count - 10000.0) * (count - 10000.0) / 10000;
  CHECK(chi_squared < 27.9);  // 6 degrees of freedom, 1e-4

  // n = 3 * 2^62: taking 64 bits mod n without rejection hits the first third with 1/2, not 1/3.
  constexpr std::uint64_t n = 3ULL << 62;
  int first_third = 0;
  for (int i = 0; i < 30000; ++i) {
    const std::uint64_t x = rng.below(n);
    REQUIRE(x < n);
    if (x < n / 3) ++first_third;
  }
  CHECK(std::abs(first_third - 10000) < 4.5 * std::sqrt(30000 * 2.0 / 9));
  for (int i = 0; i < 100; ++i) CHECK(rng.below(1) == 0);
  CHECK_THROWS_WITH_AS(rng.below(0), "[below] below(0): there is no number below 0", UsageError);
}

TEST_CASE("rng: tensors are the numbers one by one, row-major, in both real dtypes") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    Rng rng(6), one(6);
    const Tensor uniform = rng.uniform({3, 5}, -20, 30, dtype);
    const Tensor normal = rng.normal({2, 2}, 1, 10, dtype);
    for (std::size_t i = 0; i < 15; ++i) {
      CHECK(uniform.at(i) == Tensor::scalar(one.uniform(-20, 30), DType::float64).to(dtype).item());
    }
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(normal.at(i) == Tensor::scalar(1 + 10 * one.normal(), DType::float64).to(dtype).item());
    }
  }
  Rng rng(7);
  CHECK(rng.uniform({0, 3}, 0, 1).numel() == 0);
  CHECK(rng.uniform({}, 2, 2).item() == 2);
  const char* refused =
      "[Rng] the dtype is int32: it must be float32 or float64; integers are below(n)";
  CHECK_THROWS_WITH_AS(rng.uniform({2}, 0, 9, DType::int32), refused, DtypeError);
  CHECK_THROWS_WITH_AS(rng.normal({2}, 0, 9, DType::int32), refused, DtypeError);
}

TEST_CASE("rng: a float32 tensor stays below the upper end, which rounding would reach") {
  constexpr std::size_t draw = 619313;  // of seed 53: above 1 - 2^-25
  Rng one(53), rng(53);
  double last = 0;
  for (std::size_t i = 0; i <= draw; ++i) last = one.uniform();
  REQUIRE(static_cast<float>(last) == 1.0F);
  CHECK(rng.uniform({draw + 1}, 0, 1).at(draw) == 1 - 0x1p-24);
}

TEST_CASE("rng: a number stays below the upper end, which rounding would reach") {
  Rng rng(8);
  double most = 0;
  for (int i = 0; i < 1000; ++i) most = std::max(most, rng.uniform(1e15, 1e15 + 1));
  CHECK(most == 1e15 + 0.875);  // doubles are 1/8 apart there
}

TEST_CASE("rng: uniform numbers lie inside of their interval, however wide or narrow") {
  constexpr double most = std::numeric_limits<double>::max();
  Rng rng(5);
  bool negative = false, positive = false;
  for (int i = 0; i < 200; ++i) {
    const double v = rng.uniform(-1e308, 1e308);
    REQUIRE(std::abs(v) < 1e308);
    negative = negative || v < -5e307;
    positive = positive || v > 5e307;
    REQUIRE(std::isfinite(rng.uniform(-most, most)));
    REQUIRE(rng.uniform(1, std::nextafter(1, 2)) == 1);
  }
  CHECK(negative);
  CHECK(positive);
  const double low = 0.1, high = 0.1000001;  // few float32 lie between, and 0.1 is none
  const Tensor narrow = rng.uniform({1000}, low, high);
  for (const float v : narrow.values<float>()) {
    REQUIRE(double{v} >= low);
    REQUIRE(double{v} < high);
  }
  const Tensor wide = rng.uniform({100}, -3e38, 3e38);
  for (const float v : wide.values<float>()) REQUIRE(std::abs(double{v}) <= 3e38);
}

TEST_CASE("rng: intervals without numbers and deviations that are none are refused") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  Rng rng(5);
  const double first = Rng(5).uniform();
  for (const auto& [low, high] : std::vector<std::pair<double, double>>{
           {1, 0}, {0, inf}, {-inf, 0}, {nan, 1}, {0, nan}, {inf, inf}, {nan, nan}}) {
    CHECK_THROWS_AS(rng.uniform(low, high), UsageError);
    CHECK_THROWS_AS(rng.uniform({2}, low, high), UsageError);
    CHECK_THROWS_AS(rng.uniform({0}, low, high, DType::float64), UsageError);
  }
  CHECK_THROWS_WITH_AS(rng.uniform(1, 0),
                       "[uniform] low is 1 but high is 0: both must be finite, low not above "
                       "high, and a float64 between them",
                       UsageError);
  CHECK_THROWS_AS(rng.uniform({2}, -1e308, 1e308), UsageError);         // beyond float32
  CHECK_THROWS_AS(rng.uniform({2}, 1 + 1e-12, 1 + 2e-12), UsageError);  // no float32 between
  for (const double deviation : {-1.0, inf, nan, 1e38}) {
    CHECK_THROWS_AS(rng.normal({2}, 0, deviation), UsageError);
  }
  for (const double mean : {inf, -inf, nan, 1e39}) {
    CHECK_THROWS_AS(rng.normal({2}, mean, 1), UsageError);
  }
  CHECK(rng.uniform() == first);  // what is refused draws nothing
  CHECK(rng.normal({1}, 3, 0).item() == 3);
  CHECK(std::isfinite(rng.normal({1}, 0, 1e307, DType::float64).item()));
}
