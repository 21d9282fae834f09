#include "long_sums-inl.h"

#include "kernels/elementwise.h"

namespace tapegrad {

void LongSums::move(std::size_t place, Tensor& sum) {
  if (sum.dtype() != DType::float32 || !sum.unique()) return;
  if (moved_.empty()) moved_.resize(counts_.size());
  if (moved_[place].defined()) {
    kernels::accumulate(moved_[place], sum.to(DType::float64));
  } else {
    moved_[place] = sum.to(DType::float64);
  }
  sum.fill(0);
}

void LongSums::settle(std::size_t place, Tensor& sum) {
  kernels::accumulate(moved_[place], sum.to(DType::float64));
  const Tensor whole = moved_[place].to(DType::float32);
  moved_[place] = Tensor();
  if (sum.unique()) {
    sum.copy_from(whole);
  } else {
    sum = whole;
  }
}

}  // namespace tapegrad
