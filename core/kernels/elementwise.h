#pragma once

#include "../tensor.h"

/// Functions of single elements. Pure: new tensors out of old ones, nothing recorded; float32 and
/// float64. Shapes and dtypes have been checked by the caller.
namespace tapegrad::kernels {

/// Computes with two operands: shapes equal, or one is a suffix of the other and is repeated along
/// the leading axes.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor pow(const Tensor& a, const Tensor& b);
/// Returns NaN if either is.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);
/// Computes 1 where the result is a, 0 where it is b, 1/2 where both are equal; a NaN is the
/// result.
Tensor maximum_share(const Tensor& a, const Tensor& b);
Tensor minimum_share(const Tensor& a, const Tensor& b);

/// Computes 1 where the derivative of a^b for a (for b) is 0, or is defined as 0, but its formula
/// is not.
Tensor is_flat_in_base(const Tensor& a, const Tensor& b);
Tensor is_flat_in_exponent(const Tensor& a, const Tensor& b);

/// Computes x factor, and 0 where factor is 0 whatever x is; shapes equal.
Tensor masked(const Tensor& x, const Tensor& factor);
/// Computes a where condition (int32) is not 0, else b; each has the last axes of `shape`.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b, const Shape& shape);

Tensor neg(const Tensor& x);
Tensor scale(const Tensor& x, double factor);
Tensor add_scalar(const Tensor& x, double summand);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor log1p(const Tensor& x);
Tensor expm1(const Tensor& x);
Tensor pow(const Tensor& x, double exponent);
/// Computes log(1 + e^x) as max(x, 0) + log1p(e^-|x|).
Tensor softplus(const Tensor& x);
Tensor abs(const Tensor& x);
Tensor clamp(const Tensor& x, double low, double high);
Tensor sqrt(const Tensor& x);
Tensor square(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor relu(const Tensor& x);

/// Returns the derivatives of sigmoid and tanh at x, from x: a result that is rounded to 1 has lost
/// them.
Tensor sigmoid_slope(const Tensor& x);
Tensor tanh_slope(const Tensor& x);
/// Computes dy times the slope at x.
Tensor sigmoid_backward(const Tensor& x, const Tensor& dy);
Tensor tanh_backward(const Tensor& x, const Tensor& dy);
/// Computes dx from dy and the result: 0 where y <= 0, else dy.
Tensor relu_backward(const Tensor& y, const Tensor& dy);
/// Computes 0 where x <= 0, else 1: at NaN too, because the result of relu is x there.
Tensor is_positive(const Tensor& x);
/// Computes -1 where x < low, 1 where x > high, else 0: at NaN too, because the result of clamp is
/// x there.
Tensor beyond(const Tensor& x, double low, double high);
/// Returns -1, 0, 1 or NaN.
Tensor sign(const Tensor& x);

/// Computes total += x; shapes equal. Does not throw if shapes and dtypes agree.
void accumulate(Tensor& total, const Tensor& x);

}  // namespace tapegrad::kernels
