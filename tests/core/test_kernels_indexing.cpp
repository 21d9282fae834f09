#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "../../core/error.h"
#include "../../core/kernels/dropout.h"
#include "../../core/kernels/elementwise.h"
#include "../../core/kernels/indexing.h"
#include "../support/kernel_cases.h"

using namespace tapegrad;
using namespace tapegrad::testing;

TEST_CASE("rows: take_rows of any shape of ids") {
  for (const DType dtype : float_types) {
    const Tensor table = Tensor::of({3, 2}, {0, 1, 10, 11, 20, 21}, dtype);
    check_values(kernels::take_rows(table, ids_of({4}, {2, 0, 2, 1})), {4, 2}, dtype,
                 {20, 21, 0, 1, 20, 21, 10, 11});
    check_values(kernels::take_rows(table, ids_of({2, 1}, {1, 0})), {2, 1, 2}, dtype,
                 {10, 11, 0, 1});
    check_values(kernels::take_rows(table, ids_of({}, {2})), {2}, dtype, {20, 21});
    check_values(kernels::take_rows(table, ids_of({0}, {})), {0, 2}, dtype, {});
    check_values(kernels::take_rows(Tensor::zeros({3, 0}, dtype), ids_of({2}, {2, 1})), {2, 0},
                 dtype, {});
  }
  const Tensor table = Tensor::zeros({3, 2});
  CHECK_THROWS_WITH_AS(
      kernels::take_rows(table, Tensor::zeros({2})),
      "[Tensor] the elements are float32 but int32 was asked for: convert with to()", DtypeError);
}

TEST_CASE("rows: add_rows adds repeated ids in double") {
  for (const DType dtype : float_types) {
    Tensor table = Tensor::full({3, 2}, 1, dtype);
    const Tensor rows = Tensor::of({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}, dtype);
    kernels::add_rows(table, ids_of({2, 2}, {2, 0, 2, 2}), rows);
    check_values(table, {3, 2}, dtype, {4, 5, 1, 1, 14, 17});
    kernels::add_rows(table, ids_of({0}, {}), Tensor::zeros({0, 2}, dtype));
    check_values(table, {3, 2}, dtype, {4, 5, 1, 1, 14, 17});
  }
  // 2^24 + 1 is 2^24 in float: what one row receives is added in double.
  Tensor table = Tensor::zeros({1, 1});
  kernels::add_rows(table, ids_of({3}, {0, 0, 0}), Tensor::of({3, 1}, {0x1p24, 1, -0x1p24}));
  CHECK(table.item() == 1);
  CHECK_THROWS_AS(kernels::add_rows(table, ids_of({1}, {0}), Tensor::zeros({1, 1}, DType::float64)),
                  DtypeError);
}

TEST_CASE("rows: slice, add_slice and concat along every axis") {
  const Shape shape{3, 4, 5};
  for (const DType dtype : float_types) {
    const Tensor x = random_tensor(shape, dtype);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      for (std::size_t begin = 0; begin <= shape[axis]; ++begin) {
        for (std::size_t end = begin; end <= shape[axis]; ++end) {
          const Tensor part = kernels::slice(x, axis, begin, end);
          std::vector<double> expected, masked;
          std::size_t index[3];
          for (index[0] = 0; index[0] < 3; ++index[0]) {
            for (index[1] = 0; index[1] < 4; ++index[1]) {
              for (index[2] = 0; index[2] < 5; ++index[2]) {
                const double v = x.at((index[0] * 4 + index[1]) * 5 + index[2]);
                const bool inside = index[axis] >= begin && index[axis] < end;
                if (inside) expected.push_back(v);
                masked.push_back(inside ? 1 + v : 1);
              }
            }
          }
          check_values(part, shape.with(axis, end - begin), dtype, expected);
          Tensor total = Tensor::full(shape, 1, dtype);
          kernels::add_slice(total, part, axis, begin);
          check_values(total, shape, dtype, masked, 1);
          const std::vector<Tensor> parts{kernels::slice(x, axis, 0, begin), part,
                                          kernels::slice(x, axis, end, shape[axis])};
          CHECK(same_bits(kernels::concat(parts, axis), x));
        }
      }
    }
  }
}

