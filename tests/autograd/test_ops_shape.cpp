#include <doctest/doctest.h>

#include <array>
#include <utility>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/gather.h"
#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../support/kernel_cases.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Every index of a shape, filled up to four axes with zeros, in row-major order.
using Index = std::array<std::size_t, Shape::max_rank>;
template <class F>
void for_indices(const Shape& shape, const F& f) {
  for (std::size_t k = 0; k < shape.numel(); ++k) {
    Index index{};
    for (std::size_t rest = k, axis = shape.rank(); axis-- > 0; rest /= shape[axis]) {
      index[axis] = rest % shape[axis];
    }
    f(k, index);
  }
}

std::size_t place_of(const Shape& shape, const Index& index) {
  std::size_t place = 0;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) place = place * shape[axis] + index[axis];
  return place;
}

Shape swapped(const Shape& shape, std::size_t axis0, std::size_t axis1) {
  std::vector<std::size_t> dims(shape.dims().begin(), shape.dims().end());
  std::swap(dims[axis0], dims[axis1]);
  return Shape(dims);
}

Tensor random_ids(const Shape& shape, std::size_t below) {
  Tensor ids = Tensor::zeros(shape, DType::int32);
  Rng rng(5);
  for (std::int32_t& id : ids.mutable_values<std::int32_t>()) {
    id = static_cast<std::int32_t>(rng.uniform() * static_cast<double>(below));
  }
  return ids;
}

}  // namespace

TEST_CASE("gradcheck: shapes" * doctest::test_suite("gradients")) {
  check_op("reshape", [](In x) { return Out{square(reshape(x[0], {3, 2}))}; }, {{2, 3}});
  check_op("reshape", [](In x) { return Out{square(reshape(x[0], {}))}; }, {{1, 1}});
  for (std::size_t axis = 0; axis < 3; ++axis) {
    check_op("slice", [axis](In x) { return Out{square(slice(x[0], axis, 1, 3))}; }, {{3, 3, 4}});
    check_op("slice", [axis](In x) { return Out{square(slice(x[0], axis, 1, 1))}; }, {{2, 2, 2}});
    check_op("pad", [axis](In x) { return Out{square(pad(x[0], axis, 1, 5))}; }, {{2, 3, 2}});
    check_op("concat",
             [axis](In x) {
               return Out{square(concat({x[0], x[1], x[0]}, axis))};
             },
             {{2, 2, 2}, {2, 2, 2}});
    check_op("stack",
             [axis](In x) {
               return Out{square(stack({x[0], x[1]}, axis))};
             },
             {{2, 3}, {2, 3}});
    check_op("split",
             [axis](In x) {
               const auto [a, b] = split<2>(x[0], axis);
               return Out{square(b) * a, b};
             },
             {{2, 4, 2}});
    check_op("split",
             [axis](In x) {
               const Vars parts = split(x[0], {1, 0, 3, 1}, axis);
               return Out{square(parts[2]), parts[1], square(parts[3])};  // parts[0] is unused
             },
             {Shape{2, 2, 2}.with(axis, 5)});
  }
  check_op("concat", [](In x) { return Out{square(concat({x[0], x[1]}, 1))}; }, {{2, 1}, {2, 3}});
  check_op("unbind",
           [](In x) {
             const Vars rows = unbind(x[0]);
             return Out{rows[0] * rows[2], square(rows[0])};  // rows[1] is unused
           },
           {{3, 2}});
  check_op("unbind", [](In x) { return Out{square(unbind(x[0])[1])}; }, {{2}});
  Tape tape;
  CHECK(unbind(tape.leaf(Tensor::zeros({0, 2}))).empty());
}

TEST_CASE("gradcheck: transpose of every pair of axes" * doctest::test_suite("gradients")) {
  for (const Shape& s : std::vector<Shape>{{1}, {2, 3}, {3, 1}, {0, 2}, {2, 3, 2}, {2, 1, 3, 2}}) {
    for (std::size_t axis0 = 0; axis0 < s.rank(); ++axis0) {
      for (std::size_t axis1 = 0; axis1 < s.rank(); ++axis1) {
        check_op("transpose", [=](In x) { return Out{square(transpose(x[0], axis0, axis1))}; },
                 {s});
      }
    }
  }
  check_op("transpose", [](In x) { return Out{square(transpose(x[0]))}; }, {{2, 3}});
}

