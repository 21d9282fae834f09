#include "sequences.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "../check-inl.h"
#include "../dispatch-inl.h"
#include "../fail-inl.h"

namespace tapegrad {
namespace {

constexpr const char* pad_name = "pad_sequences";

void check_padding(double padding, DType dtype) {
  dispatch(dtype, [&]<class E>(E) {
    const bool special = dtype != DType::int32 && !std::isfinite(padding);
    const bool held = padding >= std::numeric_limits<E>::lowest() &&
                      padding <= std::numeric_limits<E>::max() &&
                      (dtype != DType::int32 || padding == std::nearbyint(padding));
    if (special || held) return;
    fail<UsageError>(pad_name, "padding is {} but the sequences are {}: it must be one of theirs",
                     padding, dtype);
  });
}

/// Returns the shape of all steps of the sequences but the first axis.
Shape check_sequences(std::span<const Tensor> sequences, std::span<const std::size_t> chosen) {
  if (chosen.empty()) fail<UsageError>(pad_name, "there are no sequences: there must be one");
  const Tensor* first = nullptr;
  for (const std::size_t k : chosen) {
    if (k >= sequences.size()) {
      fail<UsageError>(pad_name, "sequence {} is chosen but there are {}", k, sequences.size());
    }
    const Tensor& sequence = sequences[k];
    if (!sequence.defined() || sequence.rank() == 0) {
      fail<ShapeError>(pad_name, "sequence {} is {}: it must have steps, (T, ...)", k,
                       sequence.defined() ? "a scalar" : "undefined");
    }
    if (first == nullptr) first = &sequence;
    if (sequence.dtype() != first->dtype()) {
      fail<DtypeError>(pad_name, "sequence {} is {} but sequence {} is {}: they must be alike", k,
                       sequence.dtype(), chosen[0], first->dtype());
    }
    if (sequence.shape().without(0) != first->shape().without(0)) {
      fail<ShapeError>(pad_name,
                       "sequence {} has shape {} but sequence {} has {}: all axes but the first, "
                       "the time, must match",
                       k, sequence.shape(), chosen[0], first->shape());
    }
  }
  return first->shape().without(0);
}

}  // namespace

PaddedSequences pad_sequences(std::span<const Tensor> sequences,
                              std::span<const std::size_t> chosen, double padding) {
  const Shape step = check_sequences(sequences, chosen);
  const DType dtype = sequences[chosen[0]].dtype();
  check_padding(padding, dtype);
  const std::size_t B = chosen.size();
  Tensor lengths = Tensor::empty({B}, DType::int32);
  std::size_t T = 0;
  for (std::size_t b = 0; b < B; ++b) {
    const std::size_t steps = sequences[chosen[b]].size(0);
    lengths.mutable_data<std::int32_t>()[b] = static_cast<std::int32_t>(steps);
    T = std::max(T, steps);
  }
  if (T == 0) fail<ShapeError>(pad_name, "no sequence has a step: one of them must");
  Tensor values = Tensor::full(step.inserted(0, B).inserted(0, T), padding, dtype);
  const std::size_t elements = step.numel();
  dispatch(dtype, [&]<class E>(E) {
    E* const to = values.mutable_data<E>();
    for (std::size_t b = 0; b < B; ++b) {
      const Tensor& sequence = sequences[chosen[b]];
      const E* from = sequence.data<E>();
      for (std::size_t t = 0; t < sequence.size(0); ++t, from += elements) {
        std::copy_n(from, elements, to + (t * B + b) * elements);
      }
    }
  });
  return {values, lengths};
}

PaddedSequences pad_sequences(std::span<const Tensor> sequences, double padding) {
  std::vector<std::size_t> all(sequences.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return pad_sequences(sequences, all, padding);
}

Tensor valid_steps(const Tensor& lengths, const Shape& shape) {
  check::defined("valid_steps", {{"lengths", lengths}});
  if (shape.rank() < 2) check::wrong_shape("valid_steps", "shape", shape, "(T, B, ...)");
  check::lengths("valid_steps", lengths, shape);
  Tensor valid = Tensor::zeros(shape);
  const std::size_t T = shape[0], B = shape[1], elements = T * B == 0 ? 0 : shape.numel() / (T * B);
  float* to = valid.mutable_data<float>();
  for (std::size_t t = 0; t < T; ++t) {
    for (std::size_t b = 0; b < B; ++b, to += elements) {
      if (t < static_cast<std::size_t>(lengths.data<std::int32_t>()[b]))
        std::fill_n(to, elements, 1);
    }
  }
  return valid;
}

}  // namespace tapegrad
