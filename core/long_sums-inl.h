#pragma once

#include <cstddef>
#include <cstdint>

#include "pool.h"
#include "tensor.h"

#pragma GCC visibility push(hidden)

namespace tapegrad {

/// Sums of float32 tensors that arrive one at a time, known by their place in a list. Added to a long
/// sum one by one they would be rounded to its size; so every `run` of them moves into a float64
/// sum, which is rounded once, when it is settled.
class LongSums {
 public:
  /// Places [0, places), without a term yet.
  void assign(std::size_t places) { counts_.assign(places, 0); }

  /// Counts a term that will be added. True once in a while: then move() before adding it.
  bool is_long(std::size_t place) { return ++counts_[place] % run == 0; }
  /// Moves what `sum` holds away and leaves zeros, if that would help and nobody else holds it.
  void move(std::size_t place, Tensor& sum);

  /// Tests whether a part of the sum has moved.
  bool has_moved(std::size_t place) const { return !moved_.empty() && moved_[place].defined(); }
  /// Puts the whole sum in place of its last terms.
  void settle(std::size_t place, Tensor& sum);

 private:
  static constexpr std::uint8_t run = 32;

  pool::Vector<std::uint8_t> counts_;
  pool::Vector<Tensor> moved_;  // empty until the first sum is long
};

}  // namespace tapegrad

#pragma GCC visibility pop
