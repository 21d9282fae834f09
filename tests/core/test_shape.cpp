#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "../../core/error.h"
#include "../../core/shape.h"

using namespace tapegrad;

TEST_CASE("shape: rank, sizes and number of elements") {
  CHECK(Shape{}.rank() == 0);
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{5}.numel() == 5);
  CHECK(Shape{2, 3, 4, 5}.numel() == 120);
  CHECK(Shape{2, 0, 4}.numel() == 0);
  CHECK(Shape{0}.rank() == 1);
  const Shape shape{20, 4, 12};
  CHECK(shape.rank() == 3);
  CHECK(shape[0] == 20);
  CHECK(shape[2] == 12);
  CHECK(shape.dims().size() == 3);
  CHECK(shape.dims()[1] == 4);
  const std::array<std::size_t, 2> dims{6, 7};
  CHECK(Shape(std::span<const std::size_t>(dims)) == Shape{6, 7});
}

TEST_CASE("shape: equality counts axes of size 1") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(Shape{2, 3} != Shape{3, 2});
  CHECK(Shape{} != Shape{1});
  CHECK(Shape{1} != Shape{1, 1});
}

TEST_CASE("shape: text") {
  CHECK(to_string(Shape{}) == "()");
  CHECK(to_string(Shape{7}) == "(7)");
  CHECK(to_string(Shape{20, 0, 12}) == "(20, 0, 12)");
}

TEST_CASE("shape: without, with and inserted at every axis") {
  const Shape shape{2, 3, 4};
  CHECK(shape.without(0) == Shape{3, 4});
  CHECK(shape.without(1) == Shape{2, 4});
  CHECK(shape.without(2) == Shape{2, 3});
  CHECK(Shape{9}.without(0) == Shape{});
  CHECK(Shape{2, 3, 4, 5}.without(3).numel() == 24);
  CHECK(shape.with(0, 9) == Shape{9, 3, 4});
  CHECK(shape.with(2, 0) == Shape{2, 3, 0});
  CHECK(shape.inserted(0, 9) == Shape{9, 2, 3, 4});
  CHECK(shape.inserted(1, 9) == Shape{2, 9, 3, 4});
  CHECK(shape.inserted(3, 9) == Shape{2, 3, 4, 9});
  CHECK(Shape{}.inserted(0, 6) == Shape{6});
}

TEST_CASE("shape: suffixes broadcast") {
  const Shape whole{2, 3, 4};
  CHECK(Shape{}.is_suffix_of(whole));
  CHECK(Shape{4}.is_suffix_of(whole));
  CHECK(Shape{3, 4}.is_suffix_of(whole));
  CHECK(whole.is_suffix_of(whole));
  CHECK_FALSE(Shape{3}.is_suffix_of(whole));
  CHECK_FALSE(Shape{2, 3}.is_suffix_of(whole));
  CHECK_FALSE(Shape{1}.is_suffix_of(whole));  // no axis is stretched
  CHECK_FALSE(Shape{1, 2, 3, 4}.is_suffix_of(whole));
  CHECK(Shape{}.is_suffix_of(Shape{}));
}

TEST_CASE("shape: messages") {
  CHECK_THROWS_WITH_AS((Shape{1, 2, 3, 4, 5}),
                       "[Shape] (1, 2, 3, 4, 5) has 5 axes: at most 4 are possible", ShapeError);
  CHECK_THROWS_WITH_AS((Shape{2, 3}[2]),
                       "[Shape] axis 2 of shape (2, 3) does not exist: it has 2 axes", ShapeError);
  CHECK_THROWS_WITH_AS(Shape{}.without(0),
                       "[Shape] axis 0 of shape () does not exist: it has 0 axes", ShapeError);
  CHECK_THROWS_WITH_AS((Shape{2, 3}.with(4, 1)),
                       "[Shape] axis 4 of shape (2, 3) does not exist: it has 2 axes", ShapeError);
  CHECK_THROWS_WITH_AS((Shape{2, 3}.inserted(3, 1)),
                       "[Shape] axis 3 of shape (2, 3) does not exist: it has 2 axes", ShapeError);
  CHECK_THROWS_WITH_AS((Shape{1, 2, 3, 4}.inserted(4, 5)),
                       "[Shape] (1, 2, 3, 4, 5) has 5 axes: at most 4 are possible", ShapeError);
}

TEST_CASE("shape: more elements than can be addressed, whether or not a size of 0 hides it") {
  constexpr std::size_t most = PTRDIFF_MAX / 8;
  CHECK(Shape{most}.numel() == most);
  CHECK_THROWS_WITH_AS((Shape{most + 1}),
                       "[Shape] (1152921504606846976) has more elements than memory can address",
                       ShapeError);
  CHECK_THROWS_WITH_AS((Shape{4294967296, 4294967296}),
                       "[Shape] (4294967296, 4294967296) has more elements than memory can address",
                       ShapeError);
  CHECK_THROWS_AS((Shape{0, 4294967296, 4294967296}), ShapeError);
  CHECK_THROWS_AS((Shape{SIZE_MAX, 0}), ShapeError);
  CHECK_THROWS_AS((Shape{2, 3}.with(1, SIZE_MAX)), ShapeError);
}
