#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "../../core/kernels/gemm.h"
#include "../../core/recurrent/lstm.h"
#include "../../core/recurrent/products-inl.h"
#include "../support/for_targets.h"

TEST_SUITE_BEGIN("numerics");

// Values at which a formula that is right on paper loses everything: tails, masked infinities,
// subnormal options, very long sums.

namespace {

using namespace tapegrad;
using namespace tapegrad::testing;
namespace lstm = kernels::lstm;

/// One step of two rows with one input, weights 0 but for W_hh = `recurrent`; row 1 has ordinary
/// numbers, row 0 those of the test.
template <class T>
struct Step {
  std::size_t H = 1;
  std::vector<T> bias, h0, c0, mask, zoneout_h, zoneout_c, peephole;
  lstm::Variant<T> variant;
  T recurrent = 0, dh_last = 1, dc_last = T{0.5};
  std::vector<T> y, h_last, c_last, dgates, dc, dx, dh0, dc0, dw_hh, dbias, dpeephole;

  void run() {
    const std::size_t B = h0.size() / H;
    const std::vector<T> x(B, 1), w_ih(4 * H, 0), w_hh(4 * H * H, recurrent);
    const std::vector<T> dh(B * H, dh_last), dcl(B * H, dc_last);
    for (auto* v : {&y, &h_last, &c_last, &dh0, &dc0, &dc}) v->assign(B * H, 7);
    dgates.assign(B * 4 * H, 7), dx.assign(B, 7), dw_hh.assign(4 * H * H, 7);
    dbias.assign(4 * H, 7), dpeephole.assign(3 * H, 7);
    const lstm::Shape shape{.sequence = {.steps = 1, .batch = B}, .input = 1, .hidden = H};
    const auto pointer = [](const std::vector<T>& v) { return v.empty() ? nullptr : v.data(); };
    const lstm::Weights<T> weights{.weight_ih = w_ih.data(),
                                   .weight_hh = w_hh.data(),
                                   .bias_ih = bias.data(),
                                   .peephole = pointer(peephole)};
    variant.recurrent_mask = pointer(mask);
    variant.zoneout_h = pointer(zoneout_h), variant.zoneout_c = pointer(zoneout_c);
    std::vector<T> reserve(lstm::reserve_size(shape));
    lstm::forward<T>({.shape = shape,
                      .weights = weights,
                      .variant = variant,
                      .x = x.data(),
                      .h0 = h0.data(),
                      .c0 = c0.data(),
                      .y = y.data(),
                      .h_last = h_last.data(),
                      .c_last = c_last.data(),
                      .reserve = reserve.data()});
    lstm::backward<T>({.shape = shape,
                       .weights = weights,
                       .variant = variant,
                       .x = x.data(),
                       .h0 = h0.data(),
                       .c0 = c0.data(),
                       .y = y.data(),
                       .reserve = reserve.data(),
                       .may_overwrite_reserve = true,
                       .dh_last = dh.data(),
                       .dc_last = dcl.data(),
                       .dx = dx.data(),
                       .dh0 = dh0.data(),
                       .dc0 = dc0.data(),
                       .dweight_hh = dw_hh.data(),
                       .dbias = dbias.data(),
                       .dpeephole = peephole.empty() ? nullptr : dpeephole.data(),
                       .dgates = dgates.data(),
                       .dc = dc.data()});
  }

  bool all_finite() const {
    const auto finite = [](const std::vector<T>& v) {
      return std::all_of(v.begin(), v.end(), [](T a) { return std::isfinite(a); });
    };
    return finite(y) && finite(h_last) && finite(dgates) && finite(dx) && finite(dh0) &&
           finite(dc0) && finite(dw_hh) && finite(dbias) && finite(dpeephole);
  }
};

long double sigmoid(long double x) { return 1 / (1 + std::exp(-x)); }
long double sigmoid_slope(long double x) { return sigmoid(x) * sigmoid(-x); }
long double tanh_slope(long double x) { return 4 * sigmoid_slope(2 * x); }

template <class T>
constexpr T inf = std::numeric_limits<T>::infinity();

}  // namespace