TEST_CASE("transpose: elements go where their indices say, on any number of threads" *
          doctest::test_suite("threads")) {
  for (const DType dtype : {DType::float32, DType::float64, DType::int32}) {
    for (const Shape& s :
         std::vector<Shape>{{70, 33}, {3, 40, 65}, {37, 2, 35}, {3, 2, 4, 5}, {34, 2, 33, 3}}) {
      const Tensor x = dtype == DType::int32 ? random_ids(s, 1000) : random_tensor(s, dtype);
      for (std::size_t axis0 = 0; axis0 < s.rank(); ++axis0) {
        for (std::size_t axis1 = 0; axis1 < s.rank(); ++axis1) {
          const Tensor y = transpose(x, axis0, axis1).value();
          REQUIRE(y.shape() == swapped(s, axis0, axis1));
          bool right = true;
          for_indices(s, [&](std::size_t k, Index index) {
            std::swap(index[axis0], index[axis1]);
            right = right && y.at(place_of(y.shape(), index)) == x.at(k);
          });
          CHECK(right);
        }
      }
    }
  }
  const Tensor x = random_tensor({3, 301, 2, 409}, DType::float32);
  check_threads_do_not_matter([&] { return transpose(x, 1, 3).value(); });
  // (2^40, 2^40), with one axis set after the other, could not exist.
  CHECK(transpose(Tensor::zeros({0, 1099511627776})).shape() == Shape{1099511627776, 0});
}

TEST_CASE("split: parts of given sizes, as slices") {
  const Shape shape{5, 6, 4};
  const Tensor x = random_tensor(shape, DType::float32);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const Vars parts = split(x, {1, 0, shape[axis] - 1}, axis);
    REQUIRE(parts.size() == 3);
    CHECK(same_bits(parts[0].value(), slice(x, axis, 0, 1).value()));
    CHECK(parts[1].shape() == shape.with(axis, 0));
    CHECK(same_bits(parts[2].value(), slice(x, axis, 1, shape[axis]).value()));
  }
  CHECK(split(Tensor::zeros({0, 2}), {0, 0}, 0).size() == 2);
}

TEST_CASE("gradcheck: gather and scatter_add along every axis, with elements used twice and never" *
          doctest::test_suite("gradients")) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const Shape shape = Shape{2, 2, 2}.with(axis, 3);
    const Tensor index = random_ids(Shape{2, 2, 2}.with(axis, 4), 3);
    check_op("gather", [&](In x) { return Out{square(gather(x[0], axis, index))}; }, {shape});
    check_op("scatter_add", [&](In x) { return Out{square(scatter_add(x[0], axis, index, 3))}; },
             {index.shape()});
  }
  const Tensor none = Tensor::zeros({2, 0}, DType::int32);
  check_op("gather", [&](In x) { return Out{gather(x[0], 1, none)}; }, {{2, 3}});
  check_op("gather", [&](In x) { return Out{square(gather(x[0], 0, ids_of({1}, {0})))}; }, {{1}});
  check_op("scatter_add", [&](In x) { return Out{scatter_add(x[0], 1, none, 3)}; }, {{2, 0}});
  check_op("gather",  // twice from the same tensor: the second adds to the first's gradient
           [](In x) {
             const Var row = gather(x[0], 0, ids_of({4}, {1, 2, 1, 1}));
             return Out{square(row), gather(x[0], 0, ids_of({2}, {0, 1})) * 3};
           },
           {{3}});
}

TEST_CASE("gradcheck: index_select along every axis" * doctest::test_suite("gradients")) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const Shape shape = Shape{2, 2, 2}.with(axis, 3);
    check_op("index_select",
             [&](In x) {
               return Out{square(index_select(x[0], axis, ids_of({4}, {2, 0, 2, 2})))};
             },
             {shape});
  }
  check_op("index_select",
           [](In x) {
             return Out{index_select(x[0], 0, ids_of({2}, {1, 1}))};
           },
           {{3}});
  check_op("index_select", [](In x) { return Out{index_select(x[0], 1, ids_of({0}, {}))}; },
           {{2, 3}});
}

