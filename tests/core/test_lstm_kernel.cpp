#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "../../core/threads.h"
#include "../oracles/naive_lstm.h"
#include "../support/for_targets.h"
#include "../support/is_worse.h"
#include "../support/lstm_kernel.h"

TEST_SUITE_BEGIN("numerics");

namespace {

using namespace tapegrad::testing;

/// The worst deviation over many comparisons, and where it was.
struct Worst {
  double value = 0;
  std::string where = "nowhere";
  std::size_t comparisons = 0;

  template <class T>
  void compare(const std::string& name, const Values<T>& a, const Values<double>& ref) {
    const double d = deviation(a, ref);
    ++comparisons;
    if (!is_worse(d, value)) return;
    value = d;
    where = name;
  }
};

/// All results of forward and backward against the loops above.
template <class T>
void compare_with_naive(const NaiveCase& c, Worst& worst) {
  const NaiveData d = numbers_for(c);
  const NaiveForward<double> fwd = naive_forward(c, d, d.in);
  const NaiveGradients bwd = naive_backward(c, d);
  Kernel<T> k(c, d);
  k.forward();
  k.backward();
  const std::string name = describe(c) + " ";
  worst.compare(name + "y", k.y, fwd.y);
  worst.compare(name + "h_last", k.h_last, fwd.h_last);
  worst.compare(name + "c_last", k.c_last, fwd.c_last);
  worst.compare(name + "gates", k.gates, fwd.gates);
  worst.compare(name + "cells", k.cells, fwd.cells);
  worst.compare(name + "dgates", k.dgates, bwd.dgates);
  worst.compare(name + "dh", k.dh, bwd.dh);
  worst.compare(name + "dc", k.dc, bwd.dc);
  for (const Input i : {X, H0, C0, W_IH, W_HH, B_IH, PEEPHOLE}) {
    if (i == PEEPHOLE && !c.peephole) continue;
    worst.compare(name + "d" + input_names[i], k.grads[i], bwd.in[i]);
  }
}

template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 5e-6 : 1e-13;

}  // namespace

TEST_CASE_TEMPLATE("lstm kernel: all results, all options, against plain loops", T, double, float) {
  Worst worst;
  std::size_t cases = 0;
  for (const std::size_t steps : {1U, 2U, 3U, 7U}) {
    for (const std::size_t batch : {1U, 3U}) {
      for (const std::size_t hidden : {1U, 3U, 8U, 17U, 33U}) {
        // A tensor of one element has no larger one to compare a cancelled sum with.
        if (sizeof(T) == 4 && hidden == 1) continue;
        for (NaiveCase set : option_sets()) {
          set.T = steps, set.B = batch, set.H = hidden, set.I = 1 + hidden / 2;
          for (NaiveCase c : layouts(set)) {
            c.loss = static_cast<Loss>(cases % 4);
            c.seed = ++cases;
            compare_with_naive<T>(c, worst);
          }
        }
      }
    }
  }
  for (const std::size_t batch : {17U, 40U}) {  // several blocks of rows
    for (NaiveCase set : option_sets()) {
      set.T = 4, set.B = batch, set.H = 5, set.seed = ++cases;
      for (const NaiveCase& c : layouts(set)) compare_with_naive<T>(c, worst);
    }
  }
  MESSAGE((sizeof(T) * 8) << " bits, " << worst.comparisons << " tensors: at most " << worst.value
                          << " of the largest element (" << worst.where << ")");
  CHECK(worst.value <= tolerance<T>);
}

TEST_CASE_TEMPLATE("lstm kernel: every instruction set", T, double, float) {
  for_targets([](const std::string& target) {
    Worst worst;
    for (const std::size_t hidden : {3U, 8U, 33U}) {
      for (NaiveCase set : option_sets()) {
        set.H = hidden;
        for (const NaiveCase& c : layouts(set)) compare_with_naive<T>(c, worst);
      }
    }
    MESSAGE(target << ", " << (sizeof(T) * 8) << " bits: at most " << worst.value);
    CHECK(worst.value <= tolerance<T>);
  });
}

