#pragma once

#include <cstdint>

#include "../tensor.h"

/// Cross entropy of logits (..., V) with classes (...), fused with the softmax it is made of.
/// Shapes, dtypes and ranges have been checked by the caller.
namespace tapegrad::kernels {

/// Targets that the logits are compared with. With s = smoothing, row r of weight w_r and class k
/// costs
///   l_r = w_r ((1 - s) c_k (-log p_k) + s / V sum_j c_j (-log p_j)),
/// and the loss is
///   sum_r l_r / sum_r w_r c_k.
/// Where p_k is near 1, l_r keeps its digits: -log p_k is log1p of the other classes. A row does
/// not count if its id is `ignore` or its weight 0, whatever its logits are; a term whose factor is
/// 0 does not, either.
struct CrossEntropyTargets {
  Tensor ids;  // (...) int32
  std::int32_t ignore = -100;
  Tensor weights;        // w (...) float64; undefined: 1
  Tensor class_weights;  // c (V) float64; undefined: 1
  double smoothing = 0;  // s
};

struct CrossEntropy {
  Tensor loss;  // scalar; 0 if the weights of what counts are 0 together
  /// Softmax of the logits, for the backward, and 0 in rows that do not count; undefined if not
  /// asked for.
  Tensor probabilities;
  /// sum_r w_r c_k, where all w and all c have been brought near 1 by a power of two each: good for
  /// cross_entropy_backward() and for telling whether anything counts.
  double total_weight;
};
CrossEntropy cross_entropy(const Tensor& logits, const CrossEntropyTargets& targets,
                           bool with_probabilities);

/// Computes with the factors of -log p_j and their sum
///   f_j = s / V c_j + (1 - s) c_k [j = k],   F = sum_j f_j,
/// the gradient is
///   dlogits_j = dloss w_r / total_weight (F p_j - f_j),
/// and 0 in rows that do not count; total_weight and w are as cross_entropy() has them.
Tensor cross_entropy_backward(const Tensor& probabilities, const CrossEntropyTargets& targets,
                              double total_weight, double dloss);

/// Computes m (..., V) in float64 with loss = -sum(m log p): the loss by its definition.
Tensor cross_entropy_factors(const Shape& logits, const CrossEntropyTargets& targets);

}  // namespace tapegrad::kernels
