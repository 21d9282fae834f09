#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/scan.h"
#include "../../core/error.h"
#include "../../core/pool.h"
#include "../../core/threads.h"
#include "../support/for_targets.h"
#include "../support/lstm_cases.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Scan = Unrolled<Var> (*)(const Var& a, const Var& b, const Var& h, const Steps& steps);

/// Outputs that the loss sees.
enum Seen : unsigned { of_y = 1, of_last = 2, of_both = 3 };

/// Lengths in no order; one of T, one of 0.
Tensor some_lengths(std::size_t T, std::size_t B) {
  Tensor lengths = Tensor::full({B}, static_cast<double>(T), DType::int32);
  std::int32_t* const n = lengths.mutable_data<std::int32_t>();
  n[0] = static_cast<std::int32_t>((T + 1) / 2);
  if (B > 2) n[2] = 0;
  return lengths;
}

/// a, b and h, and weights of the loss.
struct Problem {
  std::vector<Tensor> in;
  Tensor wy, wh;

  Problem(std::size_t T, std::size_t B, std::size_t H, DType dtype, bool zero_state = false) {
    Rng rng(3, "scan");
    in = {rng.uniform({T, B, H}, -1, 1.2, dtype), rng.normal({T, B, H}, 0, 1, dtype),
          zero_state ? Tensor::zeros({B, H}, dtype) : rng.normal({B, H}, 0, 1, dtype)};
    wy = rng.normal({T, B, H}, 0, 1, dtype);
    wh = rng.normal({B, H}, 0, 1, dtype);
  }

  /// y, the last h and the gradients of the inputs in `subset` (bits).
  std::vector<NamedValue> solve(Scan f, const Steps& steps, unsigned loss = of_both,
                                std::size_t subset = 7) const {
    static const char* const names[] = {"da", "db", "dh0"};
    Tape tape;
    Vars v, wanted;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const bool leaf = (subset >> i & 1) != 0;
      v.push_back(leaf ? tape.leaf(in[i]) : Var(in[i]));
      if (leaf) wanted.push_back(v[i]);
    }
    const Unrolled<Var> r = f(v[0], v[1], v[2], steps);
    std::vector<NamedValue> result = {{"y", r.y.value()}, {"h_T", r.last.value()}};
    const Var y = sum(r.y * Var(wy)), h = sum(r.last * Var(wh));
    const Vars d = tape.gradient(loss == of_y ? y : loss == of_last ? h : y + h, wanted);
    for (std::size_t i = 0, next = 0; i < in.size(); ++i) {
      if ((subset >> i & 1) != 0) result.push_back({names[i], d[next++].value()});
    }
    return result;
  }
};

bool same(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return false;
  for (std::size_t i = 0; i < a.numel(); ++i) {
    if (a.at(i) != b.at(i)) return false;
  }
  return true;
}

bool same(const std::vector<NamedValue>& a, const std::vector<NamedValue>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!same(a[i].value, b[i].value)) return false;
  }
  return a.size() == b.size();
}

/// All steps and directions.
template <class F>
void for_steps(std::size_t T, std::size_t B, const F& f) {
  for (const Tensor& lengths : {Tensor(), some_lengths(T, B)}) {
    for (const bool reverse : {false, true}) {
      f(Steps{lengths, reverse},
        std::to_string(T) + (lengths.defined() ? ", lengths" : "") + (reverse ? ", reverse" : ""));
    }
  }
}

}  // namespace

TEST_SUITE_BEGIN("gradients");

TEST_CASE("gradcheck: scan, to second order, for every subset of its inputs") {
  for (const std::size_t T : {1U, 2U, 3U, 7U}) {
    for_steps(T, 3, [&](const Steps& steps, const std::string& name) {
      check_op("scan " + name,
               [&](In in) -> Out {
                 const Unrolled<Var> r = scan(in[0], in[1], in[2], steps);
                 return {r.y, r.last};
               },
               {{T, 3, 2}, {T, 3, 2}, {3, 2}}, {.low = -1, .high = 1, .second_order = T < 7});
    });
  }
}

