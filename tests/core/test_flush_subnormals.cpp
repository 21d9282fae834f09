#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "../../core/error.h"
#include "../../core/flush_subnormals-inl.h"
#include "../../core/kernels/gemm.h"
#include "../../core/recurrent/cells.h"
#include "../../core/recurrent/lstm.h"
#include "../../core/threads.h"
#include "../support/threads.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

TEST_SUITE_BEGIN("numerics");

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

template <class T>
bool is_subnormal(T x) {
  return std::fpclassify(x) == FP_SUBNORMAL;
}

/// x * y in this thread and as the control register says, not as the compiler knows.
float multiply(float x, float y) {
  volatile float a = x, b = y, product = a * b;
  return product;
}

constexpr float least_normal = std::numeric_limits<float>::min();

/// True if a subnormal result is written as 0 in this thread, and a subnormal operand read as 0.
bool flushes() {
  const float written = multiply(least_normal, 0.5F);
  const float read = multiply(least_normal / 4, 16);
  REQUIRE((written == 0) == (read == 0));  // both or neither
  return written == 0;
}

/// Puts back the floating-point environment that the test found.
struct Environment {
  std::fenv_t before;
  Environment() { std::fegetenv(&before); }
  ~Environment() { std::fesetenv(&before); }
};

/// Calls f on two threads, and does not return before each of them has run it.
template <class F>
void on_both_threads(F f) {
  const Threads two(2);
  std::atomic<int> arrived{0};
  parallel_tasks(2, [&](std::size_t i) {
    f(i);
    for (++arrived; arrived < 2;) {
    }
  });
}

}  // namespace

#if defined(__SSE__)

TEST_CASE("flush subnormals: two bits of the control register change, and come back") {
  constexpr unsigned flush = 0x8040, masks = 0x1f80, flags = 0x3f, rounding = 0x6000;
  const unsigned usual = _mm_getcsr();
  std::vector<unsigned> words = {usual, usual | flush, usual | 0x8000, usual | 0x40};
  for (const unsigned mode : {0x0000U, 0x2000U, 0x4000U, 0x6000U}) {
    for (const unsigned trap : {0x0000U, 0x0080U, 0x0480U, 0x1f80U}) {  // unmasked exceptions
      for (const unsigned set : {0x00U, 0x05U, 0x3fU}) {                // sticky flags
        words.push_back(((usual & ~(rounding | flags)) | mode | set) & ~trap);
      }
    }
  }
  std::vector<unsigned> inside, nested, after;
  for (const unsigned word : words) {  // no check while exceptions may trap
    _mm_setcsr(word);
    {
      const FlushSubnormals guard;
      inside.push_back(_mm_getcsr());
      const FlushSubnormals inner;
      nested.push_back(_mm_getcsr());
    }
    after.push_back(_mm_getcsr());
    _mm_setcsr(usual);
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    CAPTURE(words[i]);
    CHECK(inside[i] == (words[i] | flush));
    CHECK(nested[i] == inside[i]);
    CHECK(after[i] == words[i]);
  }
  CHECK((usual & masks) == masks);  // the test itself was run as usual
}

#endif

TEST_CASE("flush subnormals: arithmetic while a guard lives, and exceptions that pass it") {
  CHECK_FALSE(flushes());
  {
    const FlushSubnormals guard;
    CHECK(flushes());
    {
      const FlushSubnormals inner;
      CHECK(flushes());
    }
    CHECK(flushes());
  }
  CHECK_FALSE(flushes());
  try {
    const FlushSubnormals guard;
    throw UsageError("thrown");
  } catch (const UsageError&) {
  }
  CHECK_FALSE(flushes());
}

TEST_CASE("flush subnormals: exception flags stay, those from before and those from within") {
  const Environment put_back;
  std::feclearexcept(FE_ALL_EXCEPT);
  std::feraiseexcept(FE_DIVBYZERO);
  {
    const FlushSubnormals guard;
    CHECK(std::fetestexcept(FE_ALL_EXCEPT) == FE_DIVBYZERO);
    CHECK(std::isinf(multiply(std::numeric_limits<float>::max(), 2)));
  }
  CHECK(std::fetestexcept(FE_DIVBYZERO | FE_OVERFLOW | FE_INVALID) == (FE_DIVBYZERO | FE_OVERFLOW));
}

