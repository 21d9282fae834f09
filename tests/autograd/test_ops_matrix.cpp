#include <doctest/doctest.h>

#include <string>

#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../support/kernel_cases.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::array both{Transpose::no, Transpose::yes};

/// The matrix's axes behind leading ones, exchanged if it is to be read transposed.
Shape operand(std::vector<std::size_t> lead, std::size_t rows, std::size_t columns, Transpose t) {
  lead.push_back(t == Transpose::no ? rows : columns);
  lead.push_back(t == Transpose::no ? columns : rows);
  return Shape(lead);
}

double element(const Tensor& x, std::size_t matrix, std::size_t i, std::size_t j, Transpose t) {
  const std::size_t rows = x.size(x.rank() - 2), columns = x.size(x.rank() - 1);
  if (x.rank() == 2) matrix = 0;  // one for all
  return x.at(matrix * rows * columns + (t == Transpose::no ? i * columns + j : j * columns + i));
}

struct Stack {
  std::vector<std::size_t> lead_a, lead_b;
  std::size_t m, n, k;
};

void check_product(const Stack& s, Transpose ta, Transpose tb, DType dtype) {
  const Tensor a = random_tensor(operand(s.lead_a, s.m, s.k, ta), dtype, 1);
  const Tensor b = random_tensor(operand(s.lead_b, s.k, s.n, tb), dtype, 2);
  const Shape shape = operand(s.lead_a, s.m, s.n, Transpose::no);
  std::vector<double> expected(shape.numel(), 0);
  for (std::size_t at = 0; at < expected.size(); ++at) {
    const std::size_t matrix = at / (s.m * s.n), i = at / s.n % s.m, j = at % s.n;
    for (std::size_t l = 0; l < s.k; ++l) {
      expected[at] += element(a, matrix, i, l, ta) * element(b, matrix, l, j, tb);
    }
  }
  check_values(matmul(a, b, ta, tb).value(), shape, dtype, expected,
               8 * static_cast<double>(s.k + 2));
}

}  // namespace

TEST_CASE("gradcheck: matmul in all four transpositions: two matrices, stacks, a stack and one" *
          doctest::test_suite("gradients")) {
  using Lead = std::vector<std::size_t>;
  const std::vector<std::pair<Lead, Lead>> leads = {
      {{}, {}}, {{2}, {2}}, {{2, 2}, {2, 2}}, {{2}, {}}, {{2, 1}, {}}};
  for (const auto& [lead_a, lead_b] : leads) {
    for (const Transpose ta : both) {
      for (const Transpose tb : both) {
        check_op("matmul", [=](In x) { return Out{matmul(x[0], x[1], ta, tb)}; },
                 {operand(lead_a, 2, 3, ta), operand(lead_b, 3, 2, tb)});
      }
    }
  }
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[0])}; }, {{3, 3}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[0], Transpose::yes)}; }, {{2, 2, 3}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[1])}; }, {{1, 1}, {1, 1}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[1])}; }, {{0, 2, 3}, {0, 3, 2}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[1])}; }, {{2, 2, 0}, {2, 0, 3}});
  check_op("matmul", [](In x) { return Out{matmul(x[0], x[1])}; }, {{2, 0, 2}, {2, 3}});
}

TEST_CASE("gradcheck: linear in two and three axes, outer" * doctest::test_suite("gradients")) {
  check_op("linear", [](In x) { return Out{linear(x[0], x[1], x[2])}; }, {{3, 2}, {4, 2}, {4}});
  check_op("linear", [](In x) { return Out{linear(x[0], x[1])}; }, {{3, 2}, {4, 2}});
  check_op("linear", [](In x) { return Out{linear(x[0], x[1], x[2])}; }, {{2, 3, 2}, {4, 2}, {4}});
  check_op("outer", [](In x) { return Out{outer(x[0], x[1])}; }, {{3}, {2}});
  check_op("outer", [](In x) { return Out{outer(x[0], x[0])}; }, {{3}});
  check_op("outer", [](In x) { return Out{outer(x[0], x[1])}; }, {{1}, {0}});
}

TEST_CASE("matmul: stacks against plain loops") {
  const std::vector<Stack> stacks = {
      {{3}, {3}, 4, 5, 6},   {{2, 3}, {2, 3}, 5, 1, 3}, {{4}, {}, 3, 5, 2},  {{2, 3}, {}, 4, 2, 7},
      {{1}, {1}, 1, 1, 1},   {{0}, {0}, 2, 3, 4},       {{2}, {2}, 3, 2, 0}, {{0, 2}, {}, 2, 3, 4},
      {{9}, {9}, 40, 70, 80}};  // the last one is several blocks
  for (const DType dtype : float_types) {
    for (const Transpose ta : both) {
      for (const Transpose tb : both) {
        for (const Stack& s : stacks) check_product(s, ta, tb, dtype);
      }
    }
  }
  // (2^40, 2^40), with one axis set after the other, could not exist.
  CHECK(matmul(Tensor::zeros({0, 1099511627776}), Tensor::zeros({0, 0}), Transpose::yes).shape() ==
        Shape{1099511627776, 0});
  check_values(outer(Tensor::of({2}, {2, -3}), Tensor::of({3}, {1, 10, 0.5})).value(), {2, 3},
               DType::float32, {2, 20, 1, -3, -30, -1.5});
}

