#include <fmt/core.h>

#include <ostream>
#include <string>

#include "dispatch-inl.h"
#include "tensor.h"
#include "words-inl.h"

namespace tapegrad {
namespace {

/// Of a tensor with more elements than `whole`, the first and the last `edge` along each axis.
constexpr std::size_t whole = 200, edge = 3;

template <class T>
std::string number(T v) {
  if constexpr (std::same_as<T, std::int32_t>) {
    return fmt::format("{}", v);
  } else {
    return fmt::format("{:.6g}", v);
  }
}

/// Appends the elements from `first` on, along `axis` and those after it.
template <class T>
void append(std::string& text, const Shape& shape, std::size_t axis, const T* first,
            bool abbreviated) {
  if (axis == shape.rank()) {
    text += number(*first);
    return;
  }
  const std::size_t n = shape[axis];
  std::size_t step = 1;
  for (const std::size_t size : shape.dims().subspan(axis + 1)) step *= size;
  const std::string between = axis + 1 == shape.rank() ? ", " : ",\n" + std::string(axis + 1, ' ');
  text += '[';
  for (std::size_t i = 0; i < n; ++i) {
    if (i != 0) text += between;
    if (abbreviated && n > 2 * edge && i == edge) {
      text += "..." + between;
      i = n - edge;
    }
    append(text, shape, axis + 1, first + i * step, abbreviated);
  }
  text += ']';
}

}  // namespace

std::string to_string(const Tensor& x) {
  if (!x.defined()) return "undefined";
  std::string text;
  if (x.numel() != 0) {
    dispatch(x.dtype(),
             [&]<class T>(T) { append(text, x.shape(), 0, x.data<T>(), x.numel() > whole); });
  } else {
    text = "[]";
  }
  return text + " " + described(x);
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << to_string(shape); }
std::ostream& operator<<(std::ostream& out, DType dtype) { return out << to_string(dtype); }
std::ostream& operator<<(std::ostream& out, const Tensor& x) { return out << to_string(x); }

}  // namespace tapegrad
