#pragma once

#include "clip.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::detail {

/// The norm of all gradients, which are the sum of `passes`, and what clip_grad_norm() would make
/// of it if their mean is to have max_norm, with its checks; changes nothing. For messages: `op` is
/// who asks, `limit` is its name for max_norm.
GradNorm measure_grad_norm(const char* op, const char* limit, const Parameters& parameters,
                           double max_norm, double passes = 1);

}  // namespace tapegrad::detail

#pragma GCC visibility pop
