#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#pragma GCC visibility push(hidden)

/// Parts of the formulas of optimizers, for one element.
namespace tapegrad::detail {

/// Returns g, cut to where its square does not overflow; infinity becomes NaN, which no step hides.
template <class T>
T squarable(T g) {
  const T largest = std::sqrt(std::numeric_limits<T>::max());
  return std::clamp(g, -largest, largest) + g * 0;
}

}  // namespace tapegrad::detail

#pragma GCC visibility pop