TEST_CASE_TEMPLATE("lstm kernel: slopes of the gates in their tails", T, float, double) {
  const T far = sizeof(T) == 4 ? 40 : 300;  // the slopes are normal numbers there
  for_targets([&](const std::string& target) {
    CAPTURE(target);
    for (const bool with_variant : {false, true}) {
      double worst = 0;
      for (const T a : {static_cast<T>(0.01), T{0.5}, static_cast<T>(0.6), T{1}, T{5}, T{9}, T{12},
                        T{17}, T{19}, T{37}, far}) {
        for (const T sign : {T{1}, T{-1}}) {
          for (std::size_t gate = 0; gate < 5; ++gate) {  // 4: c itself
            Step<T> s;
            s.bias = {static_cast<T>(0.3), static_cast<T>(-0.2), static_cast<T>(0.7),
                      static_cast<T>(0.1)};
            s.h0 = {0}, s.c0 = {static_cast<T>(0.4)};
            if (gate < 4) s.bias[gate] = sign * a;
            if (gate == 4) s.bias[1] = far, s.bias[0] = -far, s.c0 = {sign * a};  // c = c0
            if (with_variant) s.variant.gradient_clip = std::numeric_limits<T>::max();
            s.run();
            const long double i = s.bias[0], f = s.bias[1], g = s.bias[2], o = s.bias[3];
            const long double c0 = s.c0[0], c = sigmoid(f) * c0 + sigmoid(i) * std::tanh(g);
            const long double dc = 0.5L + sigmoid(o) * tanh_slope(c);
            const long double exact[] = {
                dc * std::tanh(g) * sigmoid_slope(i), dc * c0 * sigmoid_slope(f),
                dc * sigmoid(i) * tanh_slope(g), std::tanh(c) * sigmoid_slope(o)};
            for (std::size_t k = 0; k < 4; ++k) {
              const long double d = std::abs(s.dgates[k] - exact[k]) / std::abs(exact[k]);
              worst = std::max(worst, static_cast<double>(d));
            }
            // What reaches c through h alone: the tail of tanh c.
            s.dc_last = 0;
            s.run();
            const long double through_h = sigmoid(o) * tanh_slope(c);
            worst = std::max(worst, static_cast<double>(std::abs(s.dc[0] - through_h) / through_h));
          }
        }
      }
      // c is rounded, by about |c| / 2 units, and e^-2c with it: 40 or 300 units and twenty more.
      const double units = static_cast<double>(2 * far + 20);
      CHECK(worst <= units * static_cast<double>(std::numeric_limits<T>::epsilon()));
    }
  });
}

TEST_CASE_TEMPLATE("lstm kernel: a mask selects, it does not multiply", T, float, double) {
  Step<T> s;
  s.H = 2;
  s.bias.assign(8, static_cast<T>(0.3));
  s.recurrent = T{0.5};
  s.h0 = {inf<T>, static_cast<T>(0.1), static_cast<T>(0.2), static_cast<T>(0.3)},
  s.c0.assign(4, static_cast<T>(0.4));
  SUBCASE("recurrent mask: a state that is left out may be infinite") {
    s.mask = {0, 2, 2, 2};
    s.run();
    CHECK(s.all_finite());
    CHECK(s.dh0[0] == 0);
    CHECK(s.dh0[1] != 0);
  }
  SUBCASE("recurrent mask and zoneout") {
    s.mask = {0, 2, 2, 2};
    s.zoneout_h.assign(4, 0), s.zoneout_c.assign(4, 0);
    s.run();
    CHECK(s.all_finite());
    CHECK(s.dh0[0] == 0);
  }
  SUBCASE("zoneout keeps a unit whose candidate is NaN") {
    s.h0[0] = static_cast<T>(0.7), s.c0[0] = std::numeric_limits<T>::quiet_NaN();
    s.zoneout_h = {1, 0, 0, 1}, s.zoneout_c = {1, 0, 1, 0};
    s.peephole.assign(6, 0);
    s.run();
    CHECK(s.y[0] == static_cast<T>(0.7));
    CHECK(std::isnan(s.c_last[0]));
    CHECK(s.y[3] == static_cast<T>(0.3));
    CHECK(s.all_finite());
    CHECK(s.dc0[0] == T{0.5});
    for (std::size_t gate = 0; gate < 4; ++gate) CHECK(s.dgates[2 * gate] == 0);
  }
  SUBCASE("the clip cuts an infinite cell") {
    s.h0[0] = 0, s.c0[0] = inf<T>;
    s.variant.cell_clip = 3;
    s.run();
    CHECK(s.c_last[0] == 3);
    CHECK(s.all_finite());
    CHECK(s.dc0[0] == 0);
  }
}

