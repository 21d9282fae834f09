#pragma once

#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>

#include "tensor.h"

#pragma GCC visibility push(hidden)

/// Checks of the inputs of ops and layers, and their error messages.
namespace tapegrad::check {

/// `letters`: what the axes mean, as in "(T, B, I)".
struct Named {
  std::string_view name;
  std::string_view letters;
  const Shape& shape;
};

/// Tests whether b is a with its first two axes in the other order, as (B, T, ...) is for
/// (T, B, ...); one may have more axes at the end.
bool looks_swapped(const Shape& a, const Shape& b);
/// Throws ShapeError: "[op] a has shape (letters) = (numbers) but b has shape ...: rule". If the
/// letters leave the axes open and the shapes look swapped, says so.
[[noreturn]] void mismatch(std::string_view op, Named a, Named b, std::string_view rule);
/// Throws ShapeError: "[op] a has shape (numbers): it must be rule".
[[noreturn]] void wrong_shape(std::string_view op, std::string_view name, const Shape& shape,
                              std::string_view rule);

struct Argument {
  template <class Value>
  Argument(std::string_view what, const Value& value) : name(what), defined(value.defined()) {}

  std::string_view name;
  bool defined;
};
[[noreturn]] void undefined(std::string_view op, std::string_view name);
/// Throws UsageError: "[op] name is undefined: give it a value first". The first check of an op: all
/// others ask for shapes and dtypes.
inline void defined(std::string_view op, std::initializer_list<Argument> arguments) {
  for (const Argument& a : arguments) {
    if (!a.defined) undefined(op, a.name);
  }
}

/// Equal, or one is the other's last axes.
[[noreturn]] void not_broadcastable(std::string_view op, const Shape& a, const Shape& b);
inline void broadcastable(std::string_view op, const Shape& a, const Shape& b) {
  if (a == b || a.is_suffix_of(b) || b.is_suffix_of(a)) return;
  not_broadcastable(op, a, b);
}
void equal_shapes(std::string_view op, std::string_view a_name, const Shape& a,
                  std::string_view b_name, const Shape& b);
/// The axis counted from the first; throws ShapeError unless it exists.
Axis axis(std::string_view op, const Shape& shape, Axis axis);
/// Checks a new axis, which counts.
Axis new_axis(std::string_view op, const Shape& shape, Axis axis);
/// "[op] [begin, end) of axis a does not exist in shape (numbers)", and other things that cannot be
/// cut or joined.
[[noreturn]] void no_such_range(std::string_view op, const Shape& shape, Axis axis,
                                std::size_t begin, std::size_t end);
[[noreturn]] void no_equal_parts(std::string_view op, const Shape& shape, Axis axis,
                                 std::size_t parts);
/// In [1, size of the axis].
void count_in_axis(std::string_view op, std::string_view name, std::size_t count,
                   const Shape& shape, Axis axis);
/// The sizes sum to that of the axis.
void parts_fill_axis(std::string_view op, const Shape& shape, Axis axis,
                     std::span<const std::size_t> sizes);
[[noreturn]] void no_parts(std::string_view op);
/// int32, and every element in [0, rows) or equal to `ignore` (the address of a value, or null).
void ids(std::string_view op, const Tensor& ids, std::size_t rows,
         const std::int32_t* ignore = nullptr);
/// (B) int32, each in [0, T], for a sequence of the shape (T, B, ...).
void lengths(std::string_view op, const Tensor& lengths, const Shape& sequence);
/// float32 or float64.
void real(std::string_view op, std::string_view name, DType dtype);
/// Throws UsageError unless low <= high, which is false for a NaN.
void range(std::string_view op, double low, double high);
/// int32.
void condition(std::string_view op, DType dtype);
/// In [0, 1).
void probability(std::string_view op, std::string_view name, double p);
/// Greater than 0 and finite.
void positive(std::string_view op, std::string_view name, double value);

}  // namespace tapegrad::check

#pragma GCC visibility pop
