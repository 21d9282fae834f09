#include "nadam.h"

#include <cmath>

namespace tapegrad {

NAdam::NAdam(const std::vector<Group>& groups) : Optimizer("NAdam", groups, {"m", "v"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const NAdamOptions& o = groups[g].options;
    check_option(g, "beta1", o.beta1, 0, 1);
    check_option(g, "beta2", o.beta2, 0, 1);
    check_positive(g, "epsilon", o.epsilon);
    check_option(g, "momentum_decay", o.momentum_decay, 0, INFINITY);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    options_.push_back(o);
  }
}

namespace {

/// The product of 1 - q^i / 2 for i = 1, ..., t, in a time that does not grow with t: its logarithm
/// is the sum over k of -(q^k + q^2k + ... + q^tk) / (2^k k).
double product_of_momenta(double q, double t) {
  double log_product = 0;
  for (int k = 1; k < 64; ++k) {
    const double log_ratio = k * std::log(q);
    const double terms = log_ratio == 0 ? t : std::expm1(t * log_ratio) / std::expm1(log_ratio);
    log_product -= std::ldexp(std::exp(log_ratio) * terms, -k) / k;
  }
  return std::exp(log_product);
}

}  // namespace

template <class T>
void NAdam::adapt(const Step& step, const kernels::Update<T>& u) const {
  const NAdamOptions& o = options_[step.group];
  const auto t = static_cast<double>(step.number);
  const double q = std::pow(0.96, o.momentum_decay);
  const double mu = o.beta1 * (1 - std::pow(q, t) / 2);
  const double next = o.beta1 * (1 - std::pow(q, t + 1) / 2);
  const double product = std::pow(o.beta1, t) * product_of_momenta(q, t);
  kernels::adapt<T>({.beta1 = o.beta1,
                     .beta2 = o.beta2,
                     .weight_decay = o.decoupled_weight_decay ? 0 : o.weight_decay,
                     .decoupled_decay = o.decoupled_weight_decay ? step.lr * o.weight_decay : 0,
                     .rate = step.lr * next / (1 - product * next),
                     .grad_rate = step.lr * (1 - mu) / (1 - product),
                     .root_scale = 1 / std::sqrt(1 - std::pow(o.beta2, t)),
                     .epsilon = o.epsilon},
                    u);
}

void NAdam::update(const Step& step, const kernels::Update<float>& u) const { adapt(step, u); }
void NAdam::update(const Step& step, const kernels::Update<double>& u) const { adapt(step, u); }

}  // namespace tapegrad
