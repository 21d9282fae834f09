#include "windows.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "../fail-inl.h"
#include "../io/archive.h"

namespace tapegrad {

Split split_in_time(const Tensor& sequence, double valid_fraction) {
  if (sequence.rank() == 0) {
    fail<ShapeError>("split_in_time", "the sequence is a scalar: its first axis must be time");
  }
  // Written so that NaN is refused, too.
  if (!(valid_fraction > 0 && valid_fraction < 1)) {
    fail<UsageError>("split_in_time", "valid_fraction is {} but must be between 0 and 1",
                     valid_fraction);
  }
  const std::size_t n = sequence.size(0);
  const auto valid =
      static_cast<std::size_t>(std::llround(valid_fraction * static_cast<double>(n)));
  if (valid == 0 || valid >= n) {
    fail<UsageError>("split_in_time",
                     "a valid_fraction of {} leaves {} of {} entries for training and {} for "
                     "validation: both need one",
                     valid_fraction, n - std::min(valid, n), n, valid);
  }
  return {sequence.slice(0, n - valid), sequence.slice(n - valid, n)};
}

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
