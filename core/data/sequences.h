#pragma once

#include <span>

#include "../tensor.h"

/// Batches of sequences of different lengths.
namespace tapegrad {

/// Sequences side by side, the shorter ones padded at their end.
struct PaddedSequences {
  Tensor values;   // (T, B, ...), T the longest length
  Tensor lengths;  // (B) int32, as the recurrent layers take them
};

/// Makes a batch of B sequences (T_b, ...) of one dtype, whose other axes are equal; a sequence may
/// have no steps. What is behind an end is `padding`, which nothing that is given the lengths reads.
///
///     const auto [x, lengths] = pad_sequences(sentences);
///     const auto [y, last] = lstm(tape, embed(tape, x), lstm.zero_state(x.size(1)), lengths);
///
/// Throws UsageError for no sequences, and for a padding that the dtype cannot hold (an int32 holds
/// no NaN); ShapeError for a scalar, for other axes that differ, and if no sequence has a step;
/// DtypeError.
PaddedSequences pad_sequences(std::span<const Tensor> sequences, double padding = 0);

/// Makes the batch of those that `chosen` has the places of, which may repeat. Throws likewise, and
/// UsageError for a place that does not exist.
PaddedSequences pad_sequences(std::span<const Tensor> sequences,
                              std::span<const std::size_t> chosen, double padding = 0);

/// Returns 1 at the steps before each sequence's end and 0 behind, float32, of a shape (T, B, ...):
/// the weights of a loss over padded sequences, which then counts valid steps alone and reads no
/// other. lengths (B) int32, each in [0, T].
///
///     bce_with_logits(logits, targets, {.weights = valid_steps(lengths, logits.shape())})
///     cross_entropy(logits, ids, {.weights = valid_steps(lengths, ids.shape())})
///
/// Throws ShapeError for a shape of fewer than two axes and for other lengths than (B), DtypeError,
/// UsageError for a length out of range.
Tensor valid_steps(const Tensor& lengths, const Shape& shape);

}  // namespace tapegrad
