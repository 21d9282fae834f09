#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "../../core/error.h"
#include "../../core/kernels/elementwise.h"
#include "../../core/kernels/gemm.h"
#include "../../core/kernels/indexing.h"
#include "../../core/kernels/reduce.h"
#include "../../core/kernels/softmax.h"
#include "../support/kernel_cases.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Binary = std::function<double(double, double)>;

struct NamedBinary {
  const char* name;
  Tensor (*kernel)(const Tensor&, const Tensor&);
  Binary exact;
};

const std::vector<NamedBinary> binaries{{"add", kernels::add, std::plus<>()},
                                        {"sub", kernels::sub, std::minus<>()},
                                        {"mul", kernels::mul, std::multiplies<>()},
                                        {"div", kernels::div, std::divides<>()}};

/// Operand shapes and what comes out.
struct Broadcast {
  Shape a, b, result;
};

const std::vector<Broadcast> broadcasts{
    {{}, {}, {}},
    {{1}, {1}, {1}},
    {{0}, {0}, {0}},
    {{}, {0}, {0}},
    {{0, 3}, {3}, {0, 3}},
    {{3, 0}, {0}, {3, 0}},
    {{1}, {1, 1}, {1, 1}},
    {{7}, {}, {7}},
    {{}, {2, 3}, {2, 3}},
    {{1}, {5, 1}, {5, 1}},
    {{3}, {1, 3}, {1, 3}},
    {{2, 3, 4}, {4}, {2, 3, 4}},
    {{3, 4}, {2, 3, 4}, {2, 3, 4}},
    {{2, 3, 4, 5}, {2, 3, 4, 5}, {2, 3, 4, 5}},
    {{33}, {9, 33}, {9, 33}},
};

/// What every unary kernel is fed: signs, zeros, ties, and the special values.
Tensor unary_cases(DType dtype) {
  return Tensor::of({3, 7}, {-3,  -1,  -0.5, -0.0, 0.0, 0.25, 1,   2,    3,    10,  -10,
                             inf, NAN, 0.1,  -0.1, 30,  -30,  0.7, -0.7, -inf, 1e-3},
                    dtype);
}

void check_unary(Tensor (*kernel)(const Tensor&), double (*exact)(double), double roundings) {
  for (const DType dtype : float_types) {
    const Tensor x = unary_cases(dtype);
    std::vector<double> expected = values_of(x);
    std::transform(expected.begin(), expected.end(), expected.begin(), exact);
    check_values(kernel(x), x.shape(), dtype, expected, roundings);
    CHECK(kernel(Tensor::empty({2, 0}, dtype)).shape() == Shape{2, 0});
    CHECK(kernel(Tensor::scalar(0.5, dtype)).shape() == Shape{});
  }
  CHECK_THROWS_AS(kernel(ids_of({1}, {1})), DtypeError);
}

/// The sum of x over everything but (outer, inner), by the definition.
std::vector<double> naive_sum(const Tensor& x, std::size_t outer, std::size_t n,
                              std::size_t inner) {
  std::vector<long double> result(outer * inner, 0);
  for (std::size_t o = 0; o < outer; ++o) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < inner; ++j)
        result[o * inner + j] += x.at((o * n + i) * inner + j);
    }
  }
  return {result.begin(), result.end()};
}

struct Around {
  Shape shape;
  std::size_t axis, outer, n, inner;
};

const std::vector<Around> around_axes{
    {{5}, 0, 1, 5, 1},
    {{0}, 0, 1, 0, 1},
    {{1}, 0, 1, 1, 1},
    {{3, 4}, 0, 1, 3, 4},
    {{3, 4}, 1, 3, 4, 1},
    {{0, 4}, 0, 1, 0, 4},
    {{0, 4}, 1, 0, 4, 1},
    {{3, 0}, 1, 3, 0, 1},
    {{2, 3, 4, 5}, 1, 2, 3, 20},
    {{2, 3, 4, 5}, 2, 6, 4, 5},
    {{300, 129}, 0, 1, 300, 129},
    {{2, 2100}, 1, 2, 2100, 1},
};

}  // namespace

TEST_CASE("elementwise: two operands, equal shapes and broadcasting from either side") {
  for (const DType dtype : float_types) {
    for (const NamedBinary& f : binaries) {
      for (const Broadcast& shapes : broadcasts) {
        CAPTURE(f.name);
        CAPTURE(to_string(shapes.a));
        CAPTURE(to_string(shapes.b));
        const Tensor a = random_tensor(shapes.a, dtype, 1);
        const Tensor b = random_tensor(shapes.b, dtype, 2);
        std::vector<double> expected(shapes.result.numel());
        for (std::size_t i = 0; i < expected.size(); ++i) {
          expected[i] = f.exact(a.at(i % a.numel()), b.at(i % b.numel()));
        }
        check_values(f.kernel(a, b), shapes.result, dtype, expected, 1);
      }
    }
  }
}

