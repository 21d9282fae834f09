#include <doctest/doctest.h>

#include <cfloat>
#include <cmath>

#include "../../core/error.h"
#include "../../core/threads.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"

using namespace tapegrad;

namespace {

/// Parameters w, b, ... of which only the gradients matter.
Parameters with_gradients(const std::vector<Tensor>& gradients) {
  Parameters all;
  for (const Tensor& g : gradients) {
    all.push_back({all.empty() ? "w" : "b", Parameter(Tensor::zeros(g.shape(), g.dtype()))});
    all[all.size() - 1].set_grad(g);
  }
  return all;
}

Tensor numbers(std::initializer_list<double> values, DType dtype = DType::float64) {
  return Tensor::of({values.size()}, values, dtype);
}

/// 1, 2, ..., 100 as (10, 10), and ten times 0.001: libtorch's test/cpp/api/clip_grad.cpp.
Parameters libtorch_gradients(DType dtype) {
  Tensor weight = Tensor::empty({10, 10}, DType::float64);
  for (double i = 1; double& v : weight.mutable_values<double>()) v = i++;
  return with_gradients({weight.to(dtype), Tensor::full({10}, 1e-3, dtype)});
}

/// The norm by definition, for numbers of ordinary size.
double norm(const Parameters& all) {
  long double squares = 0;
  for (const NamedParameter& p : all) {
    for (std::size_t i = 0; i < p.grad().numel(); ++i) {
      squares += static_cast<long double>(p.grad().at(i)) * p.grad().at(i);
    }
  }
  return static_cast<double>(std::sqrt(squares));
}

void check_values(const Tensor& t, std::initializer_list<double> expected, double bound = 0) {
  REQUIRE(t.numel() == expected.size());
  for (std::size_t i = 0; const double e : expected) {
    CHECK(std::abs(t.at(i++) - e) <= bound * std::abs(e));
  }
}

}  // namespace

// --- clip_grad_norm ---

TEST_CASE("clip: libtorch's gradients: norm before and after, and one ratio for all") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const double rounding = dtype == DType::float32 ? 1e-7 : 1e-15;
    const Parameters all = libtorch_gradients(dtype), old = libtorch_gradients(dtype);
    const GradNorm result = clip_grad_norm(all, 2);
    CHECK(std::abs(result.before - std::sqrt(338350.00001)) <= rounding * 600);
    CHECK(result.after == 2);
    CHECK(std::abs(norm(all) - 2) <= 2 * rounding);
    const double ratio = 2 / result.before;
    for (std::size_t k = 0; k < 2; ++k) {
      for (std::size_t i = 0; i < all[k].grad().numel(); ++i) {
        const double expected = old[k].grad().at(i) * ratio;
        CHECK(std::abs(all[k].grad().at(i) - expected) <= rounding * expected);
      }
    }
  }
}

TEST_CASE("clip: libtorch's small gradients are left alone, to the bit") {
  const Parameters all =
      with_gradients({Tensor::full({10, 10}, 0.7e-4), Tensor::full({10}, 1.0 / 500)});
  const auto version = all[0].grad().version();
  const GradNorm result = clip_grad_norm(all, 2);
  CHECK(result.before == result.after);
  CHECK(std::abs(result.before - norm(all)) < 1e-15);
  CHECK(all[0].grad().version() == version);
}

TEST_CASE("clip: by hand, and Keras' clipnorm (keras/src/optimizers/adam_test.py)") {
  Parameters all = with_gradients({numbers({3, 0}), numbers({-4})});
  GradNorm result = clip_grad_norm(all, 10);
  CHECK(result.before == 5);
  CHECK(result.after == 5);
  result = clip_grad_norm(all, 5);  // not greater: untouched
  check_values(all[0].grad(), {3, 0});
  result = clip_grad_norm(all, 2.5);
  CHECK(result.before == 5);
  CHECK(result.after == 2.5);
  check_values(all[0].grad(), {1.5, 0});
  check_values(all[1].grad(), {-2});

  all = with_gradients({numbers({100, 100})});
  clip_grad_norm(all, 1);
  check_values(all[0].grad(), {0.70710678, 0.70710678}, 1e-8);
}

