#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../../core/error.h"
#include "../../core/kernels/cross_entropy.h"
#include "../../core/kernels/softmax.h"
#include "../../core/simd/exponentials-inl.h"
#include "../../core/simd/in_double-inl.h"
#include "../../core/simd/vector_math.h"
#include "../support/for_targets.h"
#include "../support/kernel_cases.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::int32_t ignore = -100;

/// x - log sum exp x by the definition, in long double.
std::vector<double> naive_log_softmax(const Tensor& x, std::size_t columns) {
  std::vector<double> result;
  for (std::size_t first = 0; first < x.numel(); first += columns) {
    long double largest = -INFINITY, total = 0;
    for (std::size_t j = 0; j < columns; ++j) {
      largest = std::fmax(largest, static_cast<long double>(x.at(first + j)));
    }
    for (std::size_t j = 0; j < columns; ++j) {
      total += std::exp(static_cast<long double>(x.at(first + j)) - largest);
    }
    for (std::size_t j = 0; j < columns; ++j) {
      const long double shifted = static_cast<long double>(x.at(first + j)) - largest;
      result.push_back(static_cast<double>(shifted - std::log(total)));
    }
  }
  return result;
}

std::vector<double> exponential(std::vector<double> values) {
  for (double& v : values) v = std::exp(v);
  return values;
}

const std::vector<Shape> shapes{{1},        {5},      {1, 1},         {3, 4},
                                {2, 3, 17}, {2, 257}, {2, 1, 2, 300}, {2, 2500}};

}  // namespace

TEST_CASE("softmax: values and shapes") {
  for (const DType dtype : float_types) {
    for (const Shape& shape : shapes) {
      CAPTURE(to_string(shape));
      const Tensor x = random_tensor(shape, dtype);
      const std::size_t columns = shape[shape.rank() - 1];
      const std::vector<double> expected = naive_log_softmax(x, columns);
      check_values(kernels::log_softmax(x), shape, dtype, expected, 8);
      check_values(kernels::softmax(x), shape, dtype, exponential(expected), 8);
      std::vector<double> lse;
      for (std::size_t i = 0; i < x.numel(); i += columns) lse.push_back(x.at(i) - expected[i]);
      check_values(kernels::logsumexp(x), shape.without(shape.rank() - 1), dtype, lse, 8);
    }
    for (const Shape& shape : {Shape{0}, Shape{0, 3}, Shape{3, 0}, Shape{2, 0, 3}}) {
      CHECK(kernels::log_softmax(Tensor::zeros(shape, dtype)).shape() == shape);
      const Shape rows = shape.without(shape.rank() - 1);
      check_values(kernels::logsumexp(Tensor::zeros(shape, dtype)), rows, dtype,
                   std::vector<double>(rows.numel(), -inf));  // log of an empty sum
      CHECK(kernels::softmax(Tensor::zeros(shape, dtype)).shape() == shape);
    }
  }
  CHECK_THROWS_AS(kernels::softmax(ids_of({2}, {1, 2})), DtypeError);
  CHECK_THROWS_AS(kernels::log_softmax(ids_of({2}, {1, 2})), DtypeError);
}

TEST_CASE("softmax: a large vocabulary keeps its digits, and threads do not matter" *
          doctest::test_suite("threads")) {
  for (const DType dtype : float_types) {
    const Tensor x = random_tensor({20, 10000}, dtype);
    const std::vector<double> expected = naive_log_softmax(x, 10000);
    check_values(kernels::log_softmax(x), x.shape(), dtype, expected, 8);
    const std::vector<double> p = values_of(kernels::softmax(x));
    for (std::size_t i = 0; i < p.size(); ++i) {
      REQUIRE(std::abs(p[i] / std::exp(expected[i]) - 1) < 20 * epsilon_of(dtype));
    }
    check_threads_do_not_matter([&] { return kernels::log_softmax(x); });
    check_threads_do_not_matter([&] { return kernels::softmax(x); });
    check_threads_do_not_matter([&] { return kernels::logsumexp(x); });
    check_threads_do_not_matter([&] { return kernels::softmax_backward(x, x); });
    check_threads_do_not_matter([&] { return kernels::minus_mean(x, x); });
    check_threads_do_not_matter([&] { return kernels::minus_share(x, x); });
  }
}

