#pragma once

#include <limits>

#include "optimizer.h"

namespace tapegrad {

struct SGDOptions {
  double lr = std::numeric_limits<double>::quiet_NaN();  // >= 0; must be given
  double momentum = 0;                                   // in [0, 1)
  double dampening = 0;     // in [0, 1); of what enters the velocity; needs momentum
  bool nesterov = false;    // needs momentum, and no dampening
  double weight_decay = 0;  // >= 0; L2: added to the gradient
};

/// Gradient descent, as torch's SGD:
///
///   g = dp + weight_decay p
///   v = momentum v + (1 - dampening) g        (the first v is g)
///   p = p - lr v,   or with Nesterov   p = p - lr (g + momentum v)
///
/// Polyak 1964; Sutskever et al. 2013 for Nesterov's form.
class SGD : public Optimizer {
 public:
  using Group = ParameterGroup<SGDOptions>;

  /// Throws UsageError for an option out of range.
  SGD(const Parameters& parameters, const SGDOptions& options)
      : SGD(std::vector<Group>{{parameters, options}}) {}
  explicit SGD(const std::vector<Group>& groups);

  /// Returns the velocity of parameter i; undefined before its first step, or without momentum.
  const Tensor& velocity(std::size_t i) const { return slot(i, "velocity"); }

 private:
  bool remembers(std::size_t group, std::size_t /*k*/) const override {
    return options_[group].momentum > 0;
  }
  template <class T>
  void descend(const Step& step, const kernels::Update<T>& u) const;
  void update(const Step& step, const kernels::Update<float>& u) const override;
  void update(const Step& step, const kernels::Update<double>& u) const override;

  std::vector<SGDOptions> options_;  // of each group
};

}  // namespace tapegrad
