#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/layer_norm.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../support/is_worse.h"
#include "../support/kernel_cases.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using LayerNorm = Var (*)(const Var&, const Var&, const Var&, double);

/// All gradients and the value, of a loss that weights every element of y by itself.
Vars solve(LayerNorm op, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
  Tape tape;
  const Vars in{tape.leaf(x), tape.leaf(gamma), tape.leaf(beta)};
  const Var y = op(in[0], in[1], in[2], 1e-5);
  Vars result =
      tape.gradient(sum(y * Var(random_tensor(x.shape(), DType::float32, 9).to(x.dtype()))), in);
  result.push_back(y.detach());
  return result;
}

/// max |a - b| / max |b|
double deviation(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double worst = 0, largest = 0;
  for (std::size_t k = 0; k < a.numel(); ++k) {
    const double error = std::abs(a.at(k) - b.at(k));
    if (is_worse(error, worst)) worst = error;
    if (is_worse(std::abs(b.at(k)), largest)) largest = std::abs(b.at(k));
  }
  return largest == 0 ? worst : worst / largest;
}

}  // namespace

TEST_CASE("gradcheck: layer_norm, with and without gamma and beta" *
          doctest::test_suite("gradients")) {
  // A large epsilon: it sets the width in which a row of almost equal elements changes its
  // gradient.
  const std::vector<Shape> shapes = {{4}, {3, 2}, {2, 2, 3}, {1, 5}, {3, 1}, {2, 1, 2, 3}, {0, 3}};
  for (const Shape& s : shapes) {
    const Shape last{s[s.rank() - 1]};
    for (const LayerNorm op : {layer_norm, layer_norm_composed}) {
      check_op("layer_norm", [=](In x) { return Out{op(x[0], x[1], x[2], 1)}; }, {s, last, last});
      check_op("layer_norm", [=](In x) { return Out{op(x[0], x[1], {}, 1)}; }, {s, last});
      check_op("layer_norm", [=](In x) { return Out{op(x[0], {}, x[1], 1)}; }, {s, last});
      check_op("layer_norm", [=](In x) { return Out{op(x[0], {}, {}, 1)}; }, {s});
    }
  }
}

TEST_CASE("layer_norm: fused equals composed, values and all gradients, float64") {
  double worst = 0;
  // No I = 2: (x - mean) / deviation is then 1 or -1, and dx only what epsilon leaves of a
  // difference. The last three are several blocks of rows: by the number of elements, and of at
  // least 32 rows.
  for (const Shape& s : std::vector<Shape>{
           {5}, {7, 3}, {5, 17}, {3, 2, 64}, {100, 700}, {33, 20000}, {3, 50, 256}}) {
    const Shape last{s[s.rank() - 1]};
    const Tensor x = random_tensor(s, DType::float64, 1);
    const Tensor gamma = random_tensor(last, DType::float64, 2);
    const Tensor beta = random_tensor(last, DType::float64, 3);
    const Vars fused = solve(layer_norm, x, gamma, beta);
    const Vars composed = solve(layer_norm_composed, x, gamma, beta);
    for (std::size_t i = 0; i < fused.size(); ++i) {
      CAPTURE(to_string(s));
      CAPTURE(i);
      const double d = deviation(fused[i].value(), composed[i].value());
      CHECK(d <= 1e-13);
      worst = std::fmax(worst, d);
    }
  }
  MESSAGE("layer_norm, fused against composed: worst ", worst);
}

TEST_CASE("layer_norm: float32 far from 0, against float64 of the same numbers") {
  for (const double center : {0.0, 1e4, -1e6}) {
    const Tensor x = Rng(1).normal({20, 300}, center, 1);
    const Tensor gamma = random_tensor({300}, DType::float32, 2);
    const Tensor beta = random_tensor({300}, DType::float32, 3);
    const Vars got = solve(layer_norm, x, gamma, beta);
    const Vars expected = solve(layer_norm_composed, x.to(DType::float64), gamma.to(DType::float64),
                                beta.to(DType::float64));
    for (std::size_t i = 0; i < got.size(); ++i) {
      CAPTURE(center);
      CAPTURE(i);
      CHECK(deviation(got[i].value(), expected[i].value()) <= 1e-6);
    }
  }
}

