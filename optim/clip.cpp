#include "clip.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "../core/dispatch-inl.h"
#include "../core/error.h"
#include "../core/kernels/parallel-inl.h"
#include "../core/kernels/reduce.h"

namespace tapegrad {
namespace {

void check_limit(const char* op, const char* name, double limit) {
  if (limit >= 0) return;  // false for NaN
  throw UsageError(fmt::format("[{}] {} is {}: it must not be negative or NaN", op, name, limit));
}

/// The norm of one gradient, or inf if that is beyond the largest double; throws if an element is
/// not finite.
double finite_norm(const char* op, const NamedParameter& p) {
  const double norm = kernels::norm(p.grad());
  if (std::isfinite(norm)) return norm;
  for (std::size_t i = 0; i < p.grad().numel(); ++i) {
    const double d = p.grad().at(i);
    if (std::isfinite(d)) continue;
    throw NonFiniteError(
        fmt::format("[{}] the gradient of {}, shape {}, is {} at element {}: no gradient was "
                    "changed; a lower learning rate or "
                    "zero_grad() before each backward are the usual cures",
                    op, p.name, to_string(p.grad().shape()),
                    std::isnan(d) ? "nan" : fmt::to_string(d), i));  // not "-nan"
  }
  return norm;
}

/// The norm of all gradients; throws for one that is not finite.
double total_norm(const char* op, const Parameters& parameters) {
  double total = 0;
  for (const NamedParameter& p : parameters) {
    if (!p.grad().defined()) continue;
    total = std::hypot(total, finite_norm(op, p));  // squares of large norms would overflow
  }
  if (!std::isfinite(total)) {
    throw NonFiniteError(
        fmt::format("[{}] all gradients are finite but their norm is not: no gradient was changed; "
                    "the loss has diverged",
                    op));
  }
  return total;
}

/// d = f(d) for all elements of all gradients.
template <class F>
void transform(const Parameters& parameters, F f) {
  for (const NamedParameter& p : parameters) {
    if (!p.grad().defined()) continue;
    dispatch_float(p.grad().dtype(), [&]<class T>(T) {
      T* d = p.data->grad.mutable_data<T>();
      kernels::for_blocks(p.grad().numel(), kernels::cheap_block,
                          [&](std::size_t begin, std::size_t end) {
                            for (std::size_t i = begin; i < end; ++i) {
                              d[i] = static_cast<T>(f(static_cast<double>(d[i])));
                            }
                          });
    });
  }
}

}  // namespace

GradNorm clip_grad_norm(const Parameters& parameters, double max_norm) {
  check_limit("clip_grad_norm", "max_norm", max_norm);
  const double norm = total_norm("clip_grad_norm", parameters);
  if (norm <= max_norm) return {norm, norm};
  const double factor = max_norm / norm;
  transform(parameters, [factor](double d) { return d * factor; });
  return {norm, max_norm};
}

void clip_grad_value(const Parameters& parameters, double limit) {
  check_limit("clip_grad_value", "limit", limit);
  for (const NamedParameter& p : parameters) {
    if (p.grad().defined()) (void)finite_norm("clip_grad_value", p);
  }
  transform(parameters, [limit](double d) { return std::clamp(d, -limit, limit); });
}

}  // namespace tapegrad