TEST_CASE("index_select: what it is by gather, whatever the dtype, and what it refuses") {
  const Shape shape{2, 3, 4};
  for (const DType dtype : {DType::float32, DType::float64, DType::int32}) {
    Tensor x = Tensor::zeros(shape, DType::float64);
    for (double next = 0; double& v : x.mutable_values<double>()) v = next++;
    x = x.to(dtype);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const Tensor ids = ids_of({3}, {1, 0, 1});
      const Shape result = shape.with(axis, 3);
      std::vector<double> expected(result.numel());
      for_indices(result, [&](std::size_t k, Index at) {
        at[axis] = static_cast<std::size_t>(ids.at(at[axis]));
        expected[k] = x.at(place_of(shape, at));
      });
      check_values(index_select(x, axis, ids).value(), result, dtype, expected);
      const auto from_last = static_cast<std::ptrdiff_t>(axis) - 3;
      check_values(index_select(x, from_last, ids).value(), result, dtype, expected);
    }
  }
  const Tensor x = Tensor::zeros({2, 3});
  CHECK_THROWS_WITH_AS(
      index_select(x, -1, ids_of({2}, {0, 3})),
      "[index_select] id 3 at position 1 of shape (2) is out of range: ids must be in [0, 3)",
      UsageError);
  CHECK_THROWS_WITH_AS(index_select(x, 0, ids_of({1, 1}, {0})),
                       "[index_select] ids has shape (1, 1): it must be of rank 1, (N)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(index_select(x, 2, ids_of({1}, {0})),
                       "[index_select] axis 2 of shape (2, 3) does not exist: it has 2 axes",
                       ShapeError);
  CHECK_THROWS_AS(index_select(x, 0, Tensor::zeros({1})), DtypeError);
}

TEST_CASE("gather and scatter_add: torch.gather's definition by plain loops") {
  for (const DType dtype : float_types) {
    for (const Shape& s : std::vector<Shape>{{7}, {3, 4}, {3, 4, 5}, {2, 3, 4, 3}}) {
      for (std::size_t axis = 0; axis < s.rank(); ++axis) {
        const Tensor x = random_tensor(s, dtype, 1);
        const Tensor index = random_ids(s.with(axis, 6), s[axis]);
        const Tensor part = random_tensor(index.shape(), dtype, 2);
        std::vector<double> picked(index.numel()), total(s.numel(), 0);
        for_indices(index.shape(), [&](std::size_t k, Index at) {
          at[axis] = static_cast<std::size_t>(index.at(k));
          picked[k] = x.at(place_of(s, at));
          total[place_of(s, at)] += part.at(k);
        });
        check_values(gather(x, axis, index).value(), index.shape(), dtype, picked);
        check_values(scatter_add(part, axis, index, s[axis]).value(), s, dtype, total, 8);
      }
    }
  }
  check_values(gather(ids_of({3}, {7, 8, 9}), 0, ids_of({2}, {2, 0})).value(), {2}, DType::int32,
               {9, 7});
  // 2^24 + 1 is 2^24 in float, so only the order of the indices gives this result.
  CHECK(scatter_add(Tensor::of({3}, {0x1p24, 1, -0x1p24}), 0, ids_of({3}, {1, 1, 1}), 2)
            .value()
            .at(1) == 0);
  const Tensor part = random_tensor({50, 90, 70}, DType::float32);
  const Tensor index = random_ids(part.shape(), 4);
  check_threads_do_not_matter([&] { return scatter_add(part, 1, index, 4).value(); });
}

