#pragma once

#include <vector>

#include "optimizer.h"

namespace tapegrad {

struct AdamaxOptions {
  double lr = 2e-3;         // >= 0
  double beta1 = 0.9;       // in [0, 1)
  double beta2 = 0.999;     // in [0, 1)
  double epsilon = 1e-8;    // >= 0; 0 is the published form
  double weight_decay = 0;  // >= 0; L2: added to the gradient
};

/// Adam by the largest gradient instead of a mean of squares (Kingma and Ba 2015, algorithm 2;
/// torch's Adamax, which has the epsilon):
///
///   g = dp + weight_decay p
///   m = beta1 m + (1 - beta1) g          u = max(beta2 u, |g| + epsilon)
///   p = p - lr / (1 - beta1^t) m / u,    p as it is where u is 0
///
/// t counts the steps that a parameter took part in.
class Adamax : public Optimizer {
 public:
  using Group = ParameterGroup<AdamaxOptions>;

  /// Throws UsageError for an option out of range.
  explicit Adamax(const Parameters& parameters, const AdamaxOptions& options = {})
      : Adamax(std::vector<Group>{{parameters, options}}) {}
  explicit Adamax(const std::vector<Group>& groups);

 private:
  template <class T>
  void adapt(const Step& step, const kernels::Update<T>& u) const;
  void update(const Step& step, const kernels::Update<float>& u) const override;
  void update(const Step& step, const kernels::Update<double>& u) const override;

  std::vector<AdamaxOptions> options_;  // of each group
};

}  // namespace tapegrad
