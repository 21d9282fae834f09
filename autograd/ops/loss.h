#pragma once

#include <cstdint>

#include "../var.h"

/// Losses: scalars, means over what is counted. None of them ever broadcasts.
namespace tapegrad {

/// y = x - log sum exp x over the last axis; stable for any finite x.
Var log_softmax(const Var& x);

struct CrossEntropyOptions {
  std::int32_t ignore_index = -100;  // rows with this id do not count
};

/// Mean over the counted rows of -log softmax(logits)[id], in nats. logits (..., V), ids (...)
/// int32 in [0, V) or ignore_index. If no row counts the loss and its gradient are 0. Throws
/// ShapeError, DtypeError, or UsageError for an id out of range.
Var cross_entropy(const Var& logits, const Tensor& ids, CrossEntropyOptions options = {});
/// The same, composed of log_softmax and sums: the definition, and the twin of the fused one.
Var cross_entropy_composed(const Var& logits, const Tensor& ids, CrossEntropyOptions options = {});

/// Mean of (prediction - target)^2 over all elements; shapes must be equal.
Var mse(const Var& prediction, const Var& target);

}  // namespace tapegrad
