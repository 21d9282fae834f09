#pragma once

#include <algorithm>
#include <cstddef>

#include "../scratch-inl.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::kernels {

/// Copies `count` elements; null stands for zeros.
template <class T>
void copy_or_zero(const T* from, std::size_t count, T* to) {
  if (from != nullptr) {
    std::copy_n(from, count, to);
  } else {
    std::fill_n(to, count, T{0});
  }
}

/// Results that are optional: `to` if the caller wants them, else scratch.
template <class T>
class Wanted {
 public:
  Wanted(T* to, std::size_t count)
      : own_(to != nullptr ? 0 : count), data_(to != nullptr ? to : own_.get()) {}
  T* get() const { return data_; }

 private:
  Scratch<T> own_;
  T* data_;
};

/// A running state or gradient (B, H), begun from `initial` (null: zeros) and moved on in place, in
/// the caller's `last` if there is one.
template <class T>
class Running {
 public:
  Running(const T* initial, std::size_t count, T* last = nullptr) : memory_(last, count) {
    copy_or_zero(initial, count, memory_.get());
  }
  T* get() const { return memory_.get(); }

 private:
  Wanted<T> memory_;
};

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
