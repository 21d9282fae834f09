#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/gather.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../../core/kernels/indexing.h"
#include "../../core/kernels/reduce.h"

TEST_SUITE_BEGIN("ops");

// An axis is counted from the first, 0, or from the last, -1: in every function that takes one.

namespace {

using namespace tapegrad;

const Shape shape{2, 3, 4};
constexpr std::ptrdiff_t rank = 3;

Tensor counted(const Shape& s) {
  Tensor t = Tensor::empty(s, DType::float64);
  double next = 0;
  for (double& v : t.mutable_values<double>()) v = 1.5 * next++;
  return t;
}

bool exists(Axis axis) { return axis.number >= -rank && axis.number < rank; }

/// For gather(), which complains of the axis first.
Tensor zero_index(Axis axis) {
  return Tensor::zeros(exists(axis) ? shape.with(axis, 2) : shape, DType::int32);
}

struct Case {
  const char* name;
  std::function<Var(const Var&, Axis)> f;
  bool new_axis = false;  // the axis counts in the result
};

const std::vector<Case> ops = {
    {"sum", [](const Var& x, Axis a) -> Var { return sum(x, a); }},
    {"mean", [](const Var& x, Axis a) -> Var { return mean(x, a); }},
    {"max", [](const Var& x, Axis a) -> Var { return max(x, a); }},
    {"min", [](const Var& x, Axis a) -> Var { return min(x, a); }},
    {"argmax", [](const Var& x, Axis a) -> Var { return argmax(x, a); }},
    {"argmin", [](const Var& x, Axis a) -> Var { return argmin(x, a); }},
    {"cumsum", [](const Var& x, Axis a) -> Var { return cumsum(x, a); }},
    {"norm", [](const Var& x, Axis a) -> Var { return norm(x, a); }},
    {"topk", [](const Var& x, Axis a) -> Var { return topk(x, 2, a).values; }},
    {"index_select",
     [](const Var& x, Axis a) -> Var {
       return index_select(x, a, Tensor::of({3}, {1, 0, 1}, DType::int32));
     }},
    {"repeat", [](const Var& x, Axis a) -> Var { return repeat(x, a, 5); }, true},
    {"transpose", [](const Var& x, Axis a) -> Var { return transpose(x, a, 1); }},
    {"transpose", [](const Var& x, Axis a) -> Var { return transpose(x, 0, a); }},
    {"slice", [](const Var& x, Axis a) -> Var { return slice(x, a, 1, 2); }},
    {"pad", [](const Var& x, Axis a) -> Var { return pad(x, a, 1, 6); }},
    {"concat",
     [](const Var& x, Axis a) -> Var {
       return concat({x, x}, a);
     }},
    {"stack",
     [](const Var& x, Axis a) -> Var {
       return stack({x, x}, a);
     },
     true},
    {"split", [](const Var& x, Axis a) -> Var { return split<1>(x, a)[0]; }},
    {"split",
     [](const Var& x, Axis a) -> Var {
       return split(x, {exists(a) ? x.size(a) - 1 : 1, 1}, a)[1];
     }},
    {"gather", [](const Var& x, Axis a) -> Var { return gather(x, a, zero_index(a)); }},
    {"scatter_add",
     [](const Var& x, Axis a) -> Var {
       return scatter_add(x, a, Tensor::zeros(x.shape(), DType::int32), 7);
     }},
};

const std::vector<Case> kernels_and_shapes = {
    {"sum", [](const Var& v, Axis a) -> Var { return kernels::sum(v.value(), a); }},
    {"repeat", [](const Var& v, Axis a) -> Var { return kernels::repeat(v.value(), a, 5); }, true},
    {"argmax", [](const Var& v, Axis a) -> Var { return kernels::argmax(v.value(), a); }},
    {"argmin", [](const Var& v, Axis a) -> Var { return kernels::argmin(v.value(), a); }},
    {"cumsum", [](const Var& v, Axis a) -> Var { return kernels::cumsum(v.value(), a, true); }},
    {"slice", [](const Var& v, Axis a) -> Var { return kernels::slice(v.value(), a, 1, 2); }},
    {"add_slice",
     [](const Var& v, Axis a) -> Var {
       Tensor total = Tensor::zeros(v.shape().with(a, 9), v.dtype());
       kernels::add_slice(total, v.value(), a, 2);
       return total;
     }},
    {"concat",
     [](const Var& v, Axis a) -> Var {
       return kernels::concat(std::vector<Tensor>{v.value(), v.value()}, a);
     }},
    {"transpose",
     [](const Var& v, Axis a) -> Var {
       return v.shape().index(a) == 1 ? v : kernels::transpose(v.value(), 1, a);
     }},
    {"gather",
     [](const Var& v, Axis a) -> Var { return kernels::gather(v.value(), a, zero_index(a)); }},
    {"scatter_add",
     [](const Var& v, Axis a) -> Var {
       Tensor total = Tensor::zeros(v.shape(), v.dtype());
       kernels::scatter_add(total, a, Tensor::zeros(v.shape(), DType::int32), v.value());
       return total;
     }},
    {"Shape[]", [](const Var& v, Axis a) -> Var { return Tensor::scalar(double(v.shape()[a])); }},
    {"Tensor::size",
     [](const Var& v, Axis a) -> Var { return Tensor::scalar(double(v.value().size(a))); }},
    {"Var::size", [](const Var& v, Axis a) -> Var { return Tensor::scalar(double(v.size(a))); }},
    {"Shape::without", [](const Var& v, Axis a) -> Var { return counted(v.shape().without(a)); }},
    {"Shape::with", [](const Var& v, Axis a) -> Var { return counted(v.shape().with(a, 7)); }},
    {"Shape::inserted",
     [](const Var& v, Axis a) -> Var { return counted(v.shape().inserted(a, 7)); }, true},
};

void check_equal(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  for (std::size_t i = 0; i < a.numel(); ++i) CHECK(a.at(i) == b.at(i));
}

void check_from_the_last(const std::vector<Case>& cases) {
  const Tensor x = counted(shape);
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const std::ptrdiff_t count = rank + (c.new_axis ? 1 : 0);
    for (std::ptrdiff_t axis = 0; axis < count; ++axis) {
      CAPTURE(axis);
      check_equal(c.f(x, axis - count).value(), c.f(x, axis).value());
    }
    CHECK_THROWS_AS(c.f(x, count), ShapeError);
    CHECK_THROWS_AS(c.f(x, -count - 1), ShapeError);
  }
}

}  // namespace

