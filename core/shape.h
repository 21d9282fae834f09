#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace tapegrad {

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
  /// Size of axis `axis`; throws ShapeError if there is no such axis.
  std::size_t operator[](std::size_t axis) const {
    if (axis >= rank_) no_such_axis(axis);
    return dims_[axis];
  }
  std::span<const std::size_t> dims() const& { return {dims_.data(), rank_}; }
  std::span<const std::size_t> dims() const&& = delete;  // name the Shape first
  std::size_t numel() const { return dims_[0] * dims_[1] * dims_[2] * dims_[3]; }

  /// The shape without axis `axis`, with axis `axis` of another size, or with one more axis before
  /// `axis`.
  Shape without(std::size_t axis) const;
  Shape with(std::size_t axis, std::size_t size) const;
  Shape inserted(std::size_t axis, std::size_t size) const;

  /// True if this shape is `other`'s last axes, so that a tensor of it broadcasts over `other`.
  bool is_suffix_of(const Shape& other) const;

  bool operator==(const Shape&) const = default;

 private:
  [[noreturn]] void no_such_axis(std::size_t axis) const;

  std::array<std::size_t, max_rank> dims_{1, 1, 1,
                                          1};  // unused axes are 1, so numel() is one product
  std::uint8_t rank_ = 0;
};

/// "(20, 4, 12)"; "()" for a scalar.
std::string to_string(const Shape& shape);

}  // namespace tapegrad
