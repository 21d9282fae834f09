#include <doctest/doctest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "../../core/error.h"
#include "../../core/kernels/gemm.h"
#include "../../core/kernels/indexing.h"
#include "../support/is_worse.h"
#include "../support/kernel_cases.h"

TEST_SUITE_BEGIN("numerics");

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::array both{Transpose::no, Transpose::yes};

/// A matrix with rows `stride` apart, and what must not be touched between them.
template <class T>
struct Strided {
  std::size_t rows, columns, stride;
  std::vector<T> values;

  Strided(std::size_t m, std::size_t n, std::size_t gap, std::uint64_t seed)
      : rows(m), columns(n), stride(n + gap), values(m * stride, T{99}) {
    Rng rng(seed);
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) values[i * stride + j] = static_cast<T>(rng.normal());
    }
  }
  /// Row-major (rows, columns), or the transpose of that.
  std::vector<double> dense(Transpose t = Transpose::no) const {
    std::vector<double> all(rows * columns);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        all[t == Transpose::yes ? j * rows + i : i * columns + j] =
            static_cast<double>(values[i * stride + j]);
      }
    }
    return all;
  }
};

struct Sizes {
  std::size_t m, n, k;
};

const std::vector<Sizes> sizes{{1, 1, 1},   {1, 7, 5},    {6, 1, 5},    {3, 4, 1},  {0, 3, 2},
                               {3, 0, 2},   {3, 4, 0},    {0, 0, 0},    {5, 6, 7},  {16, 16, 16},
                               {33, 17, 9}, {64, 48, 31}, {100, 3, 50}, {2, 90, 40}};

template <class T>
void check_gemm(Transpose ta, Transpose tb, Sizes s, std::size_t gap, double alpha, double beta) {
  CAPTURE(s.m);
  CAPTURE(s.n);
  CAPTURE(s.k);
  CAPTURE(alpha);
  CAPTURE(beta);
  const bool a_turned = ta == Transpose::yes, b_turned = tb == Transpose::yes;
  const Strided<T> a(a_turned ? s.k : s.m, a_turned ? s.m : s.k, gap, 1);
  const Strided<T> b(b_turned ? s.n : s.k, b_turned ? s.k : s.n, gap, 2);
  Strided<T> c(s.m, s.n, gap, 3);
  const Strided<T> before = c;
  if (beta == 0) {  // must not be read
    for (std::size_t i = 0; i < s.m; ++i) {
      std::fill_n(c.values.begin() + static_cast<std::ptrdiff_t>(i * c.stride), s.n,
                  std::numeric_limits<T>::quiet_NaN());
    }
  }
  kernels::gemm<T>(ta, tb, s.m, s.n, s.k, static_cast<T>(alpha), a.values.data(), a.stride,
                   b.values.data(), b.stride, static_cast<T>(beta), c.values.data(), c.stride);
  const std::vector<double> left = a.dense(ta), right = b.dense(tb), added = before.dense();
  const std::vector<double> result = c.dense();
  std::vector<double> product(s.n);
  double worst = 0;
  for (std::size_t i = 0; i < s.m; ++i) {
    std::fill(product.begin(), product.end(), 0.0);
    for (std::size_t l = 0; l < s.k; ++l) {
      const double x = left[i * s.k + l];
      const double* const row = right.data() + l * s.n;
      double* const sums = product.data();
      for (std::size_t j = 0; j < s.n; ++j) sums[j] += x * row[j];
    }
    for (std::size_t j = 0; j < s.n; ++j) {
      const double expected = alpha * product[j] + beta * added[i * s.n + j];
      const double error = std::abs(result[i * s.n + j] - expected);
      if (is_worse(error, worst)) worst = error;
    }
    for (std::size_t j = s.n; j < c.stride; ++j) CHECK(c.values[i * c.stride + j] == 99);
  }
  CHECK(worst <= 8 * static_cast<double>(s.k + 2) * epsilon_of(dtype_of<T>));
}

}  // namespace

