#include <algorithm>
#include <numeric>

#include "../../core/check-inl.h"
#include "../../core/fail-inl.h"
#include "../../core/kernels/indexing.h"
#include "packing-inl.h"

namespace tapegrad::recurrent {
namespace {

std::size_t length(const Tensor& lengths, std::size_t b) {
  return static_cast<std::size_t>(lengths.data<std::int32_t>()[b]);
}

}  // namespace

void check_lengths(std::string_view op, const Steps& steps, const Shape& sequence) {
  if (steps.lengths.defined()) check::lengths(op, steps.lengths, sequence);
}

Packing::Packing(std::string_view op, const Steps& steps, const Shape& sequence)
    : steps_(sequence[0]), batch_(sequence[1]), reverse_(steps.reverse) {
  check_lengths(op, steps, sequence);
  if (!steps.lengths.defined()) return;
  const std::size_t T = steps_, B = batch_;
  pool::Vector<std::int32_t> order(B);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const std::int32_t* lengths = steps.lengths.data<std::int32_t>();
    return lengths[a] != lengths[b] ? lengths[a] > lengths[b] : a < b;
  });
  if (length(steps.lengths, static_cast<std::size_t>(order.back())) == T) return;  // all are T

  active_.resize(T);
  std::size_t active = B, N = 0;
  for (std::size_t t = 0; t < T; ++t) {
    while (active > 0 && length(steps.lengths, static_cast<std::size_t>(order[active - 1])) <= t) {
      --active;
    }
    active_[t] = active;
    N += active;
  }
  rows_ = Tensor::empty({N}, DType::int32);
  std::int32_t* row = rows_.mutable_data<std::int32_t>();
  for (std::size_t t = 0; t < T; ++t) {
    for (std::size_t r = 0; r < active_[t]; ++r) {
      *row++ = static_cast<std::int32_t>(t * B) + order[r];
    }
  }
  order_ = Tensor::from({B}, order);
  places_ = Tensor::empty({B}, DType::int32);
  for (std::size_t r = 0; r < B; ++r) {
    places_.mutable_data<std::int32_t>()[order[r]] = static_cast<std::int32_t>(r);
  }
}

kernels::Sequence Packing::sequence() const {
  return {.steps = steps_,
          .batch = batch_,
          .active = packed() ? active_.data() : nullptr,
          .reverse = reverse_};
}

Tensor Packing::pack(const Tensor& x) const {
  if (!packed() || !x.defined()) return x;
  const std::size_t columns = x.rank() == 3 ? x.size(2) : 1;
  const Tensor rows = kernels::take_rows(x.reshape({steps_ * batch_, columns}), rows_);
  return x.rank() == 3 ? rows : rows.reshape({rows_.numel()});
}

Tensor Packing::unpack(const Tensor& x) const {
  if (!packed() || !x.defined()) return x;
  return kernels::put_rows(x, rows_, steps_ * batch_).reshape({steps_, batch_, x.size(1)});
}

Tensor Packing::sort(const Tensor& state) const {
  return packed() && state.defined() ? kernels::take_rows(state, order_) : state;
}

Tensor Packing::unsort(const Tensor& state) const {
  return packed() && state.defined() ? kernels::take_rows(state, places_) : state;
}

Tensor valid_ids(std::string_view op, const Tensor& ids, const Steps& steps) {
  if (!steps.lengths.defined()) return ids;
  const std::size_t T = ids.size(0), B = ids.size(1);
  check_lengths(op, steps, ids.shape());
  Tensor valid = ids.clone();
  std::int32_t* id = valid.mutable_data<std::int32_t>();
  for (std::size_t t = 0; t < T; ++t) {
    for (std::size_t b = 0; b < B; ++b, ++id) {
      if (t >= length(steps.lengths, b)) *id = 0;
    }
  }
  return valid;
}

Tensor going_on(const Steps& steps, std::size_t t) {
  if (!steps.lengths.defined()) return {};
  const std::size_t B = steps.lengths.numel();
  pool::Vector<std::int32_t> rows;
  for (std::size_t b = 0; b < B; ++b) {
    if (length(steps.lengths, b) > t) rows.push_back(static_cast<std::int32_t>(b));
  }
  return rows.size() == B ? Tensor() : Tensor::from({rows.size()}, rows);
}

}  // namespace tapegrad::recurrent
