#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../core/kernels/gemm.h"
#include "../../core/rng.h"
#include "../../core/threads.h"
#include "../support/for_targets.h"
#include "../support/lstm_kernel.h"

TEST_SUITE_BEGIN("numerics");

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t table_rows = 7;  // one of them is never used

/// A case whose x are rows of an embedding, and the same with W_ih x from a table.
template <class T>
struct Pair {
  Kernel<T> plain, by_ids;

  explicit Pair(const NaiveCase& c) : Pair(c, numbers_for(c)) {}
  Pair(const NaiveCase& c, const NaiveData& numbers) : plain(c, numbers), by_ids(c, numbers) {
    const std::size_t G = 4 * c.H;
    Rng rng(c.seed, "lstm table");
    Values<T> embedding(table_rows * c.I);
    const double size = 1 / std::sqrt(static_cast<double>(c.I));  // no gate is saturated
    for (T& e : embedding) e = static_cast<T>(size * rng.normal());
    for (std::size_t n = 0; n < c.rows(); ++n) {
      const std::size_t id = rng.below(table_rows - 1);
      by_ids.ids.push_back(static_cast<std::int32_t>(id));
      std::copy_n(embedding.data() + id * c.I, c.I, plain.in[X].data() + n * c.I);
    }
    by_ids.table = by_ids.dtable = Values<T>(table_rows * G, not_a_number<T>);
    kernels::gemm<T>(Transpose::no, Transpose::yes, table_rows, G, c.I, 1, embedding.data(), c.I,
                     plain.in[W_IH].data(), c.I, 0, by_ids.table.data(), G);
    by_ids.in[X] = by_ids.in[W_IH] = by_ids.grads[X] = by_ids.grads[W_IH] = {};
  }

  void run() {
    for (Kernel<T>* k : {&plain, &by_ids}) {
      k->forward();
      k->backward();
    }
  }

  bool same() const {
    for (const auto v : {&Kernel<T>::y, &Kernel<T>::h_last, &Kernel<T>::c_last, &Kernel<T>::gates,
                         &Kernel<T>::cells, &Kernel<T>::dgates, &Kernel<T>::dh, &Kernel<T>::dc}) {
      if (!same_bits(plain.*v, by_ids.*v)) return false;
    }
    for (const Input i : {H0, C0, W_HH, B_IH, PEEPHOLE}) {
      if (!same_bits(plain.grads[i], by_ids.grads[i])) return false;
    }
    return true;
  }

  /// Of row v, `initial` + the gradients of all steps that used it, in double.
  Values<T> sums_by_id(T initial) const {
    const std::size_t G = 4 * plain.c.H;
    std::vector<double> sums(table_rows * G, static_cast<double>(initial));
    for (std::size_t n = 0; n < by_ids.ids.size(); ++n) {
      const std::size_t row = static_cast<std::size_t>(by_ids.ids[n]);
      for (std::size_t j = 0; j < G; ++j) {
        sums[row * G + j] += static_cast<double>(plain.dgates[n * G + j]);
      }
    }
    return {sums.begin(), sums.end()};
  }
};

}  // namespace

TEST_CASE_TEMPLATE("lstm kernel: rows of a table for products with x, the same bits", T, double,
                   float) {
  std::size_t cases = 0;
  for (const std::size_t batch : {1U, 3U, 17U, 70U}) {  // 70: two blocks of rows
    for (const std::size_t hidden : {1U, 5U, 33U}) {
      for (NaiveCase set : option_sets()) {
        set.T = 4, set.B = batch, set.H = hidden, set.I = hidden == 5 ? 300 : 3;
        for (NaiveCase c : layouts(set)) {
          c.seed = ++cases;
          CAPTURE(describe(c));
          const NaiveData numbers = numbers_for(c);
          for_targets([&](const std::string& target) {
            CAPTURE(target);
            Pair<T> pair(c, numbers);
            pair.run();
            CHECK(pair.same());
            CHECK(same_bits(pair.by_ids.dtable, pair.sums_by_id(0)));
          });
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("lstm kernel: the gradient of a table alone, and added to what is there", T,
                   double, float) {
  const NaiveCase c{.T = 700, .B = 3, .I = 2, .H = 4};
  Pair<T> pair(c);
  pair.run();
  Kernel<T>& k = pair.by_ids;
  for (const bool accumulate : {false, true}) {
    k.forward();
    for (Values<T>& v : k.grads) v = {};
    k.dgates = k.dh = k.dc = {};
    std::fill(k.dtable.begin(), k.dtable.end(), accumulate ? T{100} : not_a_number<T>);
    k.backward(true, accumulate);
    CHECK(same_bits(k.dtable, pair.sums_by_id(accumulate ? T{100} : T{0})));
  }
  k.forward();
  k.dtable = {};
  k.grads[W_HH] = Values<T>(4 * c.H * c.H);
  k.backward();
  CHECK(same_bits(k.grads[W_HH], pair.plain.grads[W_HH]));
}

TEST_CASE_TEMPLATE("lstm kernel: with a table, the number of threads changes no bit" *
                       doctest::test_suite("threads"),
                   T, double, float) {
  for (const std::size_t batch : {2U, 40U}) {  // units or rows are shared
    const NaiveCase c{.T = 30, .B = batch, .I = 5, .H = 96};
    set_threads(1);
    Pair<T> alone(c);
    alone.run();
    CHECK(alone.same());
    for (const std::size_t threads : {2U, 3U}) {
      set_threads(threads);
      Pair<T> together(c);
      together.run();
      set_threads(1);
      CHECK(together.same());
      CHECK(same_bits(together.by_ids.y, alone.by_ids.y));
      CHECK(same_bits(together.by_ids.dtable, alone.by_ids.dtable));
    }
  }
}

TEST_SUITE_END();