TEST_CASE("clip: max_norm of 0 and of infinity; no gradients at all; mixed dtypes") {
  const Parameters all = with_gradients({numbers({3, 0}, DType::float32), numbers({-4})});
  CHECK(clip_grad_norm(all, INFINITY).after == 5);
  check_values(all[0].grad(), {3, 0});
  CHECK(clip_grad_norm(all, 1).after == 1);
  check_values(all[0].grad(), {0.6, 0}, 1e-7);
  check_values(all[1].grad(), {-0.8}, 1e-15);
  CHECK(clip_grad_norm(all, 0).after == 0);
  check_values(all[1].grad(), {0});
  CHECK(clip_grad_norm(all, 0).before == 0);

  Parameters none = with_gradients({numbers({1})});
  none[0].zero_grad();
  CHECK(clip_grad_norm(none, 1).before == 0);
  clip_grad_value(none, 1);
  CHECK(!none[0].grad().defined());
  none.push_back(with_gradients({numbers({8})})[0]);
  CHECK(clip_grad_norm(none, 4).before == 8);
  check_values(none[1].grad(), {4});
}

TEST_CASE("clip: gradients up to FLT_MAX") {
  const double largest = static_cast<double>(FLT_MAX);
  const Parameters all = with_gradients(
      {numbers({largest, -largest}, DType::float32), numbers({largest, largest}, DType::float32)});
  for (const double max_norm : {1e38, 1.0, 1e-20}) {
    const Parameters now = with_gradients({all[0].grad(), all[1].grad()});
    const GradNorm result = clip_grad_norm(now, max_norm);
    CHECK(std::abs(result.before - 2 * largest) <= 1e-15 * result.before);
    CHECK(result.after == max_norm);
    check_values(now[0].grad(), {max_norm / 2, -max_norm / 2}, 1e-7);
    check_values(now[1].grad(), {max_norm / 2, max_norm / 2}, 1e-7);
  }
}

TEST_CASE("clip: gradients up to DBL_MAX; a norm beyond it is an error, not a zero") {
  for (const double max_norm : {1e308, 1e10, 10.0}) {
    const Parameters one = with_gradients({numbers({DBL_MAX, 0}), numbers({0})});
    CHECK(clip_grad_norm(one, max_norm).before == DBL_MAX);
    check_values(one[0].grad(), {max_norm, 0}, 1e-15);
    const Parameters half = with_gradients({numbers({DBL_MAX / 2, DBL_MAX / 2}), numbers({1})});
    CHECK(clip_grad_norm(half, max_norm).before ==
          doctest::Approx(DBL_MAX / std::sqrt(2)).epsilon(1e-15));
    check_values(half[0].grad(), {max_norm / std::sqrt(2), max_norm / std::sqrt(2)}, 1e-15);
  }
  for (const Parameters& all : {with_gradients({numbers({DBL_MAX, DBL_MAX}), numbers({1})}),
                                with_gradients({numbers({DBL_MAX}), numbers({DBL_MAX})})}) {
    CHECK_THROWS_WITH_AS(clip_grad_norm(all, 1),
                         "[clip_grad_norm] all gradients are finite but their norm is not: "
                         "nothing was changed; the loss has diverged",
                         NonFiniteError);
    CHECK(all[0].grad().at(0) == DBL_MAX);
    clip_grad_value(all, 2);
    CHECK(all[0].grad().at(0) == 2);
  }
}

TEST_CASE("clip: tiny gradients have a norm, too") {
  const Parameters all = with_gradients({numbers({3e-200, 4e-200}), numbers({12e-200})});
  const GradNorm result = clip_grad_norm(all, 1e-200);
  CHECK(std::abs(result.before - 13e-200) <= 1e-15 * 13e-200);
  check_values(all[1].grad(), {12e-200 / 13}, 1e-15);
}

TEST_CASE("clip: a subnormal norm leaves 0, not 0 / 0") {
  for (const double max_norm : {0.0, 5e-324, 1e-310}) {
    const Parameters all = with_gradients({numbers({-3e-310, 4e-310}), numbers({0})});
    clip_grad_norm(all, max_norm);
    check_values(all[0].grad(), {0, 0});
    check_values(all[1].grad(), {0});
  }
}

