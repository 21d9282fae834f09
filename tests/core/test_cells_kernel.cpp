#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>

#include "../../core/pool.h"
#include "../../core/rng.h"
#include "../../core/threads.h"
#include "../oracles/naive_cells.h"
#include "../support/for_targets.h"
#include "../support/is_worse.h"

TEST_SUITE_BEGIN("numerics");

namespace {

using namespace tapegrad;
namespace cells = kernels::cells;
namespace naive = testing::naive;
using cells::Cell;
using naive::Case;
using naive::Numbers;
using testing::is_worse;

constexpr Cell all_cells[] = {Cell::rnn_tanh, Cell::rnn_relu, Cell::gru};

std::string describe(const Case& c) {
  const char* const names[] = {"tanh", "relu", "gru"};
  std::string s = names[static_cast<std::size_t>(c.cell)];
  for (const std::size_t n : {c.T, c.B, c.I, c.H}) s += " " + std::to_string(n);
  for (const std::size_t l : c.lengths) s += " length " + std::to_string(l);
  if (c.reverse) s += " reverse";
  if (c.masked) s += " masked";
  if (c.zoneout) s += " zoneout";
  if (c.gradient_clip > 0) s += " gradient clip";
  return s;
}

naive::Data<double> numbers_for(const Case& c) {
  Rng rng(7, "cells kernel");
  const auto normal = [&](std::size_t n, double deviation) {
    Numbers<double> v(n);  // rounded, so that float problems are the same problems
    for (double& e : v) e = static_cast<double>(static_cast<float>(deviation * rng.normal()));
    return v;
  };
  const std::size_t N = c.offset(c.T), G = c.gates() * c.H, states = c.B * c.H;
  const double scale = 0.7 / std::sqrt(static_cast<double>(c.H));
  naive::Data<double> d;
  d.in = {normal(N * c.I, 1),     normal(states, 0.5), normal(G * c.I, 0.7),
          normal(G * c.H, scale), normal(G, 0.5),      normal(G, 0.5)};
  d.dy = normal(N * c.H, 1), d.dh_last = normal(states, 1);
  d.mask = normal(c.masked ? states : 0, 1), d.zoneout = normal(c.zoneout ? N * c.H : 0, 1);
  for (double& m : d.mask) m = m > -0.3 ? 1.5 : 0;
  for (double& z : d.zoneout) z = z > 0.7 ? 1 : z > -0.3 ? 0 : 0.25;
  return d;
}

/// The kernel on a problem. Results start as NaN, and so does scratch memory.
template <class T>
struct Kernel {
  static constexpr T nan = std::numeric_limits<T>::quiet_NaN();
  Case c;
  Numbers<std::size_t> active;
  std::array<Numbers<T>, naive::inputs> in, grads;
  Numbers<T> mask, zoneout, dy, dh_last;
  Numbers<T> y, h_last, gates, reserve, dgates, dh;
  bool accumulate = false, may_overwrite = true;

