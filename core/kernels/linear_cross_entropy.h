#pragma once

#include "cross_entropy.h"

namespace tapegrad::kernels {

struct LinearCrossEntropy {
  Tensor loss;     // scalar, as cross_entropy() has it
  Tensor dlogits;  // (N, V): the loss's gradient; undefined if not asked for
};

/// Cross entropy of the logits x W^T + b, where N is the number of ids: x (..., I) with N rows,
/// weight (V, I), bias (V) or undefined. Logits are made some rows at a time and are forgotten
/// while they are still in the cache. Subnormal numbers count as 0 (FlushSubnormals). Shapes,
/// dtypes and ranges have been checked by the caller.
LinearCrossEntropy linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                        const CrossEntropyTargets& targets, bool with_gradient);

}  // namespace tapegrad::kernels
