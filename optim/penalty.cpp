#include "penalty.h"

#include <cmath>
#include <limits>
#include <vector>

#include "../core/fail-inl.h"
#include "../core/kernels/update.h"

namespace tapegrad {
namespace {

template <class T>
bool holds(double rate) {
  using Limits = std::numeric_limits<T>;
  return rate == 0 || (rate >= Limits::min() && rate <= Limits::max());
}
void check_rate(const char* option, double rate, const Parameters& parameters) {
  if (!(rate >= 0 && std::isfinite(rate)))
    fail<UsageError>("add_penalty", "{} is {}: it must be finite and not negative", option, rate);
  for (const NamedParameter& p : parameters) {
    if (!p.grad().defined()) continue;
    const DType dtype = p.grad().dtype();
    if (dtype == DType::float32 ? holds<float>(rate) : holds<double>(rate)) continue;
    fail<UsageError>("add_penalty",
                     "{} is {}, which {}, of {}, does not hold: give 0 or a number that it holds",
                     option, rate, dtype, p.name);
  }
}

}  // namespace

double add_penalty(const Parameters& parameters, const Penalty& penalty) {
  check_rate("l1", penalty.l1, parameters);
  check_rate("l2", penalty.l2, parameters);
  std::vector<Tensor> values, grads;
  for (const NamedParameter& p : parameters.distinct()) {
    if (!p.grad().defined()) continue;
    values.push_back(p.value());
    grads.push_back(p.mutable_grad());  // may throw, before anything has changed
  }
  if (grads.empty()) {
    fail<UsageError>("add_penalty",
                     "none of the {} parameters has a gradient to add to: call backward() first",
                     parameters.size());
  }
  double sum = 0;
  for (std::size_t i = 0; i < grads.size(); ++i) {
    sum += kernels::penalise(grads[i], values[i], penalty.l1, penalty.l2);
  }
  return sum;
}

}  // namespace tapegrad