TEST_CASE("elementwise: dtypes are never mixed") {
  const Tensor single = Tensor::full({2}, 1), twice = Tensor::full({2}, 1, DType::float64);
  for (const NamedBinary& f : binaries) {
    CHECK_THROWS_AS(f.kernel(single, twice), DtypeError);
    CHECK_THROWS_AS(f.kernel(twice, single), DtypeError);
    CHECK_THROWS_AS(f.kernel(twice, Tensor::scalar(1)), DtypeError);
    CHECK_THROWS_AS(f.kernel(Tensor::scalar(1), twice), DtypeError);
    CHECK_THROWS_WITH_AS(
        f.kernel(ids_of({2}, {1, 2}), ids_of({2}, {1, 2})),
        "[Tensor] the elements are int32 but float32 was asked for: convert with to()", DtypeError);
  }
}

TEST_CASE("elementwise: one operand, special values included") {
  check_unary(
      kernels::neg, [](double x) { return -x; }, 0);
  check_unary(
      kernels::exp, [](double x) { return std::exp(x); }, 4);
  check_unary(
      kernels::log, [](double x) { return std::log(x); }, 4);
  check_unary(
      kernels::sqrt, [](double x) { return std::sqrt(x); }, 1);
  check_unary(
      kernels::square, [](double x) { return x * x; }, 1);
  check_unary(
      kernels::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, 8);
  check_unary(
      kernels::tanh, [](double x) { return std::tanh(x); }, 8);
  check_unary(
      kernels::sigmoid_slope,
      [](double x) { return std::exp(-std::abs(x)) / std::pow(1 + std::exp(-std::abs(x)), 2); }, 8);
  check_unary(
      kernels::tanh_slope, [](double x) { return std::pow(std::cosh(x), -2); }, 8);
  check_unary(
      kernels::relu, [](double x) { return x < 0 ? 0 : x; }, 0);  // NaN stays NaN
  check_unary(
      kernels::is_positive, [](double x) { return x <= 0 ? 0.0 : 1.0; }, 0);  // 1 at NaN
}

TEST_CASE("elementwise: scale and add_scalar round the number to the dtype first") {
  for (const DType dtype : float_types) {
    const Tensor x = unary_cases(dtype);
    const double third = Tensor::scalar(1.0 / 3, dtype).item();
    std::vector<double> scaled = values_of(x), added = values_of(x);
    for (double& v : scaled) v *= third;
    for (double& v : added) v += third;
    check_values(kernels::scale(x, 1.0 / 3), x.shape(), dtype, scaled, 1);
    check_values(kernels::add_scalar(x, 1.0 / 3), x.shape(), dtype, added, 1);
  }
}

TEST_CASE("elementwise: relu's backward from the result") {
  for (const DType dtype : float_types) {
    const Tensor y = random_tensor({4, 9}, dtype, 1), dy = random_tensor({4, 9}, dtype, 2);
    std::vector<double> relu;
    for (std::size_t i = 0; i < y.numel(); ++i) relu.push_back(y.at(i) > 0 ? dy.at(i) : 0);
    check_values(kernels::relu_backward(y, dy), y.shape(), dtype, relu);
  }
  const Tensor zero = Tensor::of({2}, {0.0, -0.0});
  CHECK(values_of(kernels::relu_backward(zero, Tensor::full({2}, NAN))) ==
        std::vector<double>{0, 0});
}

TEST_CASE("elementwise: accumulate adds in place and raises the version") {
  for (const DType dtype : float_types) {
    Tensor total = Tensor::of({3}, {1, 2, 3}, dtype);
    const Tensor alias = total;
    kernels::accumulate(total, Tensor::of({3}, {10, 20, 30}, dtype));
    check_values(alias, {3}, dtype, {11, 22, 33});
    CHECK(total.version() == 1);
    kernels::accumulate(total, total);
    check_values(alias, {3}, dtype, {22, 44, 66});
    CHECK_THROWS_AS(kernels::accumulate(total, ids_of({3}, {1, 2, 3})), DtypeError);
  }
}

