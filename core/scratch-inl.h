#pragma once

#include <cstddef>

#include "pool.h"

#pragma GCC visibility push(hidden)

namespace tapegrad {

/// Uninitialised memory from the tensor pool for the time of one call.
template <class E>
class Scratch {
 public:
  explicit Scratch(std::size_t count)
      : bytes_(count * sizeof(E)),
        data_(count > 0 ? static_cast<E*>(pool::allocate(bytes_)) : nullptr) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (data_ != nullptr) pool::release(data_, bytes_);
  }
  /// Null if the count was 0.
  E* get() const { return data_; }
  E& operator[](std::size_t index) const { return data_[index]; }

 private:
  std::size_t bytes_;
  E* data_;
};

}  // namespace tapegrad

#pragma GCC visibility pop
