#pragma once

#include "tape.h"

/// Derivatives beyond the gradient, of values on a tape: all by reverse sweeps whose own record is
/// swept again. The pass can be differentiated again afterwards; results are constants. UsageError
/// for Vars of another tape or pass and while the tape is paused, ShapeError for shapes that do not
/// fit.
namespace tapegrad {

/// Returns the Jacobian times a vector: the directional derivative of y for x moving along v (a v
/// for each x, of its shape); shape of y. The gradient of y with the weights u is linear in u, so
/// its derivative for u along v is what forward mode would compute (Townsend 2017, "A new trick for
/// calculating Jacobian vector products"): about three times the cost of a gradient.
Var jvp(Tape& tape, const Var& y, const Vars& x, const Vars& v);

/// Returns the Hessian of the scalar y for all x together, times v (a v for each x): the gradient
/// of (gradient of y) . v (Pearlmutter 1994).
Vars hvp(Tape& tape, const Var& y, const Vars& x, const Vars& v);

/// Returns the Hessian of the scalar y for x of n elements, row-major: (n, n). n sweeps.
Tensor hessian(Tape& tape, const Var& y, const Var& x);

}  // namespace tapegrad