TEST_CASE("softmax: huge, masked and NaN rows, each without touching the others") {
  for (const DType dtype : float_types) {
    const double huge = dtype == DType::float32 ? 3e38 : 1e308;
    const Tensor x =
        Tensor::of({6, 2}, {huge, huge, huge, -1, -huge, -huge, -inf, 0, NAN, 1, 0, 0}, dtype);
    const double half = std::log(0.5);
    std::vector<double> expected{half, half, 0, -huge, half, half, -inf, 0, NAN, NAN, half, half};
    check_values(kernels::log_softmax(x), {6, 2}, dtype, expected, 2);
    check_values(kernels::softmax(x), {6, 2}, dtype, exponential(expected), 2);
    check_values(kernels::logsumexp(x), {6}, dtype,
                 {huge - half, huge, -huge - half, 0, NAN, -half}, 2);
    // inf / inf is not known; without a possible class every probability is 0.
    const Tensor lost = Tensor::of({4, 2}, {inf, 0, -inf, -inf, inf, NAN, inf, -inf}, dtype);
    check_values(kernels::softmax(lost), {4, 2}, dtype, {NAN, NAN, 0, 0, NAN, NAN, NAN, NAN});
    check_values(kernels::log_softmax(lost), {4, 2}, dtype,
                 {NAN, NAN, -inf, -inf, NAN, NAN, NAN, NAN});
    check_values(kernels::logsumexp(lost), {4}, dtype, {inf, -inf, NAN, inf});
    Tensor wide = random_tensor({3, 40}, dtype);
    wide.row(1).row(33).fill(NAN);
    const Tensor y = kernels::softmax(wide);
    for (std::size_t i = 0; i < 120; ++i) CHECK(std::isnan(y.at(i)) == (i / 40 == 1));
  }
}

TEST_CASE("softmax: backward of softmax and log softmax") {
  for (const DType dtype : float_types) {
    for (const Shape& shape : shapes) {
      const Tensor y = kernels::log_softmax(random_tensor(shape, dtype, 1));
      const Tensor dy = random_tensor(shape, dtype, 2);
      const std::size_t columns = shape[shape.rank() - 1];
      std::vector<double> of_log, of_softmax;
      for (std::size_t i = 0; i < y.numel(); ++i) {
        double total = 0, mean = 0;
        for (std::size_t j = i / columns * columns; j < (i / columns + 1) * columns; ++j) {
          total += dy.at(j);
          mean += dy.at(j) * std::exp(y.at(j));
        }
        of_log.push_back(dy.at(i) - std::exp(y.at(i)) * total);
        of_softmax.push_back(std::exp(y.at(i)) * (dy.at(i) - mean));
      }
      const Tensor p = kernels::softmax(random_tensor(shape, dtype, 1));
      check_values(kernels::minus_share(dy, p), shape, dtype, of_log, 64);
      check_values(kernels::softmax_backward(p, dy), shape, dtype, of_softmax, 16);
    }
    CHECK(
        kernels::minus_share(Tensor::zeros({0, 3}, dtype), Tensor::zeros({0, 3}, dtype)).shape() ==
        Shape{0, 3});
  }
}

TEST_CASE("cross entropy: mean over the counted rows, with and without probabilities") {
  for (const DType dtype : float_types) {
    const Tensor logits = random_tensor({2, 3, 5}, dtype);
    const Tensor ids = ids_of({2, 3}, {4, ignore, 0, 2, 2, ignore});
    const std::vector<double> log_p = naive_log_softmax(logits, 5);
    const double expected = -(log_p[4] + log_p[10] + log_p[17] + log_p[22]) / 4;
    for (const bool with : {true, false}) {
      const kernels::CrossEntropy result = kernels::cross_entropy(logits, {ids}, with);
      CHECK(result.total_weight == 4);
      check_values(result.loss, {}, dtype, {expected}, 4);
      CHECK(result.probabilities.defined() == with);
      std::vector<double> p = exponential(log_p);
      for (std::size_t i = 0; i < 30; ++i) p[i] = ids.at(i / 5) == ignore ? 0 : p[i];
      if (with) check_values(result.probabilities, {2, 3, 5}, dtype, p, 8);
    }
  }
}