TEST_CASE("scan: values and all gradients are those of the loop over its formula") {
  std::size_t cases = 0;
  pool::poison(true);
  for (const DType dtype : {DType::float64, DType::float32}) {
    for (const std::size_t T : {1U, 2U, 3U, 7U, 50U}) {
      for (const std::size_t H : {1U, 3U, 8U, 17U, 33U}) {
        for (const bool zero_state : {false, true}) {
          const Problem p(T, 4, H, dtype, zero_state);
          for_steps(T, 4, [&](const Steps& steps, const std::string& name) {
            for (const Seen loss : {of_y, of_last, of_both}) {
              Deviation d;
              d.compare(p.solve(scan, steps, loss), p.solve(scan_composed, steps, loss));
              INFO(name, ", H = ", H, ": ", d.where);
              CHECK(d.worst == 0);  // products and sums are rounded one by one in both
              ++cases;
            }
          });
        }
      }
    }
  }
  pool::poison(false);
  MESSAGE(cases, " cases");
}

TEST_CASE("gradcheck: scan over 50 steps") {
  const Problem p(50, 3, 2, DType::float64);
  for_steps(50, 3, [&](const Steps& steps, const std::string& name) {
    const GradcheckReport report = gradcheck(
        [&](Tape&, std::span<const Var> v) {
          const Unrolled<Var> r = scan(v[0], v[1], v[2], steps);
          return Vars{r.y, r.last};
        },
        {{"a", p.in[0]}, {"b", p.in[1]}, {"h", p.in[2]}}, {}, {.entries = 24, .directions = 2});
    CHECK_MESSAGE(report.failed == 0, "scan, ", name, ": ", report.text());
  });
}

TEST_CASE("scan: a gradient is the same, whichever others are asked for") {
  const Problem p(3, 4, 5, DType::float64);
  for_steps(3, 4, [&](const Steps& steps, const std::string& name) {
    const std::vector<NamedValue> all = p.solve(scan, steps);
    for (std::size_t subset = 1; subset < 7; ++subset) {
      const std::vector<NamedValue> some = p.solve(scan, steps, of_both, subset);
      for (std::size_t i = 0, next = 2; i < 3; ++i) {
        if ((subset >> i & 1) == 0) continue;
        CHECK_MESSAGE(same(some[next++].value, all[2 + i].value), name, ", subset ", subset);
      }
    }
  });
}

TEST_CASE("scan: the bits depend neither on the number of threads nor on the instruction set" *
          doctest::test_suite("threads")) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const Problem p(60, 33, 151, dtype);  // enough for two threads, and no whole vectors
    for_steps(60, 33, [&](const Steps& steps, const std::string& name) {
      set_threads(1);
      const std::vector<NamedValue> one = p.solve(scan, steps);
      for_targets([&](const std::string& target) {
        for (const std::size_t count : {1U, 2U}) {
          set_threads(count);
          CHECK_MESSAGE(same(p.solve(scan, steps), one), name, ", ", target, ", threads ", count);
        }
      });
    });
  }
  set_threads(1);
}

TEST_CASE("scan: what is behind a sequence's end is neither read nor given a gradient") {
  const std::size_t T = 5, B = 4, H = 3;
  const Tensor lengths = some_lengths(T, B);
  for (const bool reverse : {false, true}) {
    Problem p(T, B, H, DType::float64);
    const std::vector<NamedValue> clean = p.solve(scan, {lengths, reverse});
    for (std::size_t t = 0; t < T; ++t) {
      for (std::size_t b = 0; b < B; ++b) {
        if (static_cast<double>(t) < lengths.at(b)) continue;
        for (std::size_t j = 0; j < H; ++j) {
          const std::size_t n = (t * B + b) * H + j;
          for (const std::size_t k : {0U, 1U}) {
            p.in[k].mutable_data<double>()[n] = std::numeric_limits<double>::quiet_NaN();
          }
          p.wy.mutable_data<double>()[n] = 7;
          for (const std::size_t k : {0U, 2U, 3U}) CHECK(clean[k].value.at(n) == 0);  // y, da, db
        }
      }
    }
    CHECK(same(p.solve(scan, {lengths, reverse}), clean));
    // Length 0: the last state is the first one, and so is its gradient.
    for (std::size_t j = 2 * H; j < 3 * H; ++j) {
      CHECK(clean[1].value.at(j) == p.in[2].at(j));
      CHECK(clean[4].value.at(j) == p.wh.at(j));
    }
  }
}