TEST_CASE("flush subnormals: all threads of a job do as its caller does, and only for that job") {
  bool inside[2] = {}, after[2] = {true, true};
  {
    const FlushSubnormals guard;
    on_both_threads([&](std::size_t i) { inside[i] = flushes(); });
  }
  on_both_threads([&](std::size_t i) { after[i] = flushes(); });
  CHECK((inside[0] && inside[1]));
  CHECK_FALSE((after[0] || after[1]));
}

TEST_CASE("threads: tasks have the caller's rounding mode, and the caller gets their flags") {
  const Environment put_back;
  std::fesetround(FE_UPWARD);
  std::feclearexcept(FE_ALL_EXCEPT);
  int modes[2] = {};
  for (std::size_t overflowing : {0U, 1U}) {
    std::feclearexcept(FE_ALL_EXCEPT);
    on_both_threads([&](std::size_t i) {
      modes[i] = std::fegetround();
      if (i == overflowing) multiply(std::numeric_limits<float>::max(), 2);
    });
    CHECK(std::fetestexcept(FE_OVERFLOW | FE_DIVBYZERO) == FE_OVERFLOW);
  }
  CHECK(modes[0] == FE_UPWARD);
  CHECK(modes[1] == FE_UPWARD);
  std::fesetround(FE_TONEAREST);
  std::feclearexcept(FE_ALL_EXCEPT);
  on_both_threads([&](std::size_t i) { modes[i] = std::fegetround(); });
  CHECK(modes[0] == FE_TONEAREST);
  CHECK(modes[1] == FE_TONEAREST);
  CHECK(std::fetestexcept(FE_OVERFLOW) == 0);  // the flags of the job before
}

TEST_CASE_TEMPLATE("gemm: subnormal numbers are 0, on every thread", T, float, double) {
  constexpr T least = std::numeric_limits<T>::min();
  for (const std::size_t threads : {1U, 2U}) {
    const Threads number(threads);
    for (const std::size_t n : {1U, 5U, 300U}) {  // 300: several blocks
      const auto product = [&](T left, T right, T before, T beta) {
        const std::vector<T> a(n * n, left), b(n * n, right);
        std::vector<T> c(n * n, before);
        kernels::gemm<T>(Transpose::no, Transpose::no, n, n, n, 1, a.data(), n, b.data(), n, beta,
                         c.data(), n);
        CHECK(std::all_of(c.begin(), c.end(), [&](T v) { return v == c[0]; }));
        return c[0];
      };
      const T share = 1 / static_cast<T>(n);
      CHECK(product(least, share / 4, 1, 0) == 0);  // a result
      CHECK(product(least / 2, 1000, 1, 0) == 0);   // an operand
      CHECK(product(1000, least / 2, 1, 0) == 0);
      CHECK(product(0, 0, least / 2, 1000) == 0);  // what was in C
      CHECK(product(least, 4, 1, 0) == 4 * least * static_cast<T>(n));
    }
  }
  CHECK_FALSE(flushes());
  T x = 1;
  CHECK_THROWS_AS(
      kernels::gemm<T>(Transpose::no, Transpose::no, 1, 1, 2, 1, &x, 1, &x, 1, 0, &x, 1),
      ShapeError);
  CHECK_FALSE(flushes());
}

