#pragma once

#include <cstddef>

#include "../../core/threads.h"

namespace tapegrad::testing {

/// So many threads until the end of a block; then one, as before the first test.
struct Threads {
  explicit Threads(std::size_t count) { set_threads(count); }
  ~Threads() { set_threads(1); }
};

}  // namespace tapegrad::testing