TEST_CASE("scan: in reverse it is the scan of the sequence turned round") {
  const std::size_t T = 4;
  const Problem p(T, 2, 3, DType::float64);
  Problem turned = p;
  for (const std::size_t k : {0U, 1U}) {
    turned.in[k] = p.in[k].clone();
    for (std::size_t t = 0; t < T; ++t) {
      turned.in[k].slice(t, t + 1).copy_from(p.in[k].slice(T - 1 - t, T - t));
    }
  }
  const Unrolled<Var> back = scan(p.in[0], p.in[1], p.in[2], {.reverse = true});
  const Unrolled<Var> there = scan(turned.in[0], turned.in[1], p.in[2]);
  CHECK(same(back.last.value(), there.last.value()));
  CHECK(same(back.y.value().slice(0, 1), there.y.value().slice(T - 1, T)));
}

TEST_CASE("scan: a retained pass differentiates twice alike, inference has the same bits") {
  const Problem p(4, 3, 5, DType::float64);
  Tape tape, inference = Tape::inference();
  const Var a = tape.leaf(p.in[0]), b = tape.leaf(p.in[1]), h = tape.leaf(p.in[2]);
  const Var y = scan(a, b, h).y;
  const Var first = tape.gradient(sum(y), {a}, {.retain = true})[0];
  CHECK(same(first.value(), tape.gradient(sum(y), {a})[0].value()));
  CHECK(same(scan(inference.leaf(p.in[0]), p.in[1], p.in[2]).y.value(), y.value()));
}

TEST_CASE("messages: scan") {
  const auto zeros = [](const Shape& shape) { return Var(Tensor::zeros(shape)); };
  const Var a = zeros({5, 3, 2}), h = zeros({3, 2});
  CHECK_THROWS_WITH_AS(scan(Var(), a, h), "[scan] a is undefined: give it a value first",
                       UsageError);
  CHECK_THROWS_WITH_AS(scan(zeros({3, 2}), a, h),
                       "[scan] a has shape (3, 2): it must be (T, B, H) with T, B, H >= 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(scan(zeros({0, 3, 2}), zeros({0, 3, 2}), h),
                       "[scan] a has shape (0, 3, 2): it must be (T, B, H) with T, B, H >= 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(scan(a, zeros({5, 3, 4}), h),
                       "[scan] a has shape (T, B, H) = (5, 3, 2) but b has shape (T, B, H) = (5, "
                       "3, 4): they must be equal",
                       ShapeError);
  CHECK_THROWS_WITH_AS(scan(a, a, zeros({4, 2})),
                       "[scan] a has shape (T, B, H) = (5, 3, 2) but h has shape (B, H) = (4, 2): "
                       "B and H must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(scan(a, a, h, {.lengths = Tensor::from<std::int32_t>({3}, {1, 6, 2})}),
                       "[scan] length 6 of sequence 1 is out of range: lengths must be in [0, T], "
                       "T = 5",
                       UsageError);
  CHECK_THROWS_WITH_AS(scan_composed(a, a, h, {.lengths = Tensor::from<std::int32_t>({2}, {1, 2})}),
                       "[scan] lengths have shape (2) but x has B = 3 sequences: lengths must be "
                       "(B)",
                       ShapeError);
  const Tensor ids = Tensor::zeros({5, 3, 2}, DType::int32);
  CHECK_THROWS_WITH_AS(scan(ids, ids, Tensor::zeros({3, 2}, DType::int32)),
                       "[scan] a is int32: it must be float32 or float64; convert it with to()",
                       DtypeError);
}

TEST_SUITE_END();
