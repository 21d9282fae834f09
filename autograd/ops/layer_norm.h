#pragma once

#include "../var.h"

namespace tapegrad {

/// Computes layer normalisation,
///
///     y = (x - mean) / sqrt(variance + epsilon) * gamma + beta
///
/// with mean and variance (divided by I, not I - 1) of each row of the last axis: x (..., I), gamma
/// and beta (I). An undefined gamma is 1, an undefined beta 0. With I = 1, and in a row of equal
/// elements, y is beta.
///
/// Moments are computed in double: float32 rows far from 0 lose nothing. Squares that would
/// overflow are scaled.
/// Throws ShapeError for a scalar, I = 0, or Is that do not agree; DtypeError; UsageError unless
/// epsilon is positive and finite. Ba, Kiros, Hinton 2016, eq. 4.
Var layer_norm(const Var& x, const Var& gamma = {}, const Var& beta = {}, double epsilon = 1e-5);
/// Composes layer_norm() of primitive ops in double: the definition, and the twin of the fused one.
Var layer_norm_composed(const Var& x, const Var& gamma = {}, const Var& beta = {},
                        double epsilon = 1e-5);

}  // namespace tapegrad
