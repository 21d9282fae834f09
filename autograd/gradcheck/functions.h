#pragma once

#include "gradcheck.h"

/// Checks of the claimed derivatives of a function of one vector. Needs the standard library only.
///
///     auto f = [](auto x) { return my_layer(x); };
///     auto product = [](auto x, auto dy) { return my_layer_backward(x, dy); };
///     auto report = gradcheck(f, product, {1, 2, 3});
///
/// Before anything is compared, each function must be there, take and give the right number of
/// values, all finite, and give the same bits when it is called again with the same arguments; a
/// product must be zero for a w or v of zero. Afterwards it is called once more: no state kept.
/// Where that does not hold, the check fails with a reason. Exceptions pass through.
/// `options.reseed` is called before every call of any of the functions; `backward` and `branches`
/// are not used.
namespace tapegrad {

/// y = f(x): n numbers in, m out.
using VectorFunction = std::function<std::vector<double>(std::span<const double> x)>;
/// J(x)^T w: m weights in (the cotangent), n numbers out.
using VectorJacobianProduct =
    std::function<std::vector<double>(std::span<const double> x, std::span<const double> w)>;
/// J(x) v: n numbers in (the direction), m out.
using JacobianVectorProduct = VectorJacobianProduct;

/// Compares a vector-Jacobian product with differences of w . f, for random weights w (normal, from
/// the seed), in which nothing cancels by accident: block "x" (n).
GradcheckReport gradcheck(const VectorFunction& f, const VectorJacobianProduct& product,
                          std::vector<double> x, const GradcheckOptions& options = {});

/// Compares a Jacobian-vector product: the slope of each of the m outputs along one random
/// vector, from the seed, of length max(1, rms x): block "y" (m).
GradcheckReport gradcheck_forward(const VectorFunction& f, const JacobianVectorProduct& product,
                                  std::vector<double> x, const GradcheckOptions& options = {});

/// Compares a Jacobian (m, n), row-major, entry by entry: block "J". Every output is judged by its
/// own noise and scale; one call of f serves all of them.
GradcheckReport jacobian_check(const VectorFunction& f, std::span<const double> jacobian,
                               std::vector<double> x, const GradcheckOptions& options = {});

/// Compares a Hessian (n, n) with differences of the gradient, entry by entry: block "H". A Hessian
/// that is not symmetric, up to rtol max(|H_ij|, |H_ji|) + 1e-10 max |H|, fails whatever the
/// gradient says, which may be wrong in the same way.
GradcheckReport hessian_check(const VectorFunction& gradient, std::span<const double> hessian,
                              std::vector<double> x, const GradcheckOptions& options = {});

}  // namespace tapegrad
