// Covers core/report/statistics: quantiles, probabilities and intervals as SciPy computes them.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "../../core/report/statistics-inl.h"
#include "../fixtures/forecast_statistics.h"

using namespace tapegrad;
namespace scipy = tapegrad::testing::forecast_statistics;

namespace {

doctest::Approx near(double value) { return doctest::Approx(value).epsilon(1e-9).scale(1e-30); }

std::size_t count_of(double number) { return static_cast<std::size_t>(number); }

}  // namespace

TEST_CASE("forecast statistics: quantiles and probabilities are SciPy's") {
  for (const auto& [p, x] : scipy::normal)
    CHECK(statistics::normal_quantile(p) == doctest::Approx(x).epsilon(1e-12));
  for (const auto& [p, freedom, t] : scipy::student)
    CHECK(statistics::student_quantile(p, count_of(freedom)) == near(t));
  for (const auto& [x, freedom, above] : scipy::chi_squared)
    CHECK(statistics::chi_squared_above(x, count_of(freedom)) == near(above));
}

TEST_CASE(
    "forecast statistics: autocorrelation, and Ljung and Box's statement on it, are SciPy's") {
  const std::vector<double> r = statistics::autocorrelation(scipy::x, 15);
  for (std::size_t k = 0; k < 15; ++k) CHECK(r[k] == near(scipy::autocorrelation[k]));
  const double q = statistics::ljung_box(r, scipy::x.size());
  CHECK(q == near(scipy::ljung_box[0]));
  CHECK(statistics::chi_squared_above(q, 15) == near(scipy::ljung_box[1]));
  CHECK(statistics::autocorrelation(std::vector<double>(9, 0.1), 2) == std::vector<double>{0, 0});
}

TEST_CASE("forecast statistics: a share has Wilson's interval") {
  for (const auto& [inside, n, low, high] : scipy::wilson) {
    const Estimate share = statistics::share(inside / n, n);
    CHECK(share.value == inside / n);
    CHECK(share.low == doctest::Approx(low).epsilon(1e-12));
    CHECK(share.high == doctest::Approx(high).epsilon(1e-12));
  }
}

TEST_CASE(
    "forecast statistics: intervals of means and gains are those that a test does not reject") {
  for (std::size_t k = 0; k < 2; ++k) {
    const statistics::LongRunMeans means(scipy::x.size(), count_of(scipy::mean[k][0]));
    const Estimate mean = means.mean(scipy::x);
    CHECK(mean.value == near(scipy::mean[k][1]));
    CHECK(mean.low == near(scipy::mean[k][2]));
    CHECK(mean.high == near(scipy::mean[k][3]));
    const Skill gain = means.gain(scipy::x, scipy::y);
    CHECK(gain.value == near(scipy::gain[k][1]));
    CHECK(gain.low == near(scipy::gain[k][2]));
    CHECK(gain.high == near(scipy::gain[k][3]));
  }
}

TEST_CASE("forecast statistics: degrees of freedom are bounded by what does not overlap") {
  const auto freedom = [](std::size_t n, std::size_t overlap) {
    return statistics::LongRunMeans(n, overlap).freedom();
  };
  CHECK(freedom(8, 1) == 1);
  CHECK(freedom(60, 1) == 6);
  CHECK(freedom(60, 12) == 5);
  CHECK(freedom(60, 60) == 1);
  CHECK(freedom(60, 61) == 1);
  CHECK(freedom(100000, 1) == 64);
}

TEST_CASE(
    "forecast statistics: gains over nothing, over the same, and over what is not determined") {
  const statistics::LongRunMeans means(8, 1);
  const std::vector<double> none(8, 0), ones(8, 1);
  std::vector<double> once(8, 0);
  once[7] = 1;
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(means.gain(none, none).value == 0);
  CHECK(means.gain(ones, none).value == -inf);
  CHECK(means.gain(ones, ones).value == 0);
  CHECK(means.gain(none, ones).is_shown());
  const auto interval = [&](const std::vector<double>& x, const std::vector<double>& y) {
    const Skill gain = means.gain(x, y);
    CHECK_FALSE(gain.is_shown());
    return std::pair(gain.low, gain.high);
  };
  CHECK(interval(none, none) == std::pair(0.0, 0.0));
  CHECK(interval(none, once) == std::pair(-inf, 1.0));
  CHECK(interval(once, none) == std::pair(-inf, 1.0));
  CHECK(interval(ones, none) == std::pair(-inf, -inf));
  CHECK(interval(ones, once).first == -inf);
  CHECK(interval(ones, once).second == doctest::Approx(0.5704470179788537));  // by SciPy's brentq
  CHECK_FALSE(means.gain(ones, ones).is_shown());
  const std::vector<double> x{1, 2, 1, 3, 1, 2, 1, 1}, y{4, 5, 6, 4, 5, 7, 4, 5};
  for (const double unit : {1e-200, 1e200}) {
    std::vector<double> small = x, large = y;
    for (double& v : small) v *= unit;
    for (double& v : large) v *= unit;
    CHECK(means.gain(small, large).low == doctest::Approx(means.gain(x, y).low).epsilon(1e-12));
    CHECK(means.gain(small, large).high == doctest::Approx(means.gain(x, y).high).epsilon(1e-12));
  }
  CHECK_FALSE(Skill{{0.5, 0.001, 1}}.is_shown());
  CHECK(Skill{{0.5, 0.0011, 1}}.is_shown());
}
