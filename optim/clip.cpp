#include "clip-inl.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "../core/fail-inl.h"
#include "../core/kernels/reduce.h"
#include "../core/kernels/update.h"

namespace tapegrad {
namespace {

void check_limit(const char* op, const char* name, double limit, const Parameters& parameters) {
  if (!(limit >= 0)) {  // true for NaN
    fail<UsageError>(op, "{} is {}: it must not be negative or NaN", name, limit);
  }
  const bool vanishes = limit > 0 && limit < std::numeric_limits<float>::min() &&
                        std::ranges::any_of(parameters, [](const NamedParameter& p) {
                          return p.grad().defined() && p.grad().dtype() == DType::float32;
                        });
  if (!vanishes) return;
  fail<UsageError>(op,
                   "{} is {}, which float32 gradients cannot be scaled to: give 0 or at least {}",
                   name, limit, std::numeric_limits<float>::min());
}

/// The norm of one gradient, or inf if that is beyond the largest double; throws if an element is
/// not finite.
double finite_norm(const char* op, const NamedParameter& p) {
  const double norm = kernels::norm(p.grad());
  if (std::isfinite(norm)) return norm;
  for (std::size_t i = 0; i < p.grad().numel(); ++i) {
    const double d = p.grad().at(i);
    if (std::isfinite(d)) continue;
    fail<NonFiniteError>(
        op,
        "the gradient of {}, shape {}, is {} at element {}: nothing was changed; a lower "
        "learning rate or zero_grad() before each backward are the usual cures",
        p.name, p.grad().shape(), std::isnan(d) ? "nan" : fmt::format("{}", d), i);  // not "-nan"
  }
  return norm;
}

/// The norm of all gradients; throws for one that is not finite.
double total_norm(const char* op, const Parameters& parameters) {
  double total = 0;
  for (const NamedParameter& p : parameters.distinct()) {
    if (!p.grad().defined()) continue;
    total = std::hypot(total, finite_norm(op, p));  // squares of large norms would overflow
  }
  if (!std::isfinite(total)) {
    fail<NonFiniteError>(op,
                         "all gradients are finite but their norm is not: nothing was changed; "
                         "the loss has diverged");
  }
  return total;
}

/// Calls f for all gradients, each one the Parameter's own: whoever holds a copy keeps it.
template <class F>
void change(const Parameters& parameters, F f) {
  for (const NamedParameter& p : parameters.distinct()) {
    if (p.grad().defined()) (void)p.mutable_grad();  // may throw, before anything has changed
  }
  for (const NamedParameter& p : parameters.distinct()) {
    p.record(&ParameterEvents::clip);
    if (!p.grad().defined()) continue;
    Tensor grad = p.mutable_grad();
    f(grad);
  }
}

}  // namespace

GradNorm detail::measure_grad_norm(const char* op, const char* limit, const Parameters& parameters,
                                   double max_norm, double passes) {
  check_limit(op, limit, max_norm, parameters);
  const double norm = total_norm(op, parameters);
  return {norm, std::min(norm, max_norm * passes)};
}

GradNorm clip_grad_norm(const Parameters& parameters, double max_norm) {
  const GradNorm norm =
      detail::measure_grad_norm("clip_grad_norm", "max_norm", parameters, max_norm);
  if (std::isinf(max_norm)) return norm;
  if (norm.after == norm.before) {
    for (const NamedParameter& p : parameters.distinct()) p.record(&ParameterEvents::clip);
    return norm;
  }
  change(parameters, [&](Tensor& grad) {
    kernels::scale_in_place(grad, {norm.after, norm.before});
  });
  return norm;
}

void clip_grad_value(const Parameters& parameters, double limit) {
  check_limit("clip_grad_value", "limit", limit, parameters);
  for (const NamedParameter& p : parameters.distinct()) {
    if (p.grad().defined()) (void)finite_norm("clip_grad_value", p);
  }
  if (std::isinf(limit)) return;
  change(parameters, [&](Tensor& grad) { kernels::clamp_in_place(grad, limit); });
}

}  // namespace tapegrad