TEST_CASE_TEMPLATE("lstm kernel: a subnormal option is 0", T, float, double) {
  constexpr T tiny = std::numeric_limits<T>::denorm_min() * 8;
  const auto ran = [](const auto& change) {
    Step<T> s;
    s.bias = {static_cast<T>(0.3), static_cast<T>(-0.2), static_cast<T>(0.7), static_cast<T>(0.1)},
    s.h0 = {static_cast<T>(0.2)}, s.c0 = {static_cast<T>(0.4)};
    s.recurrent = T{0.5};
    change(s);
    s.run();
    return s;
  };
  const auto same = [](const Step<T>& a, const Step<T>& b) {
    return a.y == b.y && a.c_last == b.c_last && a.dgates == b.dgates && a.dh0 == b.dh0 &&
           a.dc0 == b.dc0 && a.dw_hh == b.dw_hh;
  };
  const Step<T> plain = ran([](Step<T>&) {});
  CHECK(same(ran([](Step<T>& s) { s.variant.cell_clip = tiny; }), plain));  // off
  CHECK(same(ran([](Step<T>& s) { s.variant.gradient_clip = tiny; }), plain));
  for (const auto member : {&Step<T>::mask, &Step<T>::zoneout_h, &Step<T>::zoneout_c}) {
    const Step<T> zero = ran([&](Step<T>& s) { s.*member = {T{0}}; });
    CHECK(same(ran([&](Step<T>& s) { s.*member = {tiny}; }), zero));
  }
}

TEST_CASE_TEMPLATE("sums of a million terms are as exact as short ones", T, float, double) {
  constexpr std::size_t rows = 1'000'000, columns = 3;
  constexpr double sum = rows * static_cast<double>(static_cast<T>(0.1));
  // In float32, runs of 256 terms at most are added one after the other; in float64, perhaps all.
  const double half_units = sizeof(T) == 4 ? 256 : rows;
  const double bound =
      half_units / 2 * static_cast<double>(std::numeric_limits<T>::epsilon()) * sum;
  const std::vector<T> x(rows * columns, static_cast<T>(0.1)), ones(rows * columns, T{1});
  const auto all_near = [&](const std::vector<T>& v, double expected) {
    return std::all_of(v.begin(), v.end(),
                       [&](T a) { return std::abs(static_cast<double>(a) - expected) <= bound; });
  };
  std::vector<T> sums(columns, 5);
  kernels::sum_rows(x.data(), rows, columns, false, sums.data());
  CHECK(all_near(sums, sum));
  kernels::sum_rows(x.data(), rows, columns, true, sums.data());
  CHECK(all_near(sums, 2 * sum));

  const auto product = [&](std::size_t m, std::size_t n, T alpha, T beta) {
    std::vector<T> c(m * n, beta == 0 ? std::numeric_limits<T>::quiet_NaN() : T{1000});
    kernels::gemm<T>(Transpose::yes, Transpose::no, m, n, rows, alpha, x.data(), m, ones.data(), n,
                     beta, c.data(), n);
    return c;
  };
  CHECK(all_near(product(1, 1, 1, 0), sum));
  CHECK(all_near(product(3, 2, 1, 0), sum));
  CHECK(all_near(product(2, 3, T{0.5}, 3), 3000 + 0.5 * sum));
}

TEST_CASE("gemm: a large result of many float32 terms, on any number of threads") {
  constexpr std::size_t m = 72, n = 64, k = 70'000;
  const std::vector<float> a(m * k, 0.1F), b(k * n, 1.0F);
  std::vector<float> one(m * n), two(m * n);
  for (std::vector<float>* c : {&one, &two}) {
    set_threads(c == &one ? 1 : 2);
    kernels::gemm<float>(Transpose::no, Transpose::no, m, n, k, 1, a.data(), k, b.data(), n, 0,
                         c->data(), n);
  }
  set_threads(1);
  CHECK(one == two);
  constexpr double sum = k * static_cast<double>(0.1F);
  for (const float v : one) REQUIRE(std::abs(static_cast<double>(v) - sum) <= 1e-5 * sum);
}

TEST_SUITE_END();
