#include "clip.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "../core/dispatch-inl.h"
#include "../core/error.h"
#include "../core/kernels/reduce.h"

namespace tapegrad {
namespace {

void check_limit(const char* op, const char* name, double limit) {
  if (limit >= 0) return;  // false for NaN
  throw UsageError(fmt::format("[{}] {} is {}: it must not be negative or NaN", op, name, limit));
}

/// Called when a norm is not finite: finds the element that made it so.
void check_finite(const char* op, const NamedParameter& p) {
  for (std::size_t i = 0; i < p.grad().numel(); ++i) {
    if (std::isfinite(p.grad().at(i))) continue;
    throw NonFiniteError(
        fmt::format("[{}] the gradient of {}, shape {}, is {} at element {}: no gradient was "
                    "changed; a lower learning rate or "
                    "zero_grad() before each backward are the usual cures",
                    op, p.name, to_string(p.grad().shape()), p.grad().at(i), i));
  }
}

/// The norm of all gradients; throws for one that is not finite.
double total_norm(const char* op, const Parameters& parameters) {
  double total = 0;
  for (const NamedParameter& p : parameters) {
    if (!p.grad().defined()) continue;
    const double norm = kernels::norm(p.grad());
    if (!std::isfinite(norm)) check_finite(op, p);
    total = std::hypot(total, norm);  // scaled: squares of large norms would overflow
  }
  if (!std::isfinite(total)) {
    throw NonFiniteError(
        fmt::format("[{}] all gradients are finite but their norm is not: no gradient was changed; "
                    "the loss has diverged",
                    op));
  }
  return total;
}

}  // namespace

GradNorm clip_grad_norm(const Parameters& parameters, double max_norm) {
  check_limit("clip_grad_norm", "max_norm", max_norm);
  const double norm = total_norm("clip_grad_norm", parameters);
  if (norm <= max_norm) return {norm, norm};
  const double factor = max_norm / norm;
  for (const NamedParameter& p : parameters) {
    if (!p.grad().defined()) continue;
    dispatch_float(p.grad().dtype(), [&]<class T>(T) {
      for (T& d : p.data->grad.mutable_values<T>()) d = static_cast<T>(d * factor);
    });
  }
  return {norm, max_norm};
}

void clip_grad_value(const Parameters& parameters, double limit) {
  check_limit("clip_grad_value", "limit", limit);
  (void)total_norm("clip_grad_value", parameters);
  for (const NamedParameter& p : parameters) {
    if (!p.grad().defined()) continue;
    dispatch_float(p.grad().dtype(), [&]<class T>(T) {
      const T most = static_cast<T>(limit);
      for (T& d : p.data->grad.mutable_values<T>()) d = std::clamp(d, -most, most);
    });
  }
}

}  // namespace tapegrad
