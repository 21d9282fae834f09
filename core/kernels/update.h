#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <span>

#include "../tensor.h"

/// Updates of the elements of a Parameter by optimizers. An element's bits depend on neither its
/// place nor the instruction set.
namespace tapegrad::kernels {

/// A block of elements to update: `n` of each array, none of which overlap.
template <Element T>
struct Update {
  static constexpr std::size_t max_slots = 4;
  std::size_t n;
  T* value;
  const T* grad;
  std::array<T*, max_slots> slot;  // what the optimizer remembers; null for what it does not
};

/// A quotient, 0 <= numerator <= denominator, that gradients are multiplied by; 1 where both are
/// equal.
struct Ratio {
  double numerator = 1, denominator = 1;
};

/// Calls `f` for blocks that cover all elements, from several threads if there are many, and treats
/// subnormal numbers as 0 meanwhile. All tensors are of `value`'s shape and of dtype T. `f` sees
/// the gradient as scale_in_place() would make it; `grad` itself is not changed.
template <Element T>
void for_updates(Tensor value, const Tensor& grad, std::span<Tensor> slots, const Ratio& scale,
                 const std::function<void(const Update<T>&)>& f);

/// Gradient descent:
///
///   g = grad + weight_decay value
///   value = value - lr g
///
/// and, where there is momentum, with the velocity v in slot 0,
///
///   v = momentum v + undamped g
///   value = value - lr v,   or with Nesterov   value = value - lr (g + momentum v)
struct Descent {
  double lr, weight_decay, momentum, undamped;
  bool nesterov;
};
template <Element T>
void descend(const Descent& options, const Update<T>& u);

/// Adam and its kin, with m in slot 0, v in slot 1 and, where it is kept, the largest v so far, V,
/// in slot 2:
///
///   g = grad + weight_decay value,   cut to [-G, G] if finite, G^2 the largest number of T
///   m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
///   s = (rate m + grad_rate g) / (sqrt(v or V) root_scale + epsilon)
///   value = value - (decoupled_decay value + s)
///
/// v is a mean of squares, so it does not overflow; Adam does not depend on the size of g, so that
/// an element with a gradient beyond G (1.8e19 in float32, 1.3e154 in float64) moves as with G.
struct Moments {
  double beta1, beta2, weight_decay, decoupled_decay, rate, grad_rate, root_scale, epsilon;
};
template <Element T>
void adapt(const Moments& options, const Update<T>& u);

/// Adamax, with m in slot 0 and u in slot 1:
///
///   g = grad + weight_decay value
///   m = beta1 m + (1 - beta1) g          u = max(beta2 u, |g| + epsilon)
///   value = value - rate m / u,   or value where u is 0
struct Largest {
  double beta1, beta2, weight_decay, rate, epsilon;
};
template <Element T>
void adapt_to_largest(const Largest& options, const Update<T>& u);

/// RMSprop and Adagrad, with n in slot 0 and, where they are kept, a in slot 1 and v in slot 2:
///
///   g = grad + weight_decay value,   cut as Adam's
///   n = keep n + share g^2 + start       a = keep a + share g
///   s = rate_in_velocity g / (sqrt(max(n - a^2, 0) + epsilon_in_root) + epsilon)
///   v = momentum v + s                   value = value - rate (v or s)
struct Squares {
  double weight_decay, keep, share, start, epsilon_in_root, epsilon, momentum, rate_in_velocity,
      rate;
};
template <Element T>
void normalise(const Squares& options, const Update<T>& u);

/// Computes grad = grad + l1 sign(value) + l2 value; returns the sum of l1 |value| + l2/2 value^2
/// over all elements, in double. Both tensors are of one shape and floating-point dtype.
double penalise(Tensor& grad, const Tensor& value, double l1, double l2);
/// Computes average = average + share (value - average), in double: `average` is float64, `value`
/// of its shape and of a floating-point dtype.
void approach(Tensor& average, const Tensor& value, double share);

/// Computes x = x ratio, in double and rounded once, with subnormal numbers as 0; x is a
/// floating-point tensor.
void scale_in_place(Tensor& x, const Ratio& ratio);
/// Cuts the elements to [-limit, limit].
void clamp_in_place(Tensor& x, double limit);

extern template void for_updates<float>(Tensor, const Tensor&, std::span<Tensor>, const Ratio&,
                                        const std::function<void(const Update<float>&)>&);
extern template void for_updates<double>(Tensor, const Tensor&, std::span<Tensor>, const Ratio&,
                                         const std::function<void(const Update<double>&)>&);
template <>
void descend<float>(const Descent&, const Update<float>&);
template <>
void descend<double>(const Descent&, const Update<double>&);
template <>
void adapt<float>(const Moments&, const Update<float>&);
template <>
void adapt<double>(const Moments&, const Update<double>&);
template <>
void adapt_to_largest<float>(const Largest&, const Update<float>&);
template <>
void adapt_to_largest<double>(const Largest&, const Update<double>&);
template <>
void normalise<float>(const Squares&, const Update<float>&);
template <>
void normalise<double>(const Squares&, const Update<double>&);

}  // namespace tapegrad::kernels
