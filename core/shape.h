#pragma once

#include "cxx20.h"

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>

namespace tapegrad {

/// The number of an axis: 0 is the first, -1 the last. Any integer is one.
struct Axis {
  template <std::integral I>
  // NOLINTNEXTLINE(google-explicit-constructor): a number is meant wherever an axis is
  constexpr Axis(I n) : number(static_cast<std::ptrdiff_t>(n)) {
    if (n > 0 && number < 0) number = PTRDIFF_MAX;  // rank() - 2 of rank 1 is no axis
  }
  bool operator==(const Axis&) const = default;

  std::ptrdiff_t number;
};

/// The sizes of a tensor's axes, outermost first; `Shape{}` is a scalar. At most `max_rank` axes.
///
/// A size may be 0. The number of elements is checked when the shape is made, so `numel()` times
/// the size of an element never overflows.
class Shape {
 public:
  static constexpr std::size_t max_rank = 4;

  constexpr Shape() = default;
  /// Throws ShapeError for more than `max_rank` axes, or if the elements could not be addressed.
  Shape(std::initializer_list<std::size_t> dims)
      : Shape(std::span<const std::size_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const std::size_t> dims);

  std::size_t rank() const { return rank_; }
  /// Returns the size of axis `axis`; throws ShapeError if there is no such axis.
  std::size_t operator[](Axis axis) const { return dims_[index(axis)]; }
  /// Returns the axis counted from the first, in [0, rank()); throws ShapeError if there is no such
  /// axis.
  std::size_t index(Axis axis) const { return index_of(axis, rank_); }
  /// Returns the place of an axis put before axis `axis`, in [0, rank()]: `axis` counts in the
  /// result, so that -1 makes it the last one.
  std::size_t index_inserted(Axis axis) const { return index_of(axis, rank_ + std::size_t{1}); }
  std::span<const std::size_t> dims() const& { return {dims_.data(), rank_}; }
  std::span<const std::size_t> dims() const&& = delete;  // name the Shape first
  std::size_t numel() const { return dims_[0] * dims_[1] * dims_[2] * dims_[3]; }

  /// Returns the shape without axis `axis`, with axis `axis` of another size, or with one more
  /// axis, which is axis `axis` of the result.
  Shape without(Axis axis) const;
  Shape with(Axis axis, std::size_t size) const;
  Shape inserted(Axis axis, std::size_t size) const;

  /// Returns true if this shape is `other`'s last axes, so that a tensor of it broadcasts over
  /// `other`.
  bool is_suffix_of(const Shape& other) const;

  /// Not the default one, which would call memcmp: every op compares shapes.
  bool operator==(const Shape& other) const {
    return rank_ == other.rank_ && dims_[0] == other.dims_[0] && dims_[1] == other.dims_[1] &&
           dims_[2] == other.dims_[2] && dims_[3] == other.dims_[3];
  }

 private:
  std::size_t index_of(Axis axis, std::size_t count) const {
    const auto i = static_cast<std::size_t>(axis.number) + (axis.number < 0 ? count : 0);
    if (i >= count) no_such_axis(axis);
    return i;
  }
  [[noreturn]] void no_such_axis(Axis axis) const;

  std::array<std::size_t, max_rank> dims_{1, 1, 1,
                                          1};  // unused axes are 1, so numel() is one product
  std::uint8_t rank_ = 0;
};

/// Returns "(20, 4, 12)"; "()" for a scalar.
std::string to_string(const Shape& shape);
std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace tapegrad
