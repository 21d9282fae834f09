#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "tensor.h"

#pragma GCC visibility push(hidden)

/// Texts that several files make. (fmt::join would do it too, but takes seconds to compile.)
namespace tapegrad {

/// Returns the words one after the other, `between` between two.
std::string joined(std::span<const std::string> words, std::string_view between);
std::string joined(std::span<const std::size_t> numbers, std::string_view between);

/// Returns "float32 (2, 3)".
std::string described(DType dtype, const Shape& shape);
inline std::string described(const Tensor& t) { return described(t.dtype(), t.shape()); }

}  // namespace tapegrad

#pragma GCC visibility pop
