#pragma once

#include "../tensor.h"

/// Layer normalisation over the last axis, (..., I) with I >= 1. Arithmetic is in double: with a
/// mean of 1e4 and a variance of 1, mean and variance in float32 would cost four digits. A row of
/// float64 whose squares overflow is scaled. Shapes and dtypes have been checked by the caller.
namespace tapegrad::kernels {

/// y = (x - mean) inverse gamma + beta, where inverse = 1 / sqrt(variance + epsilon), per row.
/// An undefined gamma is 1, an undefined beta 0.
struct LayerNorm {
  Tensor y;        // like x
  Tensor mean;     // (...) float64
  Tensor inverse;  // (...) float64
};
LayerNorm layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double epsilon);

/// Gradients from dy and what forward kept. Sums over rows are made in blocks of fixed size: the
/// bits do not depend on threads.
struct LayerNormGradients {
  Tensor x;            // undefined if not wanted
  Tensor gamma, beta;  // (I); undefined if neither is wanted
};
struct LayerNormWanted {
  bool x, parameters;
};
LayerNormGradients layer_norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& mean,
                                       const Tensor& inverse, const Tensor& dy,
                                       LayerNormWanted wanted);

}  // namespace tapegrad::kernels