TEST_CASE("cross entropy: weights and smoothing by the definition, loss and gradient") {
  const std::size_t classes = 5;
  const Tensor ids = ids_of({6}, {4, ignore, 0, 2, 1, 3});
  const std::vector<double> w{2, 7, 0, 0.5, 1, 3};
  const std::vector<double> c{0.5, 2, 0, 1.5, 3};
  const double s = 0.3;
  const kernels::CrossEntropyTargets targets{ids, ignore, Tensor::from<double>({6}, w),
                                             Tensor::from<double>({5}, c), s};
  for (const DType dtype : float_types) {
    Tensor logits = random_tensor({6, classes}, dtype);
    for (const std::size_t row : {1U, 2U}) logits.row(row).fill(NAN);  // do not count
    const std::vector<double> log_p = naive_log_softmax(logits, classes);
    double total = 0, loss = 0;
    std::vector<double> gradient(30, 0.0), factors(30, 0.0);
    for (const std::size_t row : {0U, 3U, 4U, 5U}) {
      const auto k = static_cast<std::size_t>(ids.at(row));
      total += w[row] * c[k];
      double of_row = 0;
      for (std::size_t j = 0; j < classes; ++j) {
        const double m = w[row] * c[j] * ((j == k ? 1 - s : 0) + s / 5);
        factors[row * classes + j] = m;
        of_row += m;
        loss -= m * log_p[row * classes + j];
      }
      for (std::size_t j = row * classes; j < (row + 1) * classes; ++j) {
        gradient[j] = of_row * std::exp(log_p[j]) - factors[j];
      }
    }
    for (double& g : gradient) g *= 0.6 / total;
    for (double& m : factors) m /= total;
    const kernels::CrossEntropy result = kernels::cross_entropy(logits, targets, true);
    CHECK(result.total_weight == doctest::Approx(total / 4).epsilon(1e-15));  // w / 2, c / 2
    check_values(result.loss, {}, dtype, {loss / total}, 8);
    check_values(
        kernels::cross_entropy_backward(result.probabilities, targets, result.total_weight, 0.6),
        {6, 5}, dtype, gradient, 8);
    check_values(kernels::cross_entropy_factors(logits.shape(), targets), {6, 5}, DType::float64,
                 factors, 8);
  }
}

TEST_CASE("cross entropy: gradient is probabilities minus one hot, 0 in ignored rows") {
  for (const DType dtype : float_types) {
    Tensor p = kernels::softmax(random_tensor({4, 3}, dtype));
    const std::vector<double> before = values_of(p);
    p.row(1).fill(NAN);  // of an ignored row: not read
    const Tensor ids = ids_of({4}, {2, ignore, 0, 0});
    std::vector<double> expected;
    for (std::size_t i = 0; i < 12; ++i) {
      const double one_hot = i == 2 || i == 6 || i == 9 ? 1 : 0;
      expected.push_back(i / 3 == 1 ? 0 : (before[i] - one_hot) * 0.6 / 3);
    }
    check_values(kernels::cross_entropy_backward(p, {ids}, 3, 0.6), {4, 3}, dtype, expected, 8);
  }
}

TEST_CASE("cross entropy: nothing counts, nothing there") {
  for (const DType dtype : float_types) {
    for (const Shape& shape : {Shape{2, 3}, Shape{0, 3}, Shape{2, 0}}) {
      const Tensor logits = Tensor::full(shape, NAN, dtype);
      const Tensor ids = Tensor::full(shape.without(1), ignore, DType::int32);
      for (const bool with : {true, false}) {
        const kernels::CrossEntropy result = kernels::cross_entropy(logits, {ids}, with);
        CHECK(result.total_weight == 0);
        CHECK(result.loss.item() == 0);
      }
      const Tensor dx = kernels::cross_entropy_backward(logits, {ids}, 0, 1);
      check_values(dx, shape, dtype, std::vector<double>(shape.numel(), 0));
    }
  }
}

