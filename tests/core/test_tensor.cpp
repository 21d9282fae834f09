#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../../autograd/var.h"
#include "../../core/error.h"
#include "../../core/tensor.h"

using namespace tapegrad;

namespace {

constexpr std::array all_types{DType::float32, DType::float64, DType::int32};

/// 0, 1, 2, ... in row-major order.
Tensor counted(const Shape& shape, DType dtype = DType::float32) {
  std::vector<double> values(shape.numel());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  return Tensor::from<double>(shape, values).to(dtype);
}

}  // namespace

TEST_CASE("tensor: names and sizes of dtypes") {
  CHECK(size_of(DType::float32) == 4);
  CHECK(size_of(DType::float64) == 8);
  CHECK(size_of(DType::int32) == 4);
  CHECK(to_string(DType::float32) == "float32");
  CHECK(to_string(DType::float64) == "float64");
  CHECK(to_string(DType::int32) == "int32");
  CHECK(sizeof(Tensor) == sizeof(void*));
}

TEST_CASE("tensor: made, read and written in every dtype and odd shapes") {
  for (const DType dtype : all_types) {
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{1}, Shape{3, 0, 2}, Shape{2, 3, 4, 5}}) {
      CAPTURE(to_string(shape));
      Tensor t = Tensor::full(shape, 3, dtype);
      CHECK(t.defined());
      CHECK(t.shape() == shape);
      CHECK(t.dtype() == dtype);
      CHECK(t.rank() == shape.rank());
      CHECK(t.numel() == shape.numel());
      for (std::size_t i = 0; i < t.numel(); ++i) CHECK(t.at(i) == 3);
      t.fill(-2);
      for (std::size_t i = 0; i < t.numel(); ++i) CHECK(t.at(i) == -2);
      const Tensor zeros = Tensor::zeros(shape, dtype);
      for (std::size_t i = 0; i < t.numel(); ++i) CHECK(zeros.at(i) == 0);
      t.copy_from(zeros);
      for (std::size_t i = 0; i < t.numel(); ++i) CHECK(t.at(i) == 0);
      CHECK(Tensor::empty(shape, dtype).clone().shape() == shape);
    }
  }
}

TEST_CASE("tensor: of, from, scalar, item, values") {
  const Tensor t = Tensor::of({2, 2}, {1, 2.5, -3, 4}, DType::float64);
  CHECK(t.data<double>()[1] == 2.5);
  CHECK(t.values<double>().size() == 4);
  CHECK(t.size(1) == 2);
  const std::vector<std::int32_t> ids{7, 8, 9};
  CHECK(Tensor::from<std::int32_t>({3}, ids).at(2) == 9);
  CHECK(Tensor::scalar(2.5).item() == 2.5);
  CHECK(Tensor::of({1, 1}, {6}, DType::int32).item() == 6);
  CHECK(Tensor::of({2}, {1.9, -1.9}, DType::int32).at(1) == -1);  // as static_cast
  CHECK(Tensor::full({2}, 0.5, DType::int32).at(1) == 0);
}

TEST_CASE("tensor: elements are aligned to 64 bytes") {
  for (std::size_t n = 0; n < 40; ++n) {
    const Tensor t = Tensor::empty({n}, DType::int32);
    CHECK(reinterpret_cast<std::uintptr_t>(t.data<std::int32_t>()) % 64 == 0);
  }
}

TEST_CASE("tensor: conversion between all dtypes") {
  for (const DType from : all_types) {
    for (const DType to : all_types) {
      const Tensor t = Tensor::of({3}, {1, -2, 3}, from);
      const Tensor converted = t.to(to);
      CHECK(converted.dtype() == to);
      CHECK(converted.shares_elements_with(t) == (from == to));
      for (std::size_t i = 0; i < 3; ++i) CHECK(converted.at(i) == t.at(i));
    }
  }
  const Tensor odd = Tensor::of({2}, {0.1, NAN}, DType::float64).to(DType::float32);
  CHECK(odd.data<float>()[0] == 0.1F);
  CHECK(std::isnan(odd.at(1)));
}