TEST_CASE("elementwise: large tensors are right and do not depend on threads" *
          doctest::test_suite("threads")) {
  const Tensor x = random_tensor({3, 1000, 101}, DType::float32, 1);
  const Tensor y = random_tensor({3, 1000, 101}, DType::float32, 2);
  const Tensor row = random_tensor({101}, DType::float32, 3);
  check_threads_do_not_matter([&] { return kernels::add(x, y); });
  check_threads_do_not_matter([&] { return kernels::sub(row, x); });
  check_threads_do_not_matter([&] { return kernels::div(x, Tensor::scalar(3)); });
  check_threads_do_not_matter([&] { return kernels::tanh(x); });
  check_threads_do_not_matter([&] {
    Tensor total = x.clone();
    kernels::accumulate(total, y);
    return total;
  });
  set_threads(2);
  const Tensor sum = kernels::add(x, y), difference = kernels::sub(row, x);
  set_threads(1);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < x.numel(); ++i) {
    const auto at = [i](const Tensor& t) { return t.data<float>()[i % t.numel()]; };
    if (at(sum) != at(x) + at(y) || at(difference) != at(row) - at(x)) ++wrong;
  }
  CHECK(wrong == 0);
}

// The bound of 512 roundings is for terms that cancel: their sizes add up to 240 where n = 300,
// their sum is near 0. What the order of summation is worth is tested with terms that do not
// cancel.
TEST_CASE("reduce: sum over each axis, over all, and to a suffix") {
  for (const DType dtype : float_types) {
    for (const Around& c : around_axes) {
      CAPTURE(to_string(c.shape));
      CAPTURE(c.axis);
      const Tensor x = random_tensor(c.shape, dtype);
      check_values(kernels::sum(x, c.axis), c.shape.without(c.axis), dtype,
                   naive_sum(x, c.outer, c.n, c.inner), 512);
      check_values(kernels::sum(x), {}, dtype, naive_sum(x, 1, x.numel(), 1), 512);
      Shape suffix = c.shape;
      for (std::size_t n = 1; true; suffix = suffix.without(0)) {
        check_values(kernels::sum_to(x, suffix), suffix, dtype, naive_sum(x, 1, n, suffix.numel()),
                     2048);
        if (suffix.rank() == 0) break;
        n *= suffix[0];
      }
    }
    CHECK(kernels::sum(Tensor::scalar(3, dtype)).item() == 3);
  }
  CHECK_THROWS_AS(kernels::sum(ids_of({2}, {1, 2})), DtypeError);
}

TEST_CASE("reduce: the result never shares elements with the argument") {
  const Tensor x = random_tensor({2, 3}, DType::float32);
  CHECK_FALSE(kernels::sum_to(x, {2, 3}).shares_elements_with(x));
  CHECK_FALSE(kernels::broadcast(x, {2, 3}).shares_elements_with(x));
}

TEST_CASE("reduce: long sums keep their digits") {
  const std::size_t n = (std::size_t{1} << 22) + 3;
  // float32: adding one by one in float stops at 2^24 / 0.1.
  const double tenth = Tensor::scalar(0.1).item();
  const double exact = static_cast<double>(n) * tenth;
  CHECK(kernels::sum(Tensor::full({n}, 0.1)).item() == static_cast<float>(exact));
  CHECK(kernels::sum(Tensor::full({n, 2}, 0.1), 0).at(1) == static_cast<float>(exact));
  // float64: one by one the error is about 1e-10 of the sum here.
  const Tensor twice = Tensor::full({n}, 0.1, DType::float64);
  const auto long_exact = static_cast<double>(static_cast<long double>(0.1) * n);
  CHECK(std::abs(kernels::sum(twice).item() / long_exact - 1) < 2e-15);
  const Tensor columns = kernels::sum(Tensor::full({n, 2}, 0.1, DType::float64), 0);
  CHECK(std::abs(columns.at(1) / long_exact - 1) < 1e-12);
}

TEST_CASE("reduce: NaN and infinity come through") {
  for (const DType dtype : float_types) {
    CHECK(std::isnan(kernels::sum(Tensor::of({3}, {1, NAN, 2}, dtype)).item()));
    CHECK(std::isnan(kernels::sum(Tensor::of({2}, {inf, -inf}, dtype)).item()));
    CHECK(kernels::sum(Tensor::of({2}, {inf, 1}, dtype)).item() == inf);
    CHECK(std::isnan(kernels::norm(Tensor::of({3}, {1, NAN, 2}, dtype))));
    CHECK(std::isnan(kernels::norm(Tensor::of({3}, {inf, NAN, 2}, dtype))));
    CHECK(kernels::norm(Tensor::of({3}, {1, -inf, 2}, dtype)) == inf);
  }
}