TEST_CASE("cross entropy: an ignored NaN row changes nothing; a counted one shows") {
  const Tensor logits = Tensor::of({2, 2}, {NAN, 1, 0, 0});
  const auto loss = [](const Tensor& x, const Tensor& ids) {
    return kernels::cross_entropy(x, {ids}, true).loss.item();
  };
  CHECK(loss(logits, ids_of({2}, {ignore, 1})) == doctest::Approx(std::log(2.0)).epsilon(1e-7));
  CHECK(std::isnan(loss(logits, ids_of({2}, {1, 1}))));
  // An impossible target costs infinitely much, and certainty nothing.
  const Tensor sure = Tensor::of({1, 2}, {-inf, 0});
  CHECK(loss(sure, ids_of({1}, {0})) == inf);
  CHECK(loss(sure, ids_of({1}, {1})) == 0);
  CHECK(loss(Tensor::of({1, 2}, {-inf, -inf}), ids_of({1}, {0})) == inf);
  CHECK(std::isnan(loss(Tensor::of({1, 2}, {-inf, NAN}), ids_of({1}, {0}))));
}

TEST_CASE("cross entropy: one row without leading axes; other values of ignore") {
  const Tensor logits = Tensor::of({3}, {1, 2, 3}, DType::float64);
  const double expected = -naive_log_softmax(logits, 3)[1];
  CHECK(kernels::cross_entropy(logits, {ids_of({}, {1})}, true).loss.item() ==
        doctest::Approx(expected).epsilon(1e-15));
  CHECK(kernels::cross_entropy(logits, {ids_of({}, {1}), 1}, true).total_weight == 0);
}

TEST_CASE("cross entropy: bits do not depend on threads" * doctest::test_suite("threads")) {
  const Tensor logits = random_tensor({700, 101}, DType::float32);
  Tensor ids = Tensor::zeros({700}, DType::int32);
  for (std::size_t i = 0; i < 700; ++i) {
    ids.mutable_data<std::int32_t>()[i] = static_cast<std::int32_t>(i % 101);
  }
  const auto forward = [&] { return kernels::cross_entropy(logits, {ids, 0}, true); };
  check_threads_do_not_matter([&] { return forward().loss; });
  check_threads_do_not_matter([&] { return forward().probabilities; });
  check_threads_do_not_matter([&] {
    return kernels::cross_entropy_backward(logits, {ids, 0}, 693, 1);
  });
}

TEST_CASE_TEMPLATE("softmax: parts of it on every instruction set", T, float, double) {
  constexpr T most = std::numeric_limits<T>::infinity();
  const T special[] = {most, -most, std::numeric_limits<T>::quiet_NaN(), 1, 1, 2};
  for_targets([&](const std::string& target) {
    CAPTURE(target);
    Rng rng(1, "softmax");
    for (std::size_t n = 0; n < 150; ++n) {
      CAPTURE(n);
      std::vector<T> x(n), y(n);
      for (T& v : x) {
        const auto pick = static_cast<std::size_t>(rng.below(n % 4 == 0 ? 8 : 40));
        v = pick < std::size(special) && n % 4 != 1 ? special[pick]
                                                    : static_cast<T>(rng.uniform() - 0.5);
      }
      std::size_t largest = n;
      for (std::size_t i = 0; i < n; ++i) {
        if (x[i] > (largest == n ? -most : x[largest])) largest = i;
      }
      CHECK(kernels::first_largest(x.data(), n) == largest);

      kernels::shifted_exponentials(x.data(), n, T{0.25}, y.data());
      std::vector<T> shifted(n), expected(n);
      for (std::size_t i = 0; i < n; ++i) shifted[i] = x[i] - T{0.25};
      kernels::vector_exp(shifted.data(), expected.data(), n);
      double lanes[16] = {};
      for (std::size_t i = 0; i < n; ++i) {
        CHECK((y[i] == expected[i] || (std::isnan(y[i]) && std::isnan(expected[i]))));
        if (!(y[i] < most)) y[i] = T{0.5};
        lanes[i % 16] += static_cast<double>(y[i]);
      }
      for (std::size_t half = 8; half > 0; half /= 2) {
        for (std::size_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
      }
      CHECK(kernels::sum_in_double(y.data(), n) == lanes[0]);

      kernels::divide_in_place(y.data(), n, T{3});
      for (std::size_t i = 0; i < n; ++i) {
        CHECK(y[i] == (expected[i] < most ? expected[i] : T{0.5}) / T{3});
      }
    }
  });
}
