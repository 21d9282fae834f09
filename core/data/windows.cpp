#include "windows.h"

#include <algorithm>
#include <utility>

#include "../fail-inl.h"
#include "../io/archive.h"

namespace tapegrad {

StreamWindows::StreamWindows(Tensor ids, std::size_t steps, std::size_t batch)
    : ids_(std::move(ids)), steps_(steps), batch_(batch) {
  if (ids_.rank() != 1) {
    fail<ShapeError>("StreamWindows", "ids has shape {} but must have shape (n)", ids_.shape());
  }
  if (ids_.dtype() != DType::int32) {
    fail<DtypeError>("StreamWindows", "ids is {} but must be int32", ids_.dtype());
  }
  if (steps == 0 || batch == 0) {
    fail<UsageError>("StreamWindows", "(T, B) = ({}, {}): both must be at least 1", steps, batch);
  }
  const std::size_t n = ids_.numel();
  positions_ = n == 0 ? 0 : (n - 1) / batch;
  if (positions_ < steps) {
    // As a double, because the product of any two numbers may overflow.
    const double wanted = static_cast<double>(steps) * static_cast<double>(batch) + 1;
    fail<UsageError>("StreamWindows",
                     "ids has shape (n) = ({}) but (T, B) = ({}, {}): n must be at least B T + 1 = "
                     "{:.0f}; take a longer text or a smaller T or B",
                     n, steps, batch, wanted);
  }
}

Window StreamWindows::at(std::size_t k) const {
  if (k >= size()) {
    fail<UsageError>("at", "window {} does not exist: there are {}", k, size());
  }
  const std::size_t begin = k * steps_;
  const std::size_t steps = std::min(steps_, positions_ - begin);
  Window window{Tensor::empty({steps, batch_}, DType::int32),
                Tensor::empty({steps, batch_}, DType::int32), k == 0};
  const std::int32_t* ids = ids_.data<std::int32_t>() + begin;
  std::int32_t* input = window.inputs.mutable_data<std::int32_t>();
  std::int32_t* target = window.targets.mutable_data<std::int32_t>();
  for (std::size_t t = 0; t < steps; ++t) {
    for (std::size_t b = 0; b < batch_; ++b) {
      *input++ = ids[b * positions_ + t];
      *target++ = ids[b * positions_ + t + 1];
    }
  }
  return window;
}

void StreamWindows::Iterator::state(Archive& a) {
  if (windows_ == nullptr) {
    fail<UsageError>("StreamWindows", "the iterator is of no windows: take it from begin()");
  }
  a.fact("steps", windows_->steps_);
  a.fact("batch", windows_->batch_);
  a.fact("ids", windows_->ids_.numel());
  a("next", k_, std::size_t{0}, windows_->size());
}

}  // namespace tapegrad