TEST_CASE("tensor: copies share elements, clones do not") {
  Tensor a = counted({2, 3});
  const Tensor shared = a;
  const Tensor cloned = a.clone();
  CHECK(shared.shares_elements_with(a));
  CHECK_FALSE(cloned.shares_elements_with(a));
  a.mutable_data<float>()[4] = 40;
  CHECK(shared.at(4) == 40);
  CHECK(cloned.at(4) == 4);
  CHECK(a.row(1).clone().at(2) == 5);  // a clone of a view has the view's elements
}

TEST_CASE("tensor: views are zero-copy") {
  Tensor t = counted({4, 3, 2});
  const Tensor rows = t.slice(1, 3);
  CHECK(rows.shape() == Shape{2, 3, 2});
  CHECK(rows.data<float>() == t.data<float>() + 6);
  const Tensor row = t.row(3);
  CHECK(row.shape() == Shape{3, 2});
  CHECK(row.at(0) == 18);
  const Tensor of_view = rows.row(1).row(2);
  CHECK(of_view.shape() == Shape{2});
  CHECK(of_view.at(1) == 17);
  CHECK(of_view.shares_elements_with(t));
  CHECK(t.slice(2, 2).shape() == Shape{0, 3, 2});
  CHECK(t.slice(4, 4).numel() == 0);
  CHECK(counted({3}).row(1).shape() == Shape{});
  const Tensor flat = t.reshape({24});
  CHECK(flat.data<float>() == t.data<float>());
  const Tensor same = t.reshape({4, 3, 2});
  CHECK(same.data<float>() == t.data<float>());
  CHECK(Tensor::zeros({0, 5}).reshape({3, 0}).shape() == Shape{3, 0});
  CHECK(Tensor::scalar(1).reshape({1, 1}).shape() == Shape{1, 1});
}

TEST_CASE("tensor: a view keeps the elements when the owner's handle is gone") {
  Tensor view;
  {
    const Tensor owner = counted({3, 2});
    view = owner.slice(1, 3).row(1);
  }
  std::vector<Tensor> others;  // would take the block if it had been released
  for (int i = 0; i < 10; ++i) others.push_back(Tensor::full({3, 2}, -1));
  CHECK(view.at(0) == 4);
  CHECK(view.at(1) == 5);
}

TEST_CASE("tensor: every way of writing raises the version, through any handle") {
  Tensor t = counted({2, 3});
  const Tensor other = t;
  Tensor view = t.row(0);
  const std::uint32_t start = t.version();
  CHECK(t.at(0) == 0);
  CHECK(t.data<float>() != nullptr);
  CHECK(t.version() == start);  // reading does not
  t.mutable_data<float>();
  CHECK(t.version() == start + 1);
  t.mutable_values<float>();
  CHECK(t.version() == start + 2);
  t.fill(1);
  CHECK(t.version() == start + 3);
  t.copy_from(counted({2, 3}));
  CHECK(t.version() == start + 4);
  view.fill(5);
  CHECK(t.version() == start + 5);
  CHECK(other.version() == start + 5);
  CHECK(view.version() == start + 5);
  CHECK(other.at(2) == 5);
  CHECK(other.at(3) == 3);
  CHECK(t.clone().version() == 0);
}

TEST_CASE("tensor: unique only while nobody else can see the elements") {
  Tensor t = counted({2, 3});
  CHECK(t.unique());
  {
    const Tensor copy = t;
    CHECK_FALSE(t.unique());
    CHECK_FALSE(copy.unique());
  }
  CHECK(t.unique());
  {
    const Tensor view = t.row(0);
    CHECK_FALSE(t.unique());
    CHECK_FALSE(view.unique());
  }
  CHECK(t.unique());
  Tensor moved = std::move(t);
  CHECK(moved.unique());
  CHECK_FALSE(t.defined());  // NOLINT(bugprone-use-after-move): that it is empty is the contract
  Tensor view = moved.row(1);
  moved = Tensor();
  CHECK_FALSE(view.unique());  // a view never is: its owner's size is not its own
}

