#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "../rng.h"

#pragma GCC visibility push(hidden)

namespace tapegrad {

/// Puts elements into random order (Fisher and Yates); unlike std::shuffle the same one everywhere.
template <class T>
void shuffle(std::vector<T>& elements, Rng& rng) {
  for (std::size_t k = elements.size(); k > 1; --k) {
    std::swap(elements[k - 1], elements[rng.below(k)]);
  }
}

}  // namespace tapegrad

#pragma GCC visibility pop