TEST_CASE("clip: large gradients are the same for any number of threads" *
          doctest::test_suite("threads")) {
  std::vector<Tensor> results;
  for (const std::size_t count : {1U, 3U}) {
    set_threads(count);
    Tensor g = Tensor::empty({300001});
    for (float i = 0; float& v : g.mutable_values<float>()) v = std::sin(i++);
    const Parameters all = with_gradients({g});
    clip_grad_norm(all, 3);
    CHECK(std::abs(norm(all) - 3) < 1e-6);
    clip_grad_value(all, 0.007);
    results.push_back(all[0].grad());
  }
  set_threads(1);
  std::size_t different = 0;
  for (std::size_t i = 0; i < results[0].numel(); ++i) {
    different += results[0].at(i) != results[1].at(i);
  }
  CHECK(different == 0);
}

// --- clip_grad_value ---

TEST_CASE("clip: libtorch's and Keras' clipping by value") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    Tensor weight = Tensor::empty({10, 10}, DType::float64);
    for (double i = -50; double& v : weight.mutable_values<double>()) v = i++ / 5;
    const Parameters all = with_gradients({weight.to(dtype), Tensor::full({10}, 2, dtype)});
    clip_grad_value(all, 2.5);
    const Tensor old = weight.to(dtype);
    for (std::size_t i = 0; i < 100; ++i) {
      CHECK(all[0].grad().at(i) == std::min(2.5, std::max(-2.5, old.at(i))));
    }
    for (std::size_t i = 0; i < 10; ++i) CHECK(all[1].grad().at(i) == 2);
  }
  const Parameters keras = with_gradients({numbers({100, 100})});
  clip_grad_value(keras, 1);
  check_values(keras[0].grad(), {1, 1});
  clip_grad_value(keras, 1e300);
  const std::uint64_t clips = keras[0].events().clip.count;
  clip_grad_value(keras, INFINITY);
  CHECK(keras[0].events().clip.count == clips);  // nothing was limited
  check_values(keras[0].grad(), {1, 1});
  const Parameters single = with_gradients({numbers({-FLT_MAX}, DType::float32)});
  clip_grad_value(single, 1e300);  // beyond float32
  check_values(single[0].grad(), {-static_cast<double>(FLT_MAX)});
  clip_grad_value(single, 0);
  check_values(single[0].grad(), {0});
}

// --- bad input ---

TEST_CASE("clip: an infinite norm only measures, which is no event of the parameters") {
  const Parameters all = with_gradients({numbers({3, 4})});
  CHECK(clip_grad_norm(all, INFINITY).after == 5);
  SGD(all, {.lr = 0.1}).step({.clip_norm = INFINITY});
  CHECK(all[0].events().clip.count == 0);
  SGD(all, {.lr = 0.1}).step({.clip_norm = 6});
  clip_grad_norm(all, 6);
  CHECK(all[0].events().clip.count == 2);
}

TEST_CASE("clip: a gradient that is not finite is named, and nothing is changed") {
  const auto message = [](const std::string& op, const std::string& what) {
    return doctest::String(("[" + op + "] the gradient of b, shape (2, 2), is " + what +
                            " at element 3: nothing was changed; a lower learning rate or "
                            "zero_grad() before each backward are the usual cures")
                               .c_str());
  };
  const struct {
    double value;
    const char* text;
  } cases[] = {{NAN, "nan"}, {-NAN, "nan"}, {INFINITY, "inf"}, {-INFINITY, "-inf"}};
  for (const DType dtype : {DType::float32, DType::float64}) {
    for (const auto& c : cases) {
      // DBL_MAX: the norm overflows, but it is not this element's fault.
      const double large = dtype == DType::float64 ? DBL_MAX : static_cast<double>(FLT_MAX);
      const Parameters all = with_gradients(
          {numbers({30, 40}, dtype), Tensor::of({2, 2}, {1, large, -large, c.value}, dtype)});
      CHECK_THROWS_WITH_AS(clip_grad_norm(all, 1), message("clip_grad_norm", c.text),
                           NonFiniteError);
      CHECK_THROWS_WITH_AS(clip_grad_norm(all, INFINITY), message("clip_grad_norm", c.text),
                           NonFiniteError);
      CHECK_THROWS_WITH_AS(clip_grad_value(all, 1), message("clip_grad_value", c.text),
                           NonFiniteError);
      check_values(all[0].grad(), {30, 40});
      CHECK(all[1].grad().at(0) == 1);
      CHECK(all[1].grad().at(1) == large);
    }
  }
}
