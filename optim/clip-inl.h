#pragma once

#include "clip.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::detail {

/// The norm of all gradients and what clip_grad_norm() would make of it, with its checks; changes
/// nothing. For messages: `op` is who asks, `limit` is its name for max_norm.
GradNorm measure_grad_norm(const char* op, const char* limit, const Parameters& parameters,
                           double max_norm);

}  // namespace tapegrad::detail

#pragma GCC visibility pop