TEST_CASE("messages: transpose, split and gather") {
  const Var x = Tensor::zeros({2, 3});
  CHECK_THROWS_WITH_AS(transpose(x, 0, 2),
                       "[transpose] axis 2 of shape (2, 3) does not exist: it has 2 axes",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      transpose(Tensor::zeros({2, 3, 4})),
      "[transpose] x has shape (2, 3, 4): it must be of rank 2, (M, N), or the axes be given",
      ShapeError);
  CHECK_THROWS_WITH_AS(split(x, {2, 2}, 1),
                       "[split] axis 1 of shape (2, 3) has size 3 but the parts have sizes 2 + 2: "
                       "they must sum to it",
                       ShapeError);
  CHECK_THROWS_WITH_AS(split(x, {SIZE_MAX, 4}, 1),
                       "[split] axis 1 of shape (2, 3) has size 3 but the parts have sizes "
                       "18446744073709551615 + 4: they must sum to it",
                       ShapeError);
  CHECK_THROWS_WITH_AS(split(x, {}, 1), "[split] there are no parts: at least one is needed",
                       UsageError);
  CHECK_THROWS_WITH_AS(split(x, {1}, 2),
                       "[split] axis 2 of shape (2, 3) does not exist: it has 2 axes", ShapeError);

  const Tensor index = ids_of({2, 2}, {0, 2, 3, 1});
  CHECK_THROWS_WITH_AS(
      gather(x, 1, index),
      "[gather] id 3 at position 2 of shape (2, 2) is out of range: ids must be in [0, 3)",
      UsageError);
  CHECK_THROWS_WITH_AS(
      gather(x, 1, ids_of({2, 1}, {0, -1})),
      "[gather] id -1 at position 1 of shape (2, 1) is out of range: ids must be in [0, 3)",
      UsageError);
  CHECK_THROWS_WITH_AS(gather(x, 1, ids_of({1, 2}, {0, 1})),
                       "[gather] x has shape (2, 3) but index has shape (1, 2): all axes but the "
                       "one of the indices must be equal",
                       ShapeError);
  CHECK_THROWS_WITH_AS(gather(x, 1, ids_of({2}, {0, 1})),
                       "[gather] x has shape (2, 3) but index has shape (2): all axes but the one "
                       "of the indices must be equal",
                       ShapeError);
  CHECK_THROWS_WITH_AS(gather(x, 2, index),
                       "[gather] axis 2 of shape (2, 3) does not exist: it has 2 axes", ShapeError);
  CHECK_THROWS_WITH_AS(gather(x, 1, Tensor::zeros({2, 2})),
                       "[gather] ids are float32: they must be int32", DtypeError);
  CHECK_THROWS_WITH_AS(
      scatter_add(x, 1, index, 4),
      "[scatter_add] x has shape (2, 3) but index has shape (2, 2): the shapes must be equal",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      scatter_add(Tensor::zeros({2, 2}), 1, index, 3),
      "[scatter_add] id 3 at position 2 of shape (2, 2) is out of range: ids must be in [0, 3)",
      UsageError);
  CHECK_THROWS_WITH_AS(
      scatter_add(index, 1, index, 4),
      "[scatter_add] x is int32: it must be float32 or float64; convert it with to()", DtypeError);
}

TEST_CASE("shapes: bad input is answered by the op that was called") {
  const Var x = Tensor::zeros({2, 3}), twice = Tensor::zeros({2, 3}, DType::float64);
  const Var ids = Tensor::zeros({2, 3}, DType::int32);
  CHECK_THROWS_WITH_AS(stack({}), "[stack] there are no parts: at least one is needed", UsageError);
  CHECK_THROWS_WITH_AS(split(x, {}, 0), "[split] there are no parts: at least one is needed",
                       UsageError);
  CHECK_THROWS_WITH_AS(stack({x, twice}),
                       "[stack] part 0 is float32 but part 1 is float64: convert one with to()",
                       DtypeError);
  CHECK_THROWS_WITH_AS(stack({ids, x}),
                       "[stack] part 0 is int32 but part 1 is float32: convert one with to()",
                       DtypeError);
  CHECK_THROWS_WITH_AS(concat({x, ids}, 0),
                       "[concat] part 0 is float32 but part 1 is int32: convert one with to()",
                       DtypeError);
  CHECK_THROWS_WITH_AS(stack({x}, 3),
                       "[stack] axis 3 of shape (2, 3) does not exist: it has 2 axes", ShapeError);
  CHECK_THROWS_WITH_AS(pad(ids, 0, 0, 3),
                       "[pad] x is int32: it must be float32 or float64; convert it with to()",
                       DtypeError);
  for (const Var& y : {reshape(ids, {6}), transpose(ids), slice(ids, 1, 0, 1), stack({ids, ids}),
                       concat({ids, ids}, 1), unbind(ids)[1], split(ids, {1, 2}, 1)[1]}) {
    CHECK(y.dtype() == DType::int32);
  }
}
