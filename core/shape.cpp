#include "shape.h"

#include <algorithm>
#include <cstdint>

#include "fail-inl.h"
#include "words-inl.h"

namespace tapegrad {
namespace {

constexpr std::size_t largest_element = sizeof(double);

void check_addressable(std::span<const std::size_t> dims) {
  // A size of 0 must not hide an overflow of the others: strides are products of them too.
  std::size_t count = 1;
  for (std::size_t size : dims) {
    if (size > 1 && count > PTRDIFF_MAX / largest_element / size) {
      fail<ShapeError>("Shape", "({}) has more elements than memory can address",
                       joined(dims, ", "));
    }
    count *= std::max<std::size_t>(size, 1);
  }
}

}  // namespace

Shape::Shape(std::span<const std::size_t> dims) {
  if (dims.size() > max_rank) {
    fail<ShapeError>("Shape", "({}) has {} axes: at most {} are possible", joined(dims, ", "),
                     dims.size(), std::size_t{max_rank});
  }
  check_addressable(dims);
  std::copy(dims.begin(), dims.end(), dims_.begin());
  rank_ = static_cast<std::uint8_t>(dims.size());
}

Shape Shape::without(Axis axis) const {
  const auto i = static_cast<std::ptrdiff_t>(index(axis));
  Shape result = *this;
  std::shift_left(result.dims_.begin() + i, result.dims_.end(), 1);
  result.dims_.back() = 1;
  --result.rank_;
  return result;
}

Shape Shape::with(Axis axis, std::size_t size) const {
  std::array<std::size_t, max_rank> dims = dims_;
  dims[index(axis)] = size;
  return Shape(std::span<const std::size_t>(dims.data(), rank_));
}

Shape Shape::inserted(Axis axis, std::size_t size) const {
  std::array<std::size_t, max_rank + 1> dims{};
  const auto split = dims_.begin() + static_cast<std::ptrdiff_t>(index_inserted(axis));
  auto out = std::copy(dims_.begin(), split, dims.begin());
  *out++ = size;
  std::copy(split, dims_.begin() + rank_, out);
  return Shape(std::span<const std::size_t>(dims.data(), rank_ + std::size_t{1}));
}

bool Shape::is_suffix_of(const Shape& other) const {
  return rank_ <= other.rank_ && std::equal(dims_.begin(), dims_.begin() + rank_,
                                            other.dims_.begin() + (other.rank_ - rank_));
}

void Shape::no_such_axis(Axis axis) const {
  fail<ShapeError>("Shape", "axis {} of shape {} does not exist: it has {} axes", axis.number,
                   *this, rank_);
}

std::string to_string(const Shape& shape) { return "(" + joined(shape.dims(), ", ") + ")"; }

}  // namespace tapegrad