TEST_CASE("reduce: repeat and broadcast") {
  for (const DType dtype : float_types) {
    const Tensor x = Tensor::of({2, 2}, {1, 2, 3, 4}, dtype);
    check_values(kernels::repeat(x, 0, 2), {2, 2, 2}, dtype, {1, 2, 3, 4, 1, 2, 3, 4});
    check_values(kernels::repeat(x, 1, 2), {2, 2, 2}, dtype, {1, 2, 1, 2, 3, 4, 3, 4});
    check_values(kernels::repeat(x, 2, 2), {2, 2, 2}, dtype, {1, 1, 2, 2, 3, 3, 4, 4});
    check_values(kernels::repeat(x, 1, 0), {2, 0, 2}, dtype, {});
    check_values(kernels::repeat(Tensor::scalar(5, dtype), 0, 3), {3}, dtype, {5, 5, 5});
    check_values(kernels::broadcast(x, {2, 2, 2}), {2, 2, 2}, dtype, {1, 2, 3, 4, 1, 2, 3, 4});
    check_values(kernels::broadcast(x, {2, 2}), {2, 2}, dtype, {1, 2, 3, 4});
    check_values(kernels::broadcast(Tensor::scalar(5, dtype), {2, 2}), {2, 2}, dtype, {5, 5, 5, 5});
    check_values(kernels::broadcast(x, {0, 2, 2}), {0, 2, 2}, dtype, {});
    check_values(kernels::broadcast(Tensor::zeros({0}, dtype), {3, 0}), {3, 0}, dtype, {});
  }
}

TEST_CASE("reduce: norm over the whole range of numbers") {
  for (const DType dtype : float_types) {
    CHECK(kernels::norm(Tensor::of({2}, {3, -4}, dtype)) == 5);
    CHECK(kernels::norm(Tensor::zeros({5}, dtype)) == 0);
    CHECK(kernels::norm(Tensor::zeros({0}, dtype)) == 0);
    CHECK(kernels::norm(Tensor::scalar(-2, dtype)) == 2);
    const double largest =
        dtype == DType::float32 ? double{std::numeric_limits<float>::max()} : 1.0e308;
    const double least = dtype == DType::float32 ? double{std::numeric_limits<float>::denorm_min()}
                                                 : std::numeric_limits<double>::denorm_min();
    CHECK(kernels::norm(Tensor::of({2}, {0.6 * largest, -0.8 * largest}, dtype)) ==
          doctest::Approx(largest).epsilon(1e-7));
    CHECK(kernels::norm(Tensor::full({1}, largest, dtype)) == largest);
    CHECK(kernels::norm(Tensor::of({2}, {3 * least, 4 * least}, dtype)) == 5 * least);
  }
  for (const double size : {1e-320, 1e-300, 1e-200, 1e-140, 1e-130, 1.0, 1e140, 1e160, 1e305}) {
    CAPTURE(size);
    const Tensor x = Tensor::full({100, 100}, size, DType::float64);
    CHECK(std::abs(kernels::norm(x) / 100 - size) <= 1e-15 * size + 5e-324);
  }
  CHECK_THROWS_AS(kernels::norm(ids_of({1}, {1})), DtypeError);
}

TEST_CASE("kernels: nothing is done 2^50 times where there are no elements") {
  const std::size_t endless = std::size_t{1} << 50;
  for (const Shape& shape : {Shape{endless, 3, 0}, Shape{0, 3, endless}, Shape{endless, 0, 3}}) {
    const Tensor x = Tensor::zeros(shape), none = Tensor::zeros(shape, DType::int32);
    Tensor total = x.clone();
    CHECK(kernels::cumsum(x, 1, false).shape() == shape);
    CHECK(kernels::slice(x, 1, 0, shape[1]).shape() == shape);
    kernels::add_slice(total, x, 1, 0);
    const std::array<Tensor, 2> parts{x, x};
    CHECK(kernels::concat(parts, 1).shape() == shape.with(1, 2 * shape[1]));
    CHECK(kernels::gather(x, 1, none).shape() == shape);
    kernels::scatter_add(total, 1, none, x);
    CHECK(kernels::softmax(x).shape() == shape);
    CHECK(kernels::log_softmax(x).shape() == shape);
    CHECK(kernels::softmax_backward(x, x).shape() == shape);
    CHECK(kernels::minus_mean(x, x).shape() == shape);
    CHECK(kernels::minus_share(x, x).shape() == shape);
    if (shape[1] != 0) {
      CHECK(kernels::argmax(x, 1).shape() == shape.without(1));
    }
  }
  const Tensor products =
      kernels::matmul(Tensor::zeros({endless, 0, 3}), Tensor::zeros({endless, 3, 0}));
  CHECK(products.shape() == Shape{endless, 0, 0});
  check_values(kernels::logsumexp(Tensor::zeros({3, 0})), {3}, DType::float32, {-inf, -inf, -inf});
}