TEST_CASE("gemm: all transposes, sizes, strides and factors against the definition") {
  for (const Transpose ta : both) {
    for (const Transpose tb : both) {
      for (const Sizes& s : sizes) {
        for (const std::size_t gap : {0U, 3U}) {
          for (const double alpha : {1.0, -0.5, 0.0}) {
            for (const double beta : {0.0, 1.0, 0.5}) {
              check_gemm<float>(ta, tb, s, gap, alpha, beta);
              check_gemm<double>(ta, tb, s, gap, alpha, beta);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("gemm: products large enough for blocks, by rows and by columns") {
  for (const Transpose ta : both) {
    for (const Transpose tb : both) {
      for (const Sizes& s : {Sizes{700, 65, 70}, Sizes{65, 700, 70}, Sizes{520, 520, 20},
                             Sizes{500, 130, 400}, Sizes{13, 70, 7000}}) {
        for (const double beta : {0.0, 1.0}) {
          check_gemm<float>(ta, tb, s, 3, 1, beta);
          check_gemm<double>(ta, tb, s, 3, 1, beta);
        }
      }
    }
  }
}

TEST_CASE("gemm: the bits do not depend on threads" * doctest::test_suite("threads")) {
  for (const DType dtype : float_types) {
    for (const Transpose t : both) {
      const Tensor a = random_tensor({801, 120}, dtype, 1), b = random_tensor({120, 120}, dtype, 2);
      const Tensor wide = random_tensor({120, 801}, dtype, 3);
      check_threads_do_not_matter([&] { return kernels::matmul(a, b, Transpose::no, t); });
      check_threads_do_not_matter([&] { return kernels::matmul(wide, b, Transpose::yes, t); });
      check_threads_do_not_matter([&] { return kernels::matmul(b, wide, t); });
      check_threads_do_not_matter([&] { return kernels::matmul(b, a, t, Transpose::yes); });
    }
  }
}

TEST_CASE("gemm: OpenBLAS makes large products of tensors, to the same result") {
  constexpr std::size_t k = 1024;
  for (const auto& [m, n] : {std::pair<std::size_t, std::size_t>{1000, 1000}, {260, 4000}}) {
    for (const DType dtype : float_types) {
      const Tensor a = random_tensor({m, k}, dtype, 1), b = random_tensor({k, n}, dtype, 2);
      for (const Transpose ta : both) {
        const Tensor left = ta == Transpose::yes ? kernels::transpose(a, 0, 1) : a;
        const Tensor theirs = kernels::matmul(left, b, ta);
        Tensor ours = Tensor::empty({m, n}, dtype);
        kernels::gemm(ta, Transpose::no, 1, left, b, 0, ours);
        check_values(ours, theirs.shape(), dtype, values_of(theirs), 2 * 8 * (k + 2));
      }
    }
  }
}

TEST_CASE("gemm: tensors") {
  for (const DType dtype : float_types) {
    const Tensor a = Tensor::of({2, 3}, {1, 2, 3, 4, 5, 6}, dtype);
    const Tensor b = Tensor::of({3, 2}, {1, 0, 0, 1, 1, 1}, dtype);
    check_values(kernels::matmul(a, b), {2, 2}, dtype, {4, 5, 10, 11});
    check_values(kernels::matmul(a, a, Transpose::no, Transpose::yes), {2, 2}, dtype,
                 {14, 32, 32, 77});
    check_values(kernels::matmul(a, a, Transpose::yes), {3, 3}, dtype,
                 {17, 22, 27, 22, 29, 36, 27, 36, 45});
    check_values(kernels::matmul(a, b, Transpose::yes, Transpose::yes), {3, 3}, dtype,
                 {1, 4, 5, 2, 5, 7, 3, 6, 9});
    Tensor c = Tensor::full({2, 2}, 100, dtype);
    const std::uint32_t version = c.version();
    kernels::gemm(Transpose::no, Transpose::no, 2, a, b, 0.5, c);
    check_values(c, {2, 2}, dtype, {58, 60, 70, 72});
    CHECK(c.version() == version + 1);
    check_values(kernels::matmul(Tensor::zeros({2, 0}, dtype), Tensor::zeros({0, 3}, dtype)),
                 {2, 3}, dtype, {0, 0, 0, 0, 0, 0});
    check_values(kernels::matmul(Tensor::zeros({0, 2}, dtype), a), {0, 3}, dtype, {});
  }
  Tensor c = Tensor::zeros({1, 1});
  const Tensor single = Tensor::zeros({1, 1}), twice = Tensor::zeros({1, 1}, DType::float64);
  CHECK_THROWS_AS(kernels::matmul(single, twice), DtypeError);
  CHECK_THROWS_AS(kernels::matmul(ids_of({1, 1}, {1}), ids_of({1, 1}, {1})), DtypeError);
  CHECK_THROWS_AS(kernels::gemm(Transpose::no, Transpose::no, 1, twice, twice, 0, c), DtypeError);
}

TEST_CASE("gemm: strides that are shorter than a row") {
  float one = 1, c = 5;
  const auto product = [&](std::size_t m, std::size_t n, std::size_t k, std::size_t lda,
                           std::size_t ldb, std::size_t ldc) {
    kernels::gemm<float>(Transpose::no, Transpose::no, m, n, k, 1, &one, lda, &one, ldb, 0, &c,
                         ldc);
  };
  CHECK_THROWS_WITH_AS(product(1, 1, 2, 1, 1, 1),
                       "[gemm] lda = 1 but a stored row has 2 elements: it must be at least that",
                       ShapeError);
  CHECK_THROWS_WITH_AS(product(1, 2, 1, 1, 1, 2),
                       "[gemm] ldb = 1 but a stored row has 2 elements: it must be at least that",
                       ShapeError);
  CHECK_THROWS_WITH_AS(product(1, 2, 1, 1, 2, 1),
                       "[gemm] ldc = 1 but a stored row has 2 elements: it must be at least that",
                       ShapeError);
  CHECK(c == 5);
}

TEST_SUITE_END();
