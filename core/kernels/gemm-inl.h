#pragma once

#include <cstddef>
#include <cstdint>

#include "../simd/product-inl.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::kernels {

/// Number of terms that float32 adds up well: parts of at most product_depth, added one after the other.
template <class T>
constexpr std::size_t most_terms = sizeof(T) == 4 ? 48 * product_depth : SIZE_MAX;

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