TEST_CASE("matmul: the bits of a stack are its matrices', on any number of threads" *
          doctest::test_suite("threads")) {
  for (const DType dtype : float_types) {
    for (const std::size_t m : {30U, 300U}) {  // many products a block, and one
      const Tensor a = random_tensor({7, m, 90}, dtype, 1),
                   b = random_tensor({7, 90, 300}, dtype, 2);
      check_threads_do_not_matter([&] { return matmul(a, b).value(); });
      const Tensor c = matmul(a, b).value();
      for (std::size_t i = 0; i < 7; ++i) {
        CHECK(same_bits(c.row(i), matmul(a.row(i), b.row(i)).value()));
      }
    }
  }
}

TEST_CASE("messages: matmul of stacks, outer") {
  const auto x = [](const Shape& shape) { return Var(Tensor::zeros(shape)); };
  CHECK_THROWS_WITH_AS(matmul(x({3}), x({3, 4})),
                       "[matmul] a has shape (3): it must be of rank 2 or more, (..., M, K)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(matmul(x({2, 3}), x({3})),
                       "[matmul] b has shape (3): it must be of rank 2 or more, (..., K, N)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(matmul(x({5, 2, 3}), x({5, 4, 3})),
                       "[matmul] a has shape (..., M, K) = (5, 2, 3) but b has shape (..., K, N) = "
                       "(5, 4, 3): K must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(matmul(x({5, 2, 3}), x({4, 3}), Transpose::yes, Transpose::no),
                       "[matmul] a has shape (..., K, M) = (5, 2, 3) but b has shape (K, N) = "
                       "(4, 3): K must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(matmul(x({5, 2, 3}), x({1, 3, 4})),
                       "[matmul] a has shape (..., M, K) = (5, 2, 3) but b has shape (..., K, N) = "
                       "(1, 3, 4): the leading axes must be equal, or b a matrix",
                       ShapeError);
  CHECK_THROWS_WITH_AS(matmul(x({2, 3}), x({5, 4, 3}), Transpose::no, Transpose::yes),
                       "[matmul] a has shape (M, K) = (2, 3) but b has shape (..., N, K) = "
                       "(5, 4, 3): the leading axes must be equal, or b a matrix",
                       ShapeError);
  CHECK_THROWS_WITH_AS(matmul(x({5, 2, 3}), x({2, 5, 3, 4})),
                       "[matmul] a has shape (..., M, K) = (5, 2, 3) but b has shape (..., K, N) = "
                       "(2, 5, 3, 4): the leading axes must be equal, or b a matrix",
                       ShapeError);
  CHECK_THROWS_WITH_AS(matmul(x({5, 2, 2}), ids_of({2, 2}, {1, 2, 3, 4})),
                       "[matmul] b is int32: it must be float32 or float64; convert it with to()",
                       DtypeError);
  CHECK_THROWS_WITH_AS(outer(x({3}), x({2, 2})),
                       "[outer] b has shape (2, 2): it must be of rank 1, (J)", ShapeError);
  CHECK_THROWS_WITH_AS(outer(x({}), x({2})), "[outer] a has shape (): it must be of rank 1, (I)",
                       ShapeError);
}

TEST_CASE("outer and linear: ids and mixed dtypes are answered by the op that was called") {
  const Var ids = Tensor::zeros({2, 3}, DType::int32), row = Tensor::zeros({3});
  const std::string real = " is int32: it must be float32 or float64; convert it with to()";
  const std::string mixed = " a is float32 but b is float64: convert one with to()";
  const Var one_id = Tensor::zeros({3}, DType::int32), twice = Tensor::zeros({3}, DType::float64);
  CHECK_THROWS_WITH_AS(outer(one_id, row), ("[outer] a" + real).c_str(), DtypeError);
  CHECK_THROWS_WITH_AS(outer(row, one_id), ("[outer] b" + real).c_str(), DtypeError);
  CHECK_THROWS_WITH_AS(outer(row, twice), ("[outer]" + mixed).c_str(), DtypeError);
  const Var x = Tensor::zeros({2, 3}), weight = Tensor::zeros({4, 3});
  CHECK_THROWS_WITH_AS(linear(one_id, weight), ("[linear] x" + real).c_str(), DtypeError);
  CHECK_THROWS_WITH_AS(linear(ids, weight), ("[linear] x" + real).c_str(), DtypeError);
  CHECK_THROWS_WITH_AS(linear(x, ids), ("[linear] weight" + real).c_str(), DtypeError);
  CHECK_THROWS_WITH_AS(linear(x, weight, Tensor::zeros({4}, DType::int32)),
                       ("[linear] bias" + real).c_str(), DtypeError);
}