TEST_CASE("lstm kernel: gradients against the complex step") {
  Worst worst;
  std::size_t cases = 0;
  for (const std::size_t steps : {1U, 3U}) {
    for (const std::size_t batch : {1U, 3U}) {
      for (const std::size_t hidden : {1U, 3U, 8U, 17U, 33U}) {
        for (NaiveCase set : option_sets()) {
          if (hidden > 8 && set.zoneout) continue;
          set.T = steps, set.B = batch, set.H = hidden, set.gradient_clip = 0;
          for (NaiveCase c : layouts(set)) {
            c.loss = static_cast<Loss>(cases % 4);
            c.seed = ++cases;
            const NaiveData d = numbers_for(c);
            Kernel<double> k(c, d);
            k.forward();
            k.backward();
            for (std::size_t i = 0; i < INPUTS; ++i) {
              if (d.in[i].empty() || i == B_HH) continue;
              // All of a small tensor; of a large one about 12, at a stride that meets all gates.
              const std::size_t stride = 1 + d.in[i].size() / 12;
              Values<double> exact, computed;
              for (std::size_t n = cases % stride; n < d.in[i].size(); n += stride) {
                exact.push_back(complex_step(c, {&d, 1}, 0, i, n));
                computed.push_back(k.grads[i][n]);
              }
              worst.compare(describe(c) + " d" + input_names[i], computed, exact);
            }
          }
        }
      }
    }
  }
  MESSAGE(worst.comparisons << " tensors: at most " << worst.value << " of the largest element ("
                            << worst.where << ")");
  CHECK(worst.value <= 1e-12);
}

TEST_CASE_TEMPLATE("lstm kernel: what is asked for does not change what is computed", T, double,
                   float) {
  for (NaiveCase set : option_sets()) {
    set.T = 4, set.B = 3, set.H = 9;
    for (const NaiveCase& c : layouts(set)) {
      CAPTURE(describe(c));
      Kernel<T> all(c);
      all.forward();

      Kernel<T> only_y(c);
      only_y.reserve = only_y.gates = only_y.cells = only_y.h_last = only_y.c_last = {};
      only_y.forward();
      CHECK(same_bits(only_y.y, all.y));

      Kernel<T> inference(c);  // with exports
      inference.reserve = {};
      inference.forward();
      CHECK(same_bits(inference.y, all.y));
      CHECK(same_bits(inference.gates, all.gates));
      CHECK(same_bits(inference.cells, all.cells));
      CHECK(same_bits(inference.h_last, all.h_last));
      CHECK(same_bits(inference.c_last, all.c_last));

      const Values<T> reserve = all.reserve;
      all.backward(false);
      CHECK(same_bits(all.reserve, reserve));

      for (const bool may_overwrite : {false, true}) {  // a second backward, without exports
        Kernel<T> again = all;
        again.dgates = again.dh = again.dc = {};
        for (Values<T>& v : again.grads) std::fill(v.begin(), v.end(), not_a_number<T>);
        again.backward(may_overwrite);
        for (std::size_t i = 0; i < INPUTS; ++i) CHECK(same_bits(again.grads[i], all.grads[i]));
        if (!may_overwrite) CHECK(same_bits(again.reserve, reserve));
      }

      for (std::size_t i = 0; i < INPUTS; ++i) {  // one gradient at a time
        Kernel<T> k = all;
        k.dgates = k.dh = k.dc = {};
        for (std::size_t other = 0; other < INPUTS; ++other) {
          if (other != i) k.grads[other] = {};
        }
        std::fill(k.grads[i].begin(), k.grads[i].end(), not_a_number<T>);
        k.backward();
        CHECK(same_bits(k.grads[i], all.grads[i]));
      }

      Kernel<T> sum = all;  // gradients are added to what is there, exports overwritten
      for (Values<T>& v : sum.grads) std::fill(v.begin(), v.end(), T{0.5});
      sum.backward(true, true);
      CHECK(same_bits(sum.dgates, all.dgates));
      CHECK(same_bits(sum.dh, all.dh));
      CHECK(same_bits(sum.dc, all.dc));
      for (std::size_t i = 0; i < INPUTS; ++i) {
        Values<double> expected;
        for (const T g : all.grads[i]) expected.push_back(0.5 + static_cast<double>(g));
        CHECK(deviation(sum.grads[i], expected) <= tolerance<T>);
      }
    }
  }
}

