#include "check-inl.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "fail-inl.h"
#include "words-inl.h"

namespace tapegrad::check {
namespace {

std::string described(const Named& x) {
  return x.letters.empty()
             ? fmt::format("{} has shape {}", x.name, to_string(x.shape))
             : fmt::format("{} has shape {} = {}", x.name, x.letters, to_string(x.shape));
}

/// Leading axes of any meaning, where (T, B, ...) and (B, T, ...) may meet: "", "(...)", "(..., V)".
bool is_open(const Named& x) {
  return x.letters.empty() ||
         (x.letters.starts_with("(...") && std::ranges::count(x.letters, ',') <= 1);
}

Axis counted(std::string_view op, const Shape& shape, Axis axis, std::size_t count) {
  const auto n = static_cast<std::ptrdiff_t>(count);
  if (axis.number >= -n && axis.number < n) return axis.number + (axis.number < 0 ? n : 0);
  fail<ShapeError>(op, "axis {} of shape {} does not exist: it has {} axes", axis.number, shape,
                   shape.rank());
}

}  // namespace

bool looks_swapped(const Shape& a, const Shape& b) {
  const std::size_t rank = std::min(a.rank(), b.rank());
  if (rank < 2 || a[0] == a[1] || a[0] != b[1] || a[1] != b[0]) return false;
  for (std::size_t axis = 2; axis < rank; ++axis) {
    if (a[axis] != b[axis]) return false;
  }
  return true;
}

void mismatch(std::string_view op, Named a, Named b, std::string_view rule) {
  const bool swapped = is_open(a) && is_open(b) && looks_swapped(a.shape, b.shape);
  fail<ShapeError>(op, "{} but {}: {}{}", described(a), described(b), rule,
                   swapped
                       ? "; the first two axes of one look swapped: sequences are (T, B, ...), and "
                         "transpose(x, 0, 1) makes them so"
                       : "");
}

void wrong_shape(std::string_view op, std::string_view name, const Shape& shape,
                 std::string_view rule) {
  fail<ShapeError>(op, "{} has shape {}: it must be {}", name, shape, rule);
}

void undefined(std::string_view op, std::string_view name) {
  fail<UsageError>(op, "{} is undefined: give it a value first", name);
}

void not_broadcastable(std::string_view op, const Shape& a, const Shape& b) {
  mismatch(op, {"a", "", a}, {"b", "", b},
           "the shapes must be equal, or one the last axes of the other");
}

void equal_shapes(std::string_view op, std::string_view a_name, const Shape& a,
                  std::string_view b_name, const Shape& b) {
  if (a != b) mismatch(op, {a_name, "", a}, {b_name, "", b}, "the shapes must be equal");
}

Axis axis(std::string_view op, const Shape& shape, Axis axis) {
  return counted(op, shape, axis, shape.rank());
}

Axis new_axis(std::string_view op, const Shape& shape, Axis axis) {
  return counted(op, shape, axis, shape.rank() + 1);
}

void no_such_range(std::string_view op, const Shape& shape, Axis axis, std::size_t begin,
                   std::size_t end) {
  fail<ShapeError>(op, "[{}, {}) of axis {} does not exist in shape {}", begin, end, axis.number,
                   shape);
}

void no_equal_parts(std::string_view op, const Shape& shape, Axis axis, std::size_t parts) {
  fail<ShapeError>(op, "axis {} of shape {} cannot be cut into {} equal parts", axis.number, shape,
                   parts);
}

void count_in_axis(std::string_view op, std::string_view name, std::size_t count,
                   const Shape& shape, Axis axis) {
  if (count >= 1 && count <= shape[axis]) return;
  fail<UsageError>(op, "{} is {} but axis {} of shape {} has size {}: it must be in [1, {}]", name,
                   count, axis.number, shape, shape[axis], shape[axis]);
}

void parts_fill_axis(std::string_view op, const Shape& shape, Axis axis,
                     std::span<const std::size_t> sizes) {
  std::size_t left = shape[axis];
  const bool fit = std::ranges::all_of(sizes, [&](std::size_t size) {
    if (size > left) return false;  // so that no sum overflows
    left -= size;
    return true;
  });
  if (fit && left == 0) return;
  fail<ShapeError>(
      op, "axis {} of shape {} has size {} but the parts have sizes {}: they must sum to it",
      axis.number, shape, shape[axis], joined(sizes, " + "));
}

void no_parts(std::string_view op) {
  fail<UsageError>(op, "there are no parts: at least one is needed");
}

void ids(std::string_view op, const Tensor& ids, std::size_t rows, const std::int32_t* ignore) {
  if (ids.dtype() != DType::int32) {
    fail<DtypeError>(op, "ids are {}: they must be int32", ids.dtype());
  }
  const std::span<const std::int32_t> values = ids.values<std::int32_t>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::int32_t id = values[i];
    if (id >= 0 && static_cast<std::size_t>(id) < rows) continue;
    if (ignore != nullptr && id == *ignore) continue;
    fail<UsageError>(op, "id {} at position {} of shape {} is out of range: ids must be in [0, {})",
                     id, i, ids.shape(), rows);
  }
}

void lengths(std::string_view op, const Tensor& lengths, const Shape& sequence) {
  const std::size_t T = sequence[0], B = sequence[1];
  if (lengths.shape() != Shape{B}) {
    fail<ShapeError>(op, "lengths have shape {} but x has B = {} sequences: lengths must be (B)",
                     lengths.shape(), B);
  }
  if (lengths.dtype() != DType::int32) {
    fail<DtypeError>(op, "lengths are {}: they must be int32", lengths.dtype());
  }
  for (std::size_t b = 0; b < B; ++b) {
    const std::int32_t n = lengths.data<std::int32_t>()[b];
    if (n >= 0 && static_cast<std::size_t>(n) <= T) continue;
    fail<UsageError>(
        op, "length {} of sequence {} is out of range: lengths must be in [0, T], T = {}", n, b, T);
  }
}

void real(std::string_view op, std::string_view name, DType dtype) {
  if (dtype != DType::int32) return;
  fail<DtypeError>(op, "{} is int32: it must be float32 or float64; convert it with to()", name);
}

void range(std::string_view op, double low, double high) {
  if (low <= high) return;
  fail<UsageError>(op, "low is {} but high is {}: low must not be above high", low, high);
}

void condition(std::string_view op, DType dtype) {
  if (dtype == DType::int32) return;
  fail<DtypeError>(op, "condition is {}: it must be int32, 0 for false", dtype);
}

void probability(std::string_view op, std::string_view name, double p) {
  if (p >= 0 && p < 1) return;
  fail<UsageError>(op, "{} is {}: it must be in [0, 1)", name, p);
}

void positive(std::string_view op, std::string_view name, double value) {
  if (value > 0 && std::isfinite(value)) return;
  fail<UsageError>(op, "{} is {}: it must be greater than 0 and finite", name, value);
}

}  // namespace tapegrad::check