TEST_CASE("tensor: assignment, also to itself") {
  Tensor a = Tensor::scalar(1);
  Tensor b = Tensor::scalar(2);
  a = b;
  CHECK(a.shares_elements_with(b));
  Tensor& same = a;
  a = same;
  CHECK(a.item() == 2);
  a = std::move(b);
  CHECK(a.unique());
  a = a.reshape({1});
  CHECK(a.item() == 2);
}

TEST_CASE("tensor: copy_from its own slice") {
  Tensor t = counted({4});
  t.slice(0, 3).copy_from(t.slice(1, 4));
  CHECK(t.at(0) == 1);
  CHECK(t.at(2) == 3);
  CHECK(t.at(3) == 3);
}

TEST_CASE("tensor: handles dropped by many threads" * doctest::test_suite("threads")) {
  const Tensor t = counted({100});
  std::vector<std::thread> crowd;
  for (int i = 0; i < 4; ++i) {
    crowd.emplace_back([t] {
      for (int round = 0; round < 2000; ++round) {
        const Tensor copy = t;
        const Tensor view = copy.slice(10, 20);
        const Tensor own = view.clone();
        if (own.at(3) != 13) std::abort();
      }
    });
  }
  for (std::thread& one : crowd) one.join();
  crowd.clear();
  CHECK(t.unique());
}

