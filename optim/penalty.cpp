#include "penalty.h"

#include <cmath>
#include <vector>

#include "../core/fail-inl.h"
#include "../core/kernels/update.h"

namespace tapegrad {
namespace {

void check_rate(const char* option, double rate) {
  if (rate >= 0 && std::isfinite(rate)) return;
  fail<UsageError>("add_penalty", "{} is {}: it must be finite and not negative", option, rate);
}

}  // namespace

double add_penalty(const Parameters& parameters, const Penalty& penalty) {
  check_rate("l1", penalty.l1);
  check_rate("l2", penalty.l2);
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