  explicit Kernel(const Case& problem) : c(problem), active(problem.active()) {
    const naive::Data<double> d = numbers_for(c);
    const auto cast = [](const Numbers<double>& v) { return Numbers<T>(v.begin(), v.end()); };
    for (std::size_t i = 0; i < naive::inputs; ++i) {
      in[i] = cast(d.in[i]);
      grads[i].assign(in[i].size(), nan);
    }
    mask = cast(d.mask), zoneout = cast(d.zoneout), dy = cast(d.dy), dh_last = cast(d.dh_last);
    y = dh = Numbers<T>(dy.size(), nan), h_last = Numbers<T>(dh_last.size(), nan);
    gates = dgates = Numbers<T>(dy.size() * c.gates(), nan);
    reserve.assign(cells::reserve_size(c.cell, shape()), nan);
  }
  cells::Shape shape() const {
    return {{c.T, c.B, c.lengths.empty() ? nullptr : active.data(), c.reverse}, c.I, c.H};
  }
  static T* of(Numbers<T>& v) { return v.empty() ? nullptr : v.data(); }
  cells::Weights<T> weights() {
    return {of(in[naive::w_ih]), of(in[naive::w_hh]), of(in[naive::b_ih]), of(in[naive::b_hh])};
  }
  cells::Variant<T> variant() { return {of(mask), of(zoneout), static_cast<T>(c.gradient_clip)}; }
  Kernel& forward() {
    pool::poison(true);
    cells::forward<T>(c.cell, {.shape = shape(),
                               .weights = weights(),
                               .variant = variant(),
                               .x = of(in[naive::x]),
                               .h0 = of(in[naive::h0]),
                               .y = of(y),
                               .h_last = of(h_last),
                               .reserve = of(reserve),
                               .gates = of(gates)});
    pool::poison(false);
    return *this;
  }
  Kernel& backward() {
    pool::poison(true);
    cells::backward<T>(c.cell, {.shape = shape(),
                                .weights = weights(),
                                .variant = variant(),
                                .x = of(in[naive::x]),
                                .h0 = of(in[naive::h0]),
                                .y = of(y),
                                .reserve = of(reserve),
                                .may_overwrite_reserve = may_overwrite,
                                .dy = of(dy),
                                .dh_last = of(dh_last),
                                .accumulate = accumulate,
                                .dx = of(grads[naive::x]),
                                .dh0 = of(grads[naive::h0]),
                                .dweight_ih = of(grads[naive::w_ih]),
                                .dweight_hh = of(grads[naive::w_hh]),
                                .dbias_ih = of(grads[naive::b_ih]),
                                .dbias_hh = of(grads[naive::b_hh]),
                                .dgates = of(dgates),
                                .dh = of(dh)});
    pool::poison(false);
    return *this;
  }
};

/// max |a - b| / max |b|; inf where a is NaN.
template <class T>
double deviation(const Numbers<T>& a, const Numbers<double>& b) {
  double difference = a.size() == b.size() ? 0 : HUGE_VAL, scale = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    if (is_worse(d, difference)) difference = d;
    scale = std::max(scale, std::abs(b[i]));
  }
  return difference == 0 ? 0 : difference / scale;
}

template <class T>
bool same_bits(const Numbers<T>& a, const Numbers<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}
template <class T>
bool same_results(const Kernel<T>& a, const Kernel<T>& b) {
  return same_bits(a.y, b.y) && same_bits(a.h_last, b.h_last) &&
         std::equal(a.grads.begin(), a.grads.end(), b.grads.begin(), same_bits<T>);
}

/// The worst deviation from the loops, and where it was.
template <class T>
struct Worst {
  double value = 0;
  std::string where = "nowhere";

  void compare(const Case& c) {
    naive::Gradients g;
    const naive::Results<double> r = naive::run(c, numbers_for(c), &g);
    Kernel<T> k(c);
    k.forward().backward();
    const auto note = [&](const char* name, const Numbers<T>& a, const Numbers<double>& b) {
      if (is_worse(deviation(a, b), value))
        value = deviation(a, b), where = describe(c) + " " + name;
    };
    note("y", k.y, r.y), note("h_last", k.h_last, r.h_last), note("gates", k.gates, r.gates);
    note("dgates", k.dgates, g.dgates), note("dh", k.dh, g.dh);
    for (std::size_t i = 0; i < naive::inputs; ++i) {
      note(naive::input_names[i], k.grads[i], g.in[i]);
    }
  }
};

