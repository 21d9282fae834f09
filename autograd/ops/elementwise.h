#pragma once

#include "../var.h"

/// Functions of single elements. Two operands have equal shapes, or one's shape is the last axes of
/// the other's and it is repeated along the leading ones; else ShapeError.
namespace tapegrad {

Var operator+(const Var& a, const Var& b);
Var operator-(const Var& a, const Var& b);
Var operator*(const Var& a, const Var& b);
Var operator/(const Var& a, const Var& b);

Var neg(const Var& x);
/// factor * x, x + summand, for numbers that are no part of the model.
Var scale(const Var& x, double factor);
Var add_scalar(const Var& x, double summand);

Var exp(const Var& x);
/// log x; -inf at 0, NaN below.
Var log(const Var& x);
/// sqrt x; NaN below 0, gradient inf at 0.
Var sqrt(const Var& x);
/// x^2
Var square(const Var& x);
/// 1 / (1 + e^-x)
Var sigmoid(const Var& x);
Var tanh(const Var& x);
/// max(x, 0); gradient 0 at 0.
Var relu(const Var& x);

inline Var operator-(const Var& x) { return neg(x); }
inline Var operator+(const Var& x, double s) { return add_scalar(x, s); }
inline Var operator+(double s, const Var& x) { return add_scalar(x, s); }
inline Var operator-(const Var& x, double s) { return add_scalar(x, -s); }
inline Var operator-(double s, const Var& x) { return add_scalar(neg(x), s); }
inline Var operator*(const Var& x, double s) { return scale(x, s); }
inline Var operator*(double s, const Var& x) { return scale(x, s); }
inline Var operator/(const Var& x, double s) { return scale(x, 1 / s); }

}  // namespace tapegrad