TEST_CASE("axes: every op counts them from the last, too") { check_from_the_last(ops); }

TEST_CASE("axes: so do Shape, Tensor, Var and the kernels") {
  check_from_the_last(kernels_and_shapes);
}

TEST_CASE("axes: the error shows the axis as it was typed") {
  const Tensor x = counted(shape);
  for (const Case& c : ops) {
    for (const std::ptrdiff_t axis : {-9, 9}) {
      const std::string text = "[" + std::string(c.name) + "] axis " + std::to_string(axis) +
                               " of shape (2, 3, 4) does not exist: it has 3 axes";
      CHECK_THROWS_WITH_AS(c.f(x, axis), text.c_str(), ShapeError);
    }
  }
  CHECK_THROWS_WITH_AS(slice(x, -1, 3, 9),
                       "[slice] [3, 9) of axis -1 does not exist in shape (2, 3, 4)", ShapeError);
  CHECK_THROWS_WITH_AS(split<3>(x, -1),
                       "[split] axis -1 of shape (2, 3, 4) cannot be cut into 3 equal parts",
                       ShapeError);
}

TEST_CASE("axes: an unsigned number below 0 is no axis") {
  const Tensor x = counted({3});
  CHECK_THROWS_AS(sum(x, x.rank() - 2), ShapeError);
  CHECK_THROWS_AS(x.size(SIZE_MAX), ShapeError);
  CHECK(sum(x, std::int8_t{-1}).item() == sum(x, std::uint8_t{0}).item());
}

TEST_CASE("axes: a gradient finds the axis counted from the last") {
  for (const Case& c : ops) {
    CAPTURE(c.name);
    const std::ptrdiff_t count = rank + (c.new_axis ? 1 : 0);
    for (std::ptrdiff_t axis = 0; axis < count; ++axis) {
      Tape tape;
      const Var x = tape.leaf(counted(shape));
      const Var y = c.f(x, axis), same = c.f(x, axis - count);
      if (!y.recorded()) continue;  // argmax, argmin
      check_equal(tape.gradient(sum(square(y)), {x})[0].value(),
                  tape.gradient(sum(square(same)), {x})[0].value());
    }
  }
}
