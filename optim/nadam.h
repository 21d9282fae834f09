#pragma once

#include <vector>

#include "optimizer.h"

namespace tapegrad {

struct NAdamOptions {
  double lr = 2e-3;                     // >= 0
  double beta1 = 0.9;                   // in [0, 1)
  double beta2 = 0.999;                 // in [0, 1)
  double epsilon = 1e-8;                // > 0
  double weight_decay = 0;              // >= 0; L2: added to the gradient
  double momentum_decay = 4e-3;         // >= 0
  bool decoupled_weight_decay = false;  // as AdamW's, lr weight_decay, instead
};

/// Adam with Nesterov's momentum (Dozat 2016, algorithm 2 and its schedule of momenta; torch's
/// NAdam):
///
///   mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)
///   P_t = mu_1 ... mu_t
///   g, m, v as Adam's
///   s = (1 - mu_t) / (1 - P_t) g + mu_(t + 1) / (1 - P_(t + 1)) m
///   p = p - lr s / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
///
/// t counts the steps that a parameter took part in. Large g and small squares count as Adam's.
class NAdam : public Optimizer {
 public:
  using Group = ParameterGroup<NAdamOptions>;

  /// Throws UsageError for an option out of range.
  explicit NAdam(const Parameters& parameters, const NAdamOptions& options = {})
      : NAdam(std::vector<Group>{{parameters, options}}) {}
  explicit NAdam(const std::vector<Group>& groups);

 private:
  template <class T>
  void adapt(const Step& step, const kernels::Update<T>& u) const;
  void update(const Step& step, const kernels::Update<float>& u) const override;
  void update(const Step& step, const kernels::Update<double>& u) const override;

  std::vector<NAdamOptions> options_;  // of each group
};

}  // namespace tapegrad
