#pragma once

#include <cstdint>
#include <vector>

#include "../var.h"

/// Connectionist temporal classification (Graves et al. 2006): labels a sequence with fewer ids than
/// it has steps, without knowing where each of them is.
namespace tapegrad {

/// Reductions of the losses of B sequences.
enum class CTCReduction : std::uint8_t {
  mean,  // the mean of the losses, each divided by the length of its target, at least 1
  sum,
  none,  // the losses themselves, (B)
};

struct CTCOptions {
  std::int32_t blank = 0;  // class that is no id
  CTCReduction reduction = CTCReduction::mean;
  bool zero_infinity = false;  // an infinite loss is 0, with the gradient 0
};

/// Computes -log p(target | logits), in nats, p the sum of the probabilities of all alignments: the
/// paths of one class a step, with probabilities softmax(logits), of which the target is left if
/// repeated classes are merged and then blanks are removed.
///
/// logits (T, B, C); targets (S, B) int32 in [0, C) without blanks, as pad_sequences() makes them;
/// input_lengths and target_lengths (B) int32, undefined: all T, or all S. What is behind a length
/// is not read. As torch's CTCLoss of log_softmax(logits); the softmax is part of the loss, so that
/// its gradient is softmax - posterior, which is right where both are near 1.
///
///     const auto [targets, lengths] = pad_sequences(transcripts);
///     const Var loss = ctc_loss(logits, targets, input_lengths, lengths);
///
/// A target needs a step for each id, and one more for each id that equals the one before it:
/// UsageError if a sequence has fewer, unless zero_infinity. Throws ShapeError, DtypeError, and
/// UsageError for an id or a length out of range. Impossible classes, of logit -inf, may make a loss
/// infinite too; no gradient passes through such a loss.
Var ctc_loss(const Var& logits, const Tensor& targets, const Tensor& input_lengths,
             const Tensor& target_lengths, const CTCOptions& options = {});
/// Composes ctc_loss() of log_softmax, and of logsumexp over the states of an alignment, step by
/// step, in float64: the definition, and the twin of the fused one.
Var ctc_loss_composed(const Var& logits, const Tensor& targets, const Tensor& input_lengths,
                      const Tensor& target_lengths, const CTCOptions& options = {});

/// Returns the ids of the most probable path of each sequence, without repeats and blanks: logits or
/// log-probabilities (T, B, C), of equal ones the first; input_lengths as above. The most probable
/// path need not have the most probable ids. Throws like ctc_loss(), and NonFiniteError for a NaN.
std::vector<std::vector<std::int32_t>> ctc_greedy_decode(const Tensor& logits,
                                                         const Tensor& input_lengths,
                                                         std::int32_t blank = 0);

}  // namespace tapegrad
