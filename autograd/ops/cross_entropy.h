#pragma once

#include <cstdint>

#include "../var.h"

/// Losses of class probabilities: scalars, in nats. ids (...) int32 name the right class of each
/// row. Throw ShapeError, also if there are no elements at all; DtypeError; UsageError for an id or
/// an option out of range. If no row counts, or all weights are 0, the loss and its gradient are 0.
namespace tapegrad {

struct NLLOptions {
  std::int32_t ignore_index = -100;  // rows with this id do not count
  Tensor class_weights = {};         // (V), finite, >= 0, of any dtype; undefined: 1
  Tensor weights = {};               // (...) like ids, finite, >= 0, of any dtype; undefined: 1
};

/// Computes the negative log likelihood: log_probabilities (..., V), ids (...). With k = ids[r], w
/// the weights of the rows and c those of the classes,
///   loss = sum_r w_r c_k (-log_probabilities[r, k]) / sum_r w_r c_k.
/// A row of weight 0 is not read.
Var nll(const Var& log_probabilities, const Tensor& ids, const NLLOptions& options = {});

struct CrossEntropyOptions {
  std::int32_t ignore_index = -100;  // rows with this id do not count
  double label_smoothing = 0;  // in [0, 1): this part of the target is spread over all V classes
  Tensor class_weights = {};   // (V), finite, >= 0, of any dtype; undefined: 1
  Tensor weights = {};         // (...) like ids, finite, >= 0, of any dtype; undefined: 1
};

/// Cross entropy of softmax(logits) with the classes: logits (..., V), ids (...). With
/// s = label_smoothing (Szegedy et al. 2016), p = softmax(logits), k = ids[r],
///   l_r = (1 - s) c_k (-log p_k) + s / V sum_j c_j (-log p_j),
///   loss = sum_r w_r l_r / sum_r w_r c_k,
/// as torch's CrossEntropyLoss, with rows' weights besides. A row of weight 0 is not read. A class
/// with logit -inf has p = 0: its loss is inf where it is the target (and wherever labels are
/// smoothed), with the finite gradient p - target; elsewhere it contributes 0. Loss and derivatives
/// are right for a row that is almost certain: the loss of (20, 0) with class 0 is 2.06e-9.
Var cross_entropy(const Var& logits, const Tensor& ids, const CrossEntropyOptions& options = {});
/// Composes cross_entropy() of log_softmax and a sum: the definition, and the twin of the fused
/// one.
Var cross_entropy_composed(const Var& logits, const Tensor& ids,
                           const CrossEntropyOptions& options = {});

/// Computes cross_entropy(linear(x, weight, bias), ids, options) without the (..., V) tensors in
/// between: x (..., I), weight (V, I), bias (V) or undefined, ids (...). Rows of logits become
/// their loss and its gradient while they are in the cache, so that of three passes over all logits
/// one is left, and one tensor of their size in place of three.
///
/// What is promised of cross_entropy() holds, with subnormal numbers as 0. Throws like linear() and
/// cross_entropy(), and ShapeError for an x without elements.
Var linear_cross_entropy(const Var& x, const Var& weight, const Var& bias, const Tensor& ids,
                         const CrossEntropyOptions& options = {});
/// Composes linear_cross_entropy() of linear() and cross_entropy_composed(): the twin of the fused
/// one.
Var linear_cross_entropy_composed(const Var& x, const Var& weight, const Var& bias,
                                  const Tensor& ids, const CrossEntropyOptions& options = {});

}  // namespace tapegrad
