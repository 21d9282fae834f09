#pragma once

#include <cstdint>

#include "../tensor.h"

/// Connectionist temporal classification of logits (T, B, C), fused with the softmax it is made of
/// (Graves et al. 2006). Shapes, dtypes and ranges have been checked by the caller.
///
/// The S ids of a target, with a blank before, between and behind them, are the 2 S + 1 states of an
/// alignment. It begins before the first blank, and from one step to the next it stays in its state,
/// goes on to the next one, or leaves out a blank between two ids that differ; it ends with the last
/// id or the last blank. With a_t(s) the sum of the probabilities of all ways to be in state s at
/// step t, b_t(s) that of all ways to go on from there to the end, and y_t the softmax of the
/// logits,
///   p = sum_s a_t(s) b_t(s) for any t,   loss = -log p,
///   dloss / dlogits_t(k) = y_t(k) - sum_{s: its id is k} a_t(s) b_t(s) / p.
/// All of it is computed of logarithms and in double; at each step the largest a_t and b_t are made 1,
/// so that no digits are lost to the length of a sequence.
namespace tapegrad::kernels {

struct CTCTargets {
  Tensor
      ids;  // (S, B) int32, in [0, C) and not blank up to a target's length; the rest is not read
  Tensor lengths;  // (B) int32, in [0, S]
  Tensor steps;    // (B) int32, in [0, T]: behind them logits are not read
  std::int32_t blank = 0;
};

struct CTC {
  Tensor losses;  // (B); inf if there is no alignment
  /// Gradient of their sum; 0 behind the steps, and in all of a sequence whose loss is infinite.
  /// Undefined if not asked for.
  Tensor dlogits;
};
CTC ctc(const Tensor& logits, const CTCTargets& targets, bool with_gradient);

/// Computes the gradient of the losses' sum, each weighted with its dlosses (B), from `dlogits`.
Tensor ctc_backward(const Tensor& dlogits, const Tensor& dlosses);

/// Computes the class of each state: (B, 2 S + 1) int32, blank behind the end of a target.
Tensor ctc_states(const CTCTargets& targets);

}  // namespace tapegrad::kernels