TEST_CASE_TEMPLATE("lstm kernel: the number of threads changes no bit" *
                       doctest::test_suite("threads"),
                   T, double, float) {
  for (NaiveCase set : option_sets()) {
    set.T = 5, set.B = 40, set.H = 96, set.I = 24;  // large enough for several threads
    for (const NaiveCase& c : layouts(set)) {
      CAPTURE(describe(c));
      const NaiveData d = numbers_for(c);
      std::vector<Kernel<T>> runs;
      for (const std::size_t threads : {1U, 2U}) {
        tapegrad::set_threads(threads);
        runs.emplace_back(c, d).forward();
        runs.back().backward();
      }
      tapegrad::set_threads(1);
      CHECK(same_bits(runs[0].y, runs[1].y));
      CHECK(same_bits(runs[0].h_last, runs[1].h_last));
      CHECK(same_bits(runs[0].c_last, runs[1].c_last));
      for (std::size_t i = 0; i < INPUTS; ++i) {
        CHECK(same_bits(runs[0].grads[i], runs[1].grads[i]));
      }
    }
  }
}

TEST_CASE("lstm kernel: a sequence in two pieces with a carried state") {
  for (NaiveCase set : option_sets()) {
    set.T = 7, set.B = 3, set.H = 5, set.initial = true;
    CAPTURE(describe(set));
    const std::size_t first = 3, rows = first * set.B;
    const NaiveData whole_data = numbers_for(set);
    Kernel<double> whole(set, whole_data);
    whole.forward();
    whole.backward();

    NaiveCase cases[] = {set, set};
    cases[0].T = first, cases[1].T = set.T - first;
    const auto piece = [&](std::size_t p) {
      NaiveData d = whole_data;
      const auto cut = [&](Values<double>& v, std::size_t columns) {
        if (v.empty()) return;
        const auto middle = v.begin() + static_cast<std::ptrdiff_t>(rows * columns);
        v = p == 0 ? Values<double>(v.begin(), middle) : Values<double>(middle, v.end());
      };
      cut(d.in[X], set.I);
      for (auto* v : {&d.dy, &d.zoneout_h, &d.zoneout_c}) cut(*v, set.H);
      return Kernel<double>(cases[p], d);
    };
    Kernel<double> a = piece(0), b = piece(1);
    a.forward();
    b.in[H0] = a.h_last, b.in[C0] = a.c_last;
    b.forward();
    b.backward();
    a.dh_last = b.grads[H0], a.dc_last = b.grads[C0];
    for (const Input i : {W_IH, W_HH, B_IH, PEEPHOLE}) a.grads[i] = b.grads[i];
    for (const Input i : {X, H0, C0}) std::fill(a.grads[i].begin(), a.grads[i].end(), 0);
    a.backward(true, true);

    const auto joined = [](Values<double> u, const Values<double>& v) {
      u.insert(u.end(), v.begin(), v.end());
      return u;
    };
    CHECK(deviation(joined(a.y, b.y), whole.y) <= 1e-14);
    CHECK(deviation(b.h_last, whole.h_last) <= 1e-14);
    CHECK(deviation(b.c_last, whole.c_last) <= 1e-14);
    a.grads[X] = joined(a.grads[X], b.grads[X]);
    for (std::size_t i = 0; i < INPUTS; ++i) {
      CAPTURE(input_names[i]);
      CHECK(deviation(a.grads[i], whole.grads[i]) <= 1e-14);
    }
  }
}

