#include "long_sums-inl.h"

#include "kernels/elementwise.h"
#include "write-inl.h"

namespace tapegrad {

void LongSums::move(std::size_t place, Tensor& sum) {
  if (sum.dtype() != DType::float32 || !sum.unique()) return;
  if (moved_.empty()) moved_.resize(counts_.size());
  Tensor& total = moved_[place];
  if (!total.defined()) total = Tensor::zeros(sum.shape(), DType::float64);
  auto* const from = detail::write<float>(sum);
  auto* const to = detail::write<double>(total);
  for (std::size_t i = 0; i < sum.numel(); ++i) {
    to[i] += static_cast<double>(from[i]);
    from[i] = 0;
  }
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