/// Every variant of a case alone and all together, each full and packed, both ways.
template <class Use>
void for_variants(Case c, const Use& use) {
  for (int variant = 0; variant < 5; ++variant) {
    c.masked = variant == 1 || variant == 4, c.zoneout = variant == 2 || variant == 4;
    c.gradient_clip = variant >= 3 ? 0.2 : 0;
    for (int layout = 0; layout < 6; ++layout) {
      c.reverse = layout % 2 != 0;
      c.lengths = Numbers<std::size_t>(layout < 2 ? 0 : c.B);
      for (std::size_t row = 0; row < c.lengths.size(); ++row) {
        // Each shorter than the one before; then with empty ones, and a last step without rows.
        c.lengths[row] = c.T - c.T * row / (c.B + 1) - (layout < 4 ? 0 : 1);
      }
      use(c);
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("cells kernel: all results, all variants, against plain loops", T, double,
                   float) {
  Worst<T> worst;
  for (const Cell cell : all_cells) {
    for (const Case& sizes : {Case{.T = 1, .B = 1, .I = 1, .H = 2}, Case{.T = 2, .B = 3, .H = 8},
                              Case{.T = 7, .B = 2, .I = 3, .H = 17}, Case{.T = 4, .B = 5, .H = 33},
                              Case{.T = 3, .B = 17, .I = 5, .H = 9}}) {
      Case c = sizes;
      c.cell = cell;
      for_variants(c, [&](const Case& v) { worst.compare(v); });
    }
    worst.compare({.cell = cell, .T = 1500, .B = 3, .I = 1, .H = 2});  // several chunks
  }
  MESSAGE((sizeof(T) * 8), " bits: at most ", worst.value, " of the largest element (", worst.where,
          ")");
  CHECK(worst.value <= (sizeof(T) == 4 ? 5e-6 : 1e-13));
}

TEST_CASE_TEMPLATE("cells kernel: every instruction set", T, double, float) {
  testing::for_targets([](const std::string& target) {
    Worst<T> worst;
    for (const Cell cell : all_cells) {
      for (const std::size_t hidden : {3U, 8U, 21U}) {
        for_variants({.cell = cell, .T = 3, .B = 6, .H = hidden},
                     [&](const Case& v) { worst.compare(v); });
      }
    }
    CHECK_MESSAGE(worst.value <= (sizeof(T) == 4 ? 5e-6 : 1e-13), target, ": ", worst.where);
  });
}

TEST_CASE("cells kernel: gradients against the complex step") {
  double worst = 0;
  for (const Cell cell : all_cells) {
    for_variants({.cell = cell, .T = 4, .B = 3, .I = 2, .H = 3}, [&](Case c) {
      c.gradient_clip = 0;
      const naive::Data<double> d = numbers_for(c);
      Kernel<double> k(c);
      k.forward().backward();
      for (std::size_t i = 0; i < naive::inputs; ++i) {
        Numbers<double> exact(d.in[i].size());
        for (std::size_t n = 0; n < exact.size(); ++n) exact[n] = naive::complex_step(c, d, i, n);
        const double error = deviation(k.grads[i], exact);
        if (is_worse(error, worst)) worst = error;
      }
    });
  }
  MESSAGE("at most ", worst, " of the largest element");
  CHECK(worst <= 1e-13);
}

TEST_CASE_TEMPLATE("cells kernel: what is asked for does not change what is computed", T, double,
                   float) {
  for (const Cell cell : all_cells) {
    for_variants({.cell = cell, .T = 4, .B = 3, .H = 9}, [&](const Case& c) {
      CAPTURE(describe(c));
      Kernel<T> all(c);
      all.forward();
      Kernel<T> inference(c);
      inference.reserve = inference.h_last = {};
      inference.forward();
      CHECK(same_bits(inference.y, all.y));
      CHECK(same_bits(inference.gates, all.gates));
      const Numbers<T> reserve = all.reserve;
      all.may_overwrite = false;
      all.backward();
      CHECK(same_bits(all.reserve, reserve));
      Kernel<T> again = all;  // without exports, in the memory of reserve
      again.may_overwrite = true, again.dgates = again.dh = {};
      again.backward();
      CHECK(same_results(again, all));
      for (std::size_t i = 0; i < naive::inputs; ++i) {  // one gradient at a time
        Kernel<T> one = all;
        one.may_overwrite = true, one.dgates = one.dh = {};
        for (std::size_t other = 0; other < naive::inputs; ++other) {
          if (other != i) one.grads[other] = {};
        }
        one.backward();
        CHECK(same_bits(one.grads[i], all.grads[i]));
      }
      Kernel<T> sum = all;  // gradients are added to what is there
      sum.accumulate = true;
      sum.backward();
      for (std::size_t i = 0; i < naive::inputs; ++i) {
        Numbers<double> twice;
        for (const T g : all.grads[i]) twice.push_back(2 * static_cast<double>(g));
        CHECK(deviation(sum.grads[i], twice) <= (sizeof(T) == 4 ? 1e-6 : 1e-15));
      }
    });
  }
}

TEST_CASE("cells kernel: no first state and no biases are zeros") {
  for (const Cell cell : all_cells) {
    for (const bool reverse : {false, true}) {
      const Case c{.cell = cell, .T = 5, .B = 3, .H = 5, .lengths = {5, 3, 0}, .reverse = reverse};
      Kernel<double> absent(c), zeros(c);
      for (const naive::Input i : {naive::h0, naive::b_ih, naive::b_hh}) {
        absent.in[i] = {};
        std::fill(zeros.in[i].begin(), zeros.in[i].end(), 0);
      }
      CHECK(same_results(absent.forward().backward(), zeros.forward().backward()));
    }
  }
}

TEST_CASE("cells kernel: a zero mask leaves out what is infinite") {
  for (const Cell cell : all_cells) {
    Kernel<double> k({.cell = cell, .T = 1, .B = 1, .H = 4, .masked = true, .zoneout = true});
    k.mask = {0, 1, 1, 1}, k.zoneout = {0, 0, 1, 0};
    k.in[naive::h0][0] = HUGE_VAL;  // behind the mask
    const bool carried = cell == Cell::gru;
    k.forward();
    for (std::size_t j = carried ? 1 : 0; j < 4; ++j) CHECK(std::isfinite(k.y[j]));
    k.in[naive::h0][0] = 1;
    // Unit 2 is kept as it was.
    for (std::size_t g = 0; g < k.c.gates(); ++g) k.in[naive::b_ih][g * 4 + 2] = std::nan("");
    k.forward().backward();
    CHECK(k.y[2] == k.in[naive::h0][2]);
    for (std::size_t g = 0; g < k.c.gates(); ++g) CHECK(k.dgates[g * 4 + 2] == 0);
    CHECK(std::isfinite(k.grads[naive::h0][2]));
  }
}

TEST_CASE("cells kernel: saturated gates keep their slopes") {
  // a = 40: a rounded gate has the slope 0; in truth 4 e^-80 (tanh) and e^-40 (sigmoid).
  Kernel<double> rnn({.cell = Cell::rnn_tanh, .T = 1, .B = 1, .I = 1, .H = 1});
  for (auto* zero : {&rnn.in[naive::x], &rnn.in[naive::h0], &rnn.in[naive::b_hh], &rnn.dh_last}) {
    (*zero)[0] = 0;
  }
  rnn.in[naive::b_ih][0] = 40, rnn.dy[0] = 1;
  rnn.forward().backward();
  CHECK(rnn.dgates[0] / (4 * std::exp(-80.0)) == doctest::Approx(1).epsilon(1e-14));

  Kernel<double> gru({.T = 1, .B = 1, .I = 1, .H = 1});
  gru.in[naive::x][0] = gru.in[naive::w_hh][0] = 0;
  std::fill(gru.in[naive::w_hh].begin(), gru.in[naive::w_hh].end(), 0);
  gru.in[naive::b_hh] = {0, 0, 1}, gru.in[naive::b_ih] = {40, 40, 0};
  gru.in[naive::h0][0] = 2, gru.dy[0] = 1, gru.dh_last[0] = 0;
  gru.forward().backward();
  const double slope = std::exp(-40.0), n = std::tanh(1.0), of_n = 1 - n * n;
  CHECK(gru.dgates[0] / (slope * of_n * slope) == doctest::Approx(1).epsilon(1e-14));
  CHECK(gru.dgates[1] / ((2 - n) * slope) == doctest::Approx(1).epsilon(1e-14));
  CHECK(gru.dgates[2] / (slope * of_n) == doctest::Approx(1).epsilon(1e-14));
}

TEST_CASE("cells kernel: a NaN is passed on, not clipped away or taken for 0") {
  for (const Cell cell : all_cells) {
    for_variants({.cell = cell, .T = 3, .B = 2, .H = 5}, [](const Case& c) {
      if (c.zoneout || c.offset(c.T) == 0) return;
      Kernel<double> k(c);
      k.in[naive::x][0] = std::nan("");
      k.forward().backward();
      CHECK(std::isnan(k.y[0]));
      CHECK(std::isnan(k.grads[naive::w_ih][0]));
      // relu's slope at NaN is 1, as torch's.
      CHECK(std::isnan(k.grads[naive::b_ih][0]) == (c.cell != Cell::rnn_relu));
    });
  }
}

TEST_CASE("cells kernel: the number of threads changes no bit" * doctest::test_suite("threads")) {
  // Large enough for threads: rows are split, also those of packed sequences; then units.
  const Case cases[] = {
      {.T = 40, .B = 40, .I = 8, .H = 64, .masked = true},
      {.T = 40, .B = 17, .I = 8, .H = 96, .lengths = Numbers<std::size_t>(17, 40)},
      {.T = 90, .B = 3, .I = 5, .H = 150},
      {.T = 90, .B = 2, .I = 5, .H = 150, .lengths = {90, 60}, .reverse = true},
      {.T = 9, .B = 12, .I = 5, .H = 530}};
  for (const Cell cell : all_cells) {
    for (Case c : cases) {
      c.cell = cell;
      for (std::size_t row = 0; row < c.lengths.size() && c.B > 2; ++row) c.lengths[row] -= 2 * row;
      CAPTURE(describe(c));
      Kernel<float> alone(c);
      set_threads(1);
      alone.forward().backward();
      for (const std::size_t threads : {2U, 3U}) {
        Kernel<float> shared(c);
        set_threads(threads);
        shared.forward().backward();
        set_threads(1);
        CHECK(same_results(alone, shared));
      }
    }
  }
}

TEST_SUITE_END();
