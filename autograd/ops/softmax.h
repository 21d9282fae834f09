#pragma once

#include "../var.h"

/// Softmax over the last axis and its relatives. Throw ShapeError for a scalar, DtypeError for ids.
///
/// The row's largest element is subtracted before exponentials are taken, so any finite x is right.
/// An element of -inf (a masked logit) has probability 0 and gradient 0, but for log_softmax, which
/// is -inf there and passes that element's own gradient on: dx_j = dy_j. A row that is -inf
/// everywhere has no possible class: its softmax is 0, its log_softmax and logsumexp are -inf, and
/// no gradient passes through softmax and logsumexp. An element of inf makes softmax and
/// log_softmax of its row NaN (inf / inf), its logsumexp is inf. A NaN makes its row NaN. No row
/// touches another.
///
/// Values and derivatives are right in the tails: 1 - p is never formed as a difference.
namespace tapegrad {

/// Computes y = e^x / sum e^x: x (..., V) -> (..., V), rows of sum 1.
Var softmax(const Var& x);
/// Computes y = x - log sum e^x: x (..., V) -> (..., V).
Var log_softmax(const Var& x);
/// Computes y = log sum e^x: x (..., V) -> (...).
Var logsumexp(const Var& x);

}  // namespace tapegrad