TEST_CASE("layer_norm: rows of equal elements, and of one, give beta and finite gradients") {
  for (const DType dtype : float_types) {
    for (const std::size_t n : {1U, 3U, 50U}) {
      const Tensor gamma = random_tensor({n}, dtype, 2), beta = random_tensor({n}, dtype, 3);
      for (const double value : {0.1, -1e4, 1e30}) {
        const Tensor x = Tensor::full({2, n}, value, dtype);
        const Vars result = solve(layer_norm, x, gamma, beta);
        for (std::size_t row = 0; row < 2; ++row) {
          CHECK(same_bits(result[3].value().row(row).clone(), beta));
        }
        for (const double d : values_of(result[0].value())) CHECK(std::isfinite(d));
        for (const double d : values_of(result[1].value())) CHECK(d == 0);
        if (n == 1) check_values(result[0].value(), {2, 1}, dtype, {0, 0});
      }
    }
  }
}

TEST_CASE("layer_norm: a NaN stays in its row") {
  Tensor x = random_tensor({3, 4}, DType::float32);
  x.mutable_data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  const Tensor y = layer_norm(x).value();
  for (std::size_t k = 0; k < 12; ++k) CHECK(std::isnan(y.at(k)) == (k / 4 == 1));
}

TEST_CASE("layer_norm: the bits do not depend on threads" * doctest::test_suite("threads")) {
  for (const DType dtype : float_types) {
    const Tensor x = random_tensor({7, 100, 130}, dtype, 1);
    const Tensor gamma = random_tensor({130}, dtype, 2), beta = random_tensor({130}, dtype, 3);
    for (std::size_t i = 0; i < 4; ++i) {
      check_threads_do_not_matter([&] { return solve(layer_norm, x, gamma, beta)[i].value(); });
    }
  }
}

TEST_CASE("messages: layer_norm") {
  const Var x = Tensor::zeros({2, 3}), three = Tensor::zeros({3});
  CHECK_THROWS_WITH_AS(layer_norm(Tensor::scalar(1)),
                       "[layer_norm] x has shape (): it must be of rank 1 or more, (..., I)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(layer_norm(Tensor::zeros({2, 0})),
                       "[layer_norm] x has shape (2, 0): it must be (..., I) with I >= 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      layer_norm(x, Tensor::zeros({2})),
      "[layer_norm] x has shape (..., I) = (2, 3) but gamma has shape (I) = (2): I must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      layer_norm(x, three, Tensor::zeros({2, 3})),
      "[layer_norm] x has shape (..., I) = (2, 3) but beta has shape (I) = (2, 3): I must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(layer_norm(x, three, three, 0),
                       "[layer_norm] epsilon is 0: it must be greater than 0 and finite",
                       UsageError);
  CHECK_THROWS_WITH_AS(layer_norm(x, three, three, NAN),
                       "[layer_norm] epsilon is nan: it must be greater than 0 and finite",
                       UsageError);
  CHECK_THROWS_WITH_AS(
      layer_norm(Tensor::zeros({2, 3}, DType::int32)),
      "[layer_norm] x is int32: it must be float32 or float64; convert it with to()", DtypeError);
  CHECK_THROWS_WITH_AS(
      layer_norm(x, Tensor::zeros({3}, DType::int32)),
      "[layer_norm] gamma is int32: it must be float32 or float64; convert it with to()",
      DtypeError);
  CHECK_THROWS_AS(layer_norm(x, Tensor::zeros({3}, DType::float64)), DtypeError);
}
