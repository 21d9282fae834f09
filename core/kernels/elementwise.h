#pragma once

#include "../tensor.h"

/// Functions of single elements. Pure: new tensors out of old ones, nothing recorded; float32 and
/// float64. Shapes and dtypes have been checked by the caller.
namespace tapegrad::kernels {

/// Two operands: shapes equal, or one is a suffix of the other and is repeated along the leading
/// axes.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);

Tensor neg(const Tensor& x);
Tensor scale(const Tensor& x, double factor);
Tensor add_scalar(const Tensor& x, double summand);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor square(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor relu(const Tensor& x);

/// dx from dy and the result: dy y (1 - y), dy (1 - y^2), dy [y > 0].
Tensor sigmoid_backward(const Tensor& y, const Tensor& dy);
Tensor tanh_backward(const Tensor& y, const Tensor& dy);
Tensor relu_backward(const Tensor& y, const Tensor& dy);
/// 1 where x > 0, else 0.
Tensor is_positive(const Tensor& x);

/// total += x; shapes equal. Does not throw if shapes and dtypes agree.
void accumulate(Tensor& total, const Tensor& x);

/// keep[i] / (1 - p) where keep[i] is 1 with probability 1 - p: the inverted dropout mask
/// (Srivastava et al. 2014). The shape is read as (t, row, column): the last axis is the column,
/// the one before it the row, the rest t.
Tensor dropout_mask(const Shape& shape, double p, std::uint64_t key, DType dtype);

}  // namespace tapegrad::kernels