TEST_CASE("lstm kernel: a packed batch is its sequences one by one") {
  for (NaiveCase set : option_sets()) {
    set.T = 6, set.B = 4, set.H = 5;
    for (const NaiveCase& c : layouts(set)) {
      CAPTURE(describe(c));
      const NaiveData d = numbers_for(c);
      const std::vector<std::size_t> offsets = c.offsets();
      Kernel<double> batch(c, d);
      batch.forward();
      batch.backward();
      Inputs<double> sums(INPUTS);  // of the gradients that all sequences share
      for (const Input i : {W_IH, W_HH, B_IH, PEEPHOLE}) sums[i].resize(batch.grads[i].size());
      for (std::size_t row = 0; row < c.B; ++row) {
        NaiveCase single = c;
        single.B = 1, single.T = std::max<std::size_t>(1, c.length(row));
        single.lengths = {c.length(row)};
        const auto rows_of = [&](const Values<double>& v, std::size_t columns) {
          Values<double> r;
          for (std::size_t t = 0; t < c.length(row) && !v.empty(); ++t) {
            const auto from = v.begin() + static_cast<std::ptrdiff_t>((offsets[t] + row) * columns);
            r.insert(r.end(), from, from + static_cast<std::ptrdiff_t>(columns));
          }
          return r;
        };
        const auto state_of = [&](const Values<double>& v) {
          const auto from = v.begin() + static_cast<std::ptrdiff_t>(v.empty() ? 0 : row * c.H);
          return Values<double>(from, v.empty() ? from : from + static_cast<std::ptrdiff_t>(c.H));
        };
        NaiveData one = d;
        one.in[X] = rows_of(d.in[X], c.I);
        for (auto v : {&NaiveData::dy, &NaiveData::zoneout_h, &NaiveData::zoneout_c})
          one.*v = rows_of(d.*v, c.H);
        for (auto v : {&NaiveData::dh_last, &NaiveData::dc_last, &NaiveData::mask})
          one.*v = state_of(d.*v);
        one.in[H0] = state_of(d.in[H0]), one.in[C0] = state_of(d.in[C0]);
        Kernel<double> k(single, one);
        k.forward();
        k.backward();
        CHECK(deviation(k.y, rows_of(batch.y, c.H)) <= 1e-14);
        CHECK(deviation(k.h_last, state_of(batch.h_last)) <= 1e-14);
        CHECK(deviation(k.c_last, state_of(batch.c_last)) <= 1e-14);
        CHECK(deviation(k.grads[X], rows_of(batch.grads[X], c.I)) <= 1e-13);
        CHECK(deviation(k.grads[H0], state_of(batch.grads[H0])) <= 1e-13);
        CHECK(deviation(k.grads[C0], state_of(batch.grads[C0])) <= 1e-13);
        for (std::size_t i = 0; i < INPUTS; ++i) {
          for (std::size_t n = 0; n < sums[i].size(); ++n) sums[i][n] += k.grads[i][n];
        }
      }
      for (const Input i : {W_IH, W_HH, B_IH, PEEPHOLE}) {
        CHECK(deviation(batch.grads[i], sums[i]) <= 1e-13);
      }
    }
  }
}

TEST_CASE("lstm kernel: long sequences are multiplied in pieces, in training as in inference") {
  for (const bool reverse : {false, true}) {
    NaiveCase c{.T = 700, .B = 3, .H = 4, .reverse = reverse};  // 2100 rows, at most 1024 a piece
    const NaiveData d = numbers_for(c);
    Kernel<double> training(c, d), inference(c, d);
    training.forward();
    inference.reserve = inference.gates = {};
    inference.forward();
    CHECK(same_bits(training.y, inference.y));
    CHECK(same_bits(training.c_last, inference.c_last));
    CHECK(deviation(training.y, naive_forward(c, d, d.in).y) <= 1e-11);
  }
}

TEST_CASE("lstm kernel: no rows at all") {
  NaiveCase c{.T = 2, .B = 2, .lengths = {0, 0}};
  Kernel<double> k(c);
  CHECK(tapegrad::kernels::rows(k.shape().sequence) == 0);
  k.forward();
  k.backward();
  CHECK(same_bits(k.h_last, k.in[H0]));
  CHECK(same_bits(k.c_last, k.in[C0]));
  CHECK(same_bits(k.grads[H0], k.dh_last));
  CHECK(same_bits(k.grads[C0], k.dc_last));
  for (const Input i : {W_IH, W_HH, B_IH}) {
    CHECK(same_bits(k.grads[i], Values<double>(k.grads[i].size())));
  }
}

TEST_CASE_TEMPLATE("lstm kernel: a sequence without features is its state alone", T, double,
                   float) {
  Worst worst;
  for (const std::size_t batch : {1U, 5U, 70U}) {  // inputs multiplied together, and step by step
    const NaiveCase with{.T = 3, .B = batch, .I = 2, .H = 9};
    compare_with_naive<T>(with, worst);  // leaves its sums behind, where the next one puts its own
    compare_with_naive<T>({.T = 3, .B = batch, .I = 0, .H = 9}, worst);
  }
  CHECK(worst.value <= tolerance<T>);
}

TEST_CASE("lstm kernel: a NaN is passed on, not clipped away") {
  for (const NaiveCase& c : option_sets()) {
    CAPTURE(describe(c));
    NaiveData d = numbers_for(c);
    d.in[X][0] = not_a_number<double>;
    Kernel<double> k(c, d);
    k.forward();
    k.backward();
    const auto has_nan = [](const Values<double>& v) {
      return std::any_of(v.begin(), v.end(), [](double x) { return std::isnan(x); });
    };
    CHECK(has_nan(k.h_last));
    CHECK(has_nan(k.grads[W_IH]));
    CHECK(has_nan(k.grads[B_IH]));
  }
}

TEST_SUITE_END();
