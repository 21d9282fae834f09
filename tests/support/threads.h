#pragma once

#include <cstddef>

#include "../../core/threads.h"

namespace tapegrad::testing {

/// So many threads until the end of a block.
class Threads {
 public:
  explicit Threads(std::size_t count) : before_(threads()) { set_threads(count); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() { set_threads(before_); }

 private:
  std::size_t before_;
};

}  // namespace tapegrad::testing