TEST_CASE("rows: concat of one part copies; odd shapes; ids too") {
  const Tensor x = random_tensor({3}, DType::float32);
  const std::vector<Tensor> one{x}, empty{Tensor::zeros({2, 0}), Tensor::zeros({2, 0})};
  CHECK_FALSE(kernels::concat(one, 0).shares_elements_with(x));
  CHECK(kernels::concat(empty, 1).shape() == Shape{2, 0});
  CHECK(kernels::concat(empty, 0).shape() == Shape{4, 0});
  const std::vector<Tensor> ids{ids_of({2}, {1, 2}), ids_of({1}, {3})};
  check_values(kernels::concat(ids, 0), {3}, DType::int32, {1, 2, 3});
  check_values(kernels::slice(ids[0], 0, 1, 2), {1}, DType::int32, {2});
  const std::vector<Tensor> mixed{x, x.to(DType::float64)};
  CHECK_THROWS_AS(kernels::concat(mixed, 0), DtypeError);
}

TEST_CASE("dropout mask: every element is its place's word against the threshold") {
  constexpr std::uint64_t key = 0x1234;
  for (const DType dtype : float_types) {
    for (const double p : {0.0, 0.25, 0.5, 0.9}) {
      const Tensor mask = kernels::dropout_mask({2, 3, 4, 7}, p, key, dtype);
      std::vector<double> expected;
      for (std::uint32_t t = 0; t < 6; ++t) {  // two leading axes are one
        for (std::uint32_t row = 0; row < 4; ++row) {
          for (std::size_t column = 0; column < 7; ++column) {
            const double word = random_words({key}, t, row, column / 4)[column % 4];
            expected.push_back(word >= p * 0x1p32 ? 1 / (1 - p) : 0);
          }
        }
      }
      check_values(mask, {2, 3, 4, 7}, dtype, expected, 1);
      CHECK(same_bits(mask.reshape({6, 4, 7}), kernels::dropout_mask({6, 4, 7}, p, key, dtype)));
      CHECK(same_bits(mask.row(0).row(0), kernels::dropout_mask({4, 7}, p, key, dtype)));
      CHECK(same_bits(mask.row(0).row(0).row(0), kernels::dropout_mask({7}, p, key, dtype)));
      check_values(kernels::dropout_mask({}, p, key, dtype), {}, dtype, {expected[0]}, 1);
    }
  }
  for (const Shape& shape : {Shape{0}, Shape{3, 0}, Shape{0, 3}, Shape{2, 0, 3}}) {
    CHECK(kernels::dropout_mask(shape, 0.5, key, DType::float32).shape() == shape);
  }
}

TEST_CASE("dropout mask: a smaller batch or shorter sequence has the same places") {
  const Tensor mask = kernels::dropout_mask({5, 8, 10}, 0.4, 77, DType::float32);
  const Tensor batch = kernels::slice(mask, 1, 0, 3);
  const Tensor narrow = kernels::slice(mask, 2, 0, 6);
  CHECK(same_bits(batch, kernels::dropout_mask({5, 3, 10}, 0.4, 77, DType::float32)));
  CHECK(same_bits(narrow, kernels::dropout_mask({5, 8, 6}, 0.4, 77, DType::float32)));
  CHECK(same_bits(mask.slice(0, 2), kernels::dropout_mask({2, 8, 10}, 0.4, 77, DType::float32)));
  CHECK_FALSE(same_bits(mask, kernels::dropout_mask({5, 8, 10}, 0.4, 78, DType::float32)));
}

TEST_CASE("dropout mask: the rate, near the ends too, and threads" *
          doctest::test_suite("threads")) {
  for (const double p : {0.0, 0.01, 0.5, 0.99, 1 - 0x1p-40}) {
    CAPTURE(p);
    const Tensor mask = kernels::dropout_mask({400, 1001}, p, 5, DType::float32);
    double dropped = 0;
    for (const float v : mask.values<float>()) dropped += v == 0 ? 1 : 0;
    const double n = 400 * 1001;
    CHECK(std::abs(dropped / n - p) <= 4.5 * std::sqrt(p * (1 - p) / n));
  }
  check_threads_do_not_matter([] {
    return kernels::dropout_mask({7, 300, 50}, 0.3, 9, DType::float64);
  });
}
