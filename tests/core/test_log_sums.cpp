// Covers core/simd/log_sums: sums of exponentials that would overflow or vanish, impossible terms, NaN.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "../../core/simd/log_sums-inl.h"

using namespace tapegrad;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

double in_long_double(double a, double b, double c, double d) {
  const long double terms[] = {a, b, static_cast<long double>(c) + d};
  const long double largest = *std::max_element(terms, terms + 3);
  if (std::isinf(largest)) return static_cast<double>(largest);
  long double sum = 0;
  for (const long double x : terms) sum += std::exp(x - largest);
  return static_cast<double>(largest + std::log(sum));
}

}  // namespace

TEST_CASE("log_sums: equals sums in long double, for any number of them and any sizes of terms") {
  std::mt19937_64 random(1);
  const auto drawn = [&](double scale) {
    std::vector<double> x(35);
    for (double& v : x)
      v = random() % 5 == 0 ? -inf : std::uniform_real_distribution(-scale, scale)(random);
    return x;
  };
  double worst = 0;
  for (const double scale : {1e-3, 1.0, 40.0, 1e4}) {
    for (std::size_t n = 0; n <= 35; ++n) {
      const auto a = drawn(scale), b = drawn(scale), c = drawn(scale), d = drawn(scale);
      std::vector<double> y(36, 7);
      kernels::log_sums(a.data(), b.data(), c.data(), d.data(), y.data(), n);
      CHECK(y[n] == 7);
      for (std::size_t i = 0; i < n; ++i) {
        const double expected = in_long_double(a[i], b[i], c[i], d[i]);
        if (std::isinf(expected)) {
          CHECK(y[i] == expected);
        } else {
          worst = std::max(worst, std::abs(y[i] - expected) / std::max(1.0, std::abs(expected)));
        }
      }
    }
  }
  CHECK(worst < 1e-15);
}

TEST_CASE("log_sums: a NaN stays, wherever it stands") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double other : {-inf, 0.0, 1e300}) {
    for (std::size_t at = 0; at < 4; ++at) {
      double terms[] = {other, other, other, 0};
      terms[at] = nan;
      double y = 0;
      kernels::log_sums(&terms[0], &terms[1], &terms[2], &terms[3], &y, 1);
      CHECK(std::isnan(y));
    }
  }
}
