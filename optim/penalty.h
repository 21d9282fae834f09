#pragma once

#include "../autograd/parameters.h"

namespace tapegrad {

struct Penalty {
  double l1 = 0;  // >= 0
  double l2 = 0;  // >= 0
};

/// Adds the gradient of a penalty of large values to the gradients, and returns the penalty:
///
///   R = sum over all elements of l1 |p| + l2/2 p^2          dp = dp + l1 sign(p) + l2 p
///
/// so that l2 is what optimizers call weight_decay, as torch does, and sign(0) is 0. To be called
/// after backward and before clipping; if a step takes several passes, after each of them:
///
///   tape.backward(loss);
///   const double total =
///       loss.item() + add_penalty(parameters(m).with_prefix("lstm.weight"), {.l1 = 1e-5});
///   adam.step({.clip_norm = 5});
///
/// Parameters without gradient are left alone and do not count; what is named twice counts once.
/// Sums are in double.
///
/// Throws UsageError, with no gradient changed, for an l1 or l2 that is negative or not finite, in
/// the gradients' dtypes too, or would vanish there; or if no Parameter has a gradient.
double add_penalty(const Parameters& parameters, const Penalty& penalty);

}  // namespace tapegrad