TEST_CASE("tensor: messages") {
  const Tensor t = counted({2, 3});
  Tensor writable = counted({2, 3});
  Tensor nothing;
  CHECK_FALSE(nothing.defined());
  const char* undefined = "[Tensor] this tensor is undefined: give it a value first";
  CHECK_THROWS_WITH_AS(nothing.shape(), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.dtype(), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.data<float>(), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.fill(1), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.clone(), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.to(DType::float64), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.version(), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.unique(), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.shares_elements_with(t), undefined, UsageError);
  CHECK_THROWS_WITH_AS(t.shares_elements_with(nothing), undefined, UsageError);
  CHECK_THROWS_WITH_AS(writable.copy_from(nothing), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.reshape({1}), undefined, UsageError);
  CHECK_THROWS_WITH_AS(nothing.slice(0, 1), undefined, UsageError);

  CHECK_THROWS_WITH_AS(Tensor::of({2, 2}, {1, 2, 3}),
                       "[Tensor] shape (2, 2) has 4 elements but 3 values were given", ShapeError);
  CHECK_THROWS_WITH_AS(
      t.data<double>(),
      "[Tensor] the elements are float32 but float64 was asked for: convert with to()", DtypeError);
  CHECK_THROWS_WITH_AS(
      writable.mutable_data<std::int32_t>(),
      "[Tensor] the elements are float32 but int32 was asked for: convert with to()", DtypeError);
  CHECK(writable.version() == 0);  // a refused write is none
  CHECK_THROWS_WITH_AS(writable.copy_from(counted({3, 2})),
                       "[copy_from] source has shape (3, 2) but this tensor has shape (2, 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      writable.copy_from(counted({2, 3}, DType::float64)),
      "[copy_from] source is float64 but this tensor is float32: convert it with to()", DtypeError);
  CHECK(writable.version() == 0);
  CHECK_THROWS_WITH_AS(t.at(6), "[at] index 6 is outside of shape (2, 3) with 6 elements",
                       UsageError);
  CHECK_THROWS_WITH_AS(
      t.item(), "[item] the tensor has shape (2, 3): it must have exactly one element", ShapeError);
  CHECK_THROWS_WITH_AS(Tensor::zeros({0}).item(),
                       "[item] the tensor has shape (0): it must have exactly one element",
                       ShapeError);
  CHECK_THROWS_WITH_AS(t.slice(1, 3), "[slice] rows [1, 3) do not exist in shape (2, 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(t.slice(2, 1), "[slice] rows [2, 1) do not exist in shape (2, 3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(Tensor::scalar(1).slice(0, 0),
                       "[slice] rows [0, 0) do not exist in shape ()", ShapeError);
  CHECK_THROWS_WITH_AS(t.row(2), "[row] row 2 does not exist in shape (2, 3)", ShapeError);
  CHECK_THROWS_WITH_AS(Tensor::scalar(1).row(0), "[row] row 0 does not exist in shape ()",
                       ShapeError);
  CHECK_THROWS_WITH_AS(t.reshape({4}), "[reshape] shape (2, 3) has 6 elements but (4) has 4",
                       ShapeError);
  CHECK_THROWS_WITH_AS(t.size(2), "[Shape] axis 2 of shape (2, 3) does not exist: it has 2 axes",
                       ShapeError);
}

TEST_CASE("tensor: it is made from vectors, arrays, spans and lists of the three types") {
  const std::vector<float> v{1, 2.5F};
  const std::array<double, 2> a{1, 2.5};
  const std::int32_t c[] = {3, 4};
  float mutable_elements[] = {5, 6};
  CHECK(Tensor::from({2}, v).dtype() == DType::float32);
  CHECK(Tensor::from({2}, std::vector<float>{1, 2.5F}).at(1) == 2.5);
  CHECK(Tensor::from({2, 1}, a).dtype() == DType::float64);
  CHECK(Tensor::from({2, 1}, a).at(1) == 2.5);
  CHECK(Tensor::from({1, 2}, c).dtype() == DType::int32);
  CHECK(Tensor::from({2}, std::span(mutable_elements)).at(0) == 5);
  CHECK(Tensor::from({2}, std::span<const float>(v)).at(0) == 1);
  CHECK(Tensor::from({2}, {7.0F, 8.0F}).dtype() == DType::float32);
  CHECK(Tensor::from({2}, {7.0, 8.0}).dtype() == DType::float64);
  CHECK(Tensor::from({2}, {7, 8}).dtype() == DType::int32);
  CHECK(Tensor::from<float>({2}, v).at(1) == 2.5);
  CHECK(Tensor::from<double>({2}, {7, 8}).dtype() == DType::float64);
  CHECK_THROWS_AS(Tensor::from({3}, v), ShapeError);
}

TEST_CASE("tensor: it can be shown, and so can shapes, dtypes and Vars") {
  const auto shown = [](const auto& x) {
    std::ostringstream out;
    out << x;
    return out.str();
  };
  CHECK(shown(Tensor::of({2, 3}, {1, 2.5, -3, 1e-9, 1.0 / 3, 1e20})) ==
        "[[1, 2.5, -3],\n [1e-09, 0.333333, 1e+20]] float32 (2, 3)");
  CHECK(shown(Tensor::scalar(2.5, DType::float64)) == "2.5 float64 ()");
  CHECK(shown(Tensor::from({2}, {7, 123456789})) == "[7, 123456789] int32 (2)");
  CHECK(shown(Tensor::zeros({2, 0})) == "[] float32 (2, 0)");
  CHECK(shown(Tensor()) == "undefined");
  CHECK(shown(Var()) == "undefined");
  CHECK(shown(Var(Tensor::of({1}, {4}))) == "[4] float32 (1)");
  CHECK(shown(Shape{2, 3}) == "(2, 3)");
  CHECK(shown(DType::int32) == "int32");
  Tensor long_one = Tensor::zeros({1000}, DType::int32);
  for (std::int32_t i = 0; std::int32_t & v : long_one.mutable_values<std::int32_t>()) v = i++;
  CHECK(shown(long_one) == "[0, 1, 2, ..., 997, 998, 999] int32 (1000)");
  CHECK(shown(long_one.reshape({2, 500})) ==
        "[[0, 1, 2, ..., 497, 498, 499],\n [500, 501, 502, ..., 997, 998, 999]] int32 (2, 500)");
  CHECK(shown(Tensor::zeros({40, 40, 40, 40})).size() < 10'000);
}