TEST_CASE_TEMPLATE("lstm kernel: a gradient that vanishes leaves no subnormal number", T, float,
                   double) {
  // One loss, behind the last step; c halves at every step, so that its gradient passes the
  // subnormal numbers (2^-126 to 2^-149, 2^-1022 to 2^-1074) on the way back, and stays among them
  // if they are computed with.
  constexpr std::size_t H = 3;
  const std::size_t steps = sizeof(T) == 4 ? 400 : 2400;
  for (const std::size_t batch : {2U, 40U}) {  // one block of rows, and several
    for (const std::size_t threads : {1U, 2U}) {
      for (const bool with_variant : {false, true}) {
        const Threads number(threads);
        const std::size_t N = steps * batch;
        const kernels::lstm::Shape shape{
            .sequence = {.steps = steps, .batch = batch}, .input = 1, .hidden = H};
        const std::vector<T> weights(4 * H * H, T{0}), x(N, T{1}), ones(batch * H, T{1});
        const kernels::lstm::Weights<T> w{.weight_ih = weights.data(), .weight_hh = weights.data()};
        const kernels::lstm::Variant<T> variant{.gradient_clip = with_variant ? T{1000} : T{0}};
        std::vector<T> y(N * H), reserve(kernels::lstm::reserve_size(shape)), dx(N);
        std::vector<T> dgates(N * 4 * H), dh(N * H), dc(N * H), dw(4 * H * H), dc0(batch * H);
        kernels::lstm::forward<T>({.shape = shape,
                                   .weights = w,
                                   .variant = variant,
                                   .x = x.data(),
                                   .c0 = ones.data(),
                                   .y = y.data(),
                                   .reserve = reserve.data()});
        kernels::lstm::backward<T>({.shape = shape,
                                    .weights = w,
                                    .variant = variant,
                                    .x = x.data(),
                                    .c0 = ones.data(),
                                    .y = y.data(),
                                    .reserve = reserve.data(),
                                    .dh_last = ones.data(),
                                    .dc_last = ones.data(),
                                    .dx = dx.data(),
                                    .dc0 = dc0.data(),
                                    .dweight_hh = dw.data(),
                                    .dgates = dgates.data(),
                                    .dh = dh.data(),
                                    .dc = dc.data()});
        for (const auto* values : {&y, &reserve, &dx, &dgates, &dh, &dc, &dw, &dc0}) {
          CHECK(std::none_of(values->begin(), values->end(), is_subnormal<T>));
        }
        CHECK(dc0[0] == 0);
        const auto least = std::min_element(
            dc.begin(), dc.end(), [](T a, T b) { return (a > 0 ? a : 1) < (b > 0 ? b : 1); });
        CHECK(*least < 4 * std::numeric_limits<T>::min());  // it did pass there
      }
    }
  }
  CHECK_FALSE(flushes());
}

TEST_CASE_TEMPLATE("cells kernel: a gradient that vanishes leaves no subnormal number", T, float,
                   double) {
  // As above: without weights z = 1/2, and dh halves at every step on the way back.
  constexpr std::size_t H = 3;
  const std::size_t steps = sizeof(T) == 4 ? 400 : 2400;
  namespace cells = kernels::cells;
  for (const std::size_t batch : {2U, 40U}) {
    for (const std::size_t threads : {1U, 2U}) {
      const Threads number(threads);
      const std::size_t N = steps * batch;
      const cells::Shape shape{
          .sequence = {.steps = steps, .batch = batch}, .input = 1, .hidden = H};
      const std::vector<T> weights(3 * H * H, T{0}), x(N, T{1}), ones(batch * H, T{1});
      const cells::Weights<T> w{.weight_ih = weights.data(), .weight_hh = weights.data()};
      std::vector<T> y(N * H), reserve(cells::reserve_size(cells::Cell::gru, shape));
      std::vector<T> dgates(N * 3 * H), dh(N * H), dw(3 * H * H), dh0(batch * H);
      cells::forward<T>(cells::Cell::gru, {.shape = shape,
                                           .weights = w,
                                           .x = x.data(),
                                           .h0 = ones.data(),
                                           .y = y.data(),
                                           .reserve = reserve.data()});
      cells::backward<T>(cells::Cell::gru, {.shape = shape,
                                            .weights = w,
                                            .x = x.data(),
                                            .h0 = ones.data(),
                                            .y = y.data(),
                                            .reserve = reserve.data(),
                                            .dh_last = ones.data(),
                                            .dh0 = dh0.data(),
                                            .dweight_hh = dw.data(),
                                            .dgates = dgates.data(),
                                            .dh = dh.data()});
      for (const auto* values : {&y, &reserve, &dgates, &dh, &dw, &dh0}) {
        CHECK(std::none_of(values->begin(), values->end(), is_subnormal<T>));
      }
      CHECK(dh0[0] == 0);
      const auto least = std::min_element(
          dh.begin(), dh.end(), [](T a, T b) { return (a > 0 ? a : 1) < (b > 0 ? b : 1); });
      CHECK(*least < 4 * std::numeric_limits<T>::min());  // it did pass there
    }
  }
  CHECK_FALSE(flushes());
}

TEST_SUITE_END();
