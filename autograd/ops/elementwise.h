#pragma once

#include "../var.h"

/// Functions of single elements. Two operands have equal shapes, or one's shape is the last axes of
/// the other's and it is repeated along the leading ones; else ShapeError.
///
/// At special values the results are IEEE 754's, and NaN comes out where NaN goes in. A function
/// that chooses (relu, clamp, maximum, minimum, where) sends the gradient to what its result is, a
/// NaN included, and gives exactly 0 to the rest; tests/autograd/test_edge_values.cpp has the whole
/// table.
namespace tapegrad {

Var operator+(const Var& a, const Var& b);
Var operator-(const Var& a, const Var& b);
Var operator*(const Var& a, const Var& b);
Var operator/(const Var& a, const Var& b);
/// Computes a^b. For a < 0: a number if b is an integer, else NaN; the gradient of b is then NaN in
/// any case. For a = 0 the gradient of b is 0 if b >= 0, that of a is b 0^(b-1), and 0 for b = 0.
Var pow(const Var& a, const Var& b);
/// Returns the larger (smaller) of a and b, NaN if either is; where they are equal, each gets half
/// of the gradient.
Var maximum(const Var& a, const Var& b);
Var minimum(const Var& a, const Var& b);
/// Computes a where `condition` (int32) is not 0, else b; condition broadcasts like the operands.
/// What is not taken gets gradient exactly 0, whatever its value and whatever the gradient.
/// Functions that made it may still turn this 0 into 0 * inf = NaN: choose a harmless argument as
/// well, as in where(positive, sqrt(where(positive, x, one)), zero). Throws DtypeError for another
/// condition.
Var where(const Tensor& condition, const Var& a, const Var& b);

/// Computes x factor, and 0 where factor, a constant of x's shape and dtype, is 0, whatever x is there;
/// its gradient likewise: a mask that selects.
Var masked(const Var& x, const Tensor& factor);
/// Returns x, whose gradient is cut to [-limit, limit] on its way back (Graves 2013, section 2.1).
/// Throws UsageError unless limit is positive.
Var clip_gradient(const Var& x, double limit);

/// Converts x to another dtype, float32 or float64; the gradient comes back in x's. DtypeError for
/// ids.
Var cast(const Var& x, DType dtype);
Var neg(const Var& x);
/// Computes factor * x, or x + summand, for numbers that are no part of the model.
Var scale(const Var& x, double factor);
Var add_scalar(const Var& x, double summand);

Var exp(const Var& x);
/// Computes e^x - 1, exact to the last digits near 0.
Var expm1(const Var& x);
/// Computes log x; -inf at 0, NaN below.
Var log(const Var& x);
/// Computes log(1 + x), exact to the last digits near 0.
Var log1p(const Var& x);
/// Computes x^exponent; NaN for x < 0 unless the exponent is an integer. Gradient exponent
/// x^(exponent - 1), so infinite at 0 below exponent 1, and 0 everywhere for exponent 0.
Var pow(const Var& x, double exponent);
/// Computes sqrt x; NaN below 0, gradient inf at 0.
Var sqrt(const Var& x);
/// Computes x^2.
Var square(const Var& x);
/// Computes |x|; gradient 0 at 0.
Var abs(const Var& x);
/// Computes min(max(x, low), high); at the bounds the gradient passes. An infinite bound is none.
/// Throws UsageError if low > high or one is NaN.
Var clamp(const Var& x, double low, double high);
/// Computes 1 / (1 + e^-x). Derivatives of all orders are right in both tails, where the value is
/// rounded to 0 or 1 or near it; so are those of tanh and softplus.
Var sigmoid(const Var& x);
/// Computes log(1 + e^x), without overflow.
Var softplus(const Var& x);
Var tanh(const Var& x);
/// Computes max(x, 0); gradient 0 at 0.
Var relu(const Var& x);

inline Var operator-(const Var& x) { return neg(x); }
inline Var operator+(const Var& x, double s) { return add_scalar(x, s); }
inline Var operator+(double s, const Var& x) { return add_scalar(x, s); }
inline Var operator-(const Var& x, double s) { return add_scalar(x, -s); }
inline Var operator-(double s, const Var& x) { return add_scalar(neg(x), s); }
inline Var operator*(const Var& x, double s) { return scale(x, s); }
inline Var operator*(double s, const Var& x) { return scale(x, s); }
Var operator/(const Var& x, double s);
Var operator/(double s, const Var& x);

/// a = a + b and so on: `a` becomes a new value, what was made of the old one keeps that.
inline Var& operator+=(Var& a, const Var& b) { return a = a + b; }
inline Var& operator-=(Var& a, const Var& b) { return a = a - b; }
inline Var& operator*=(Var& a, const Var& b) { return a = a * b; }
inline Var& operator/=(Var& a, const Var& b) { return a = a / b; }
inline Var& operator+=(Var& a, double s) { return a = a + s; }
inline Var& operator-=(Var& a, double s) { return a = a - s; }
inline Var& operator*=(Var& a, double s) { return a = a * s; }
inline Var& operator/=(Var& a, double s) { return a = a / s; }

}  // namespace tapegrad
