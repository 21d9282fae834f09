#pragma once

#include "../autograd/parameters.h"

namespace tapegrad {

/// The Euclidean norm of all gradients together, as backward left it and as it is now.
struct GradNorm {
  double before;
  double after;
};

/// Scales all gradients by max_norm / norm if their norm is greater than max_norm (Pascanu et al.
/// 2013). The norm is computed in double and scaled, so that it is right for any finite gradients.
/// Parameters without gradient count as zero, and what is subnormal after scaling becomes 0.
/// Optimizer::step({.clip_norm = ...}) does the same and a step, in less time.
///
/// Throws UsageError for a max_norm that is negative or NaN (infinity only measures),
/// NonFiniteError for a gradient that is NaN or infinite, naming it, or if the norm is beyond the
/// largest double; then no gradient has been touched.
GradNorm clip_grad_norm(const Parameters& parameters, double max_norm);

/// Cuts every element of the gradients to [-limit, limit]. Throws like clip_grad_norm, whose norm
/// it does not need; infinity only looks for what is not finite.
void clip_grad_value(const Parameters& parameters, double limit);

}  // namespace tapegrad
