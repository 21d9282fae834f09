#pragma once

#include <cstdint>
#include <vector>

#include "optimizer.h"

namespace tapegrad {

struct NAdamOptions {
  double lr = 2e-3;                     // >= 0
  double beta1 = 0.9;                   // in [0, 1)
  double beta2 = 0.999;                 // in [0, 1)
  double epsilon = 1e-8;                // > 0
  double weight_decay = 0;              // >= 0
  double momentum_decay = 4e-3;         // >= 0
  bool decoupled_weight_decay = false;  // as AdamW's, lr weight_decay; else added to the gradient
};

/// Adam with Nesterov's momentum (Dozat 2016, algorithm 2), as torch's:
///
///   g = dp + weight_decay p                     mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)
///   m = beta1 m + (1 - beta1) g                 v = beta2 v + (1 - beta2) g^2
///   r = sqrt(v / (1 - beta2^t)) + epsilon       M_t = mu_1 mu_2 ... mu_t
///   p = p - lr (1 - mu_t) / (1 - M_t) g / r - lr mu_{t+1} / (1 - M_{t+1}) m / r
///
/// t counts the steps that a parameter took part in. A finite g whose square would overflow counts as
/// the largest one whose square does not.
class NAdam : public Optimizer {
 public:
  using Group = ParameterGroup<NAdamOptions>;

  /// Throws UsageError for an option out of range.
  explicit NAdam(const Parameters& parameters, const NAdamOptions& options = {})
      : NAdam(std::vector<Group>{{parameters, options}}) {}
  explicit NAdam(const std::vector<Group>& groups);

 private:
  void begin(const Step& step) override;
  double momentum(std::size_t group, std::uint64_t t) const;
  double product(std::size_t group, std::uint64_t t) const;
  template <class T>
  void adapt(const Step& step, const kernels::Update<T>& u) const;
  void update(const Step& step, const kernels::Update<float>& u) const override;
  void update(const Step& step, const kernels::Update<double>& u) const override;

  std::vector<NAdamOptions> options_;          // of each group
  std::vector<std::vector<double>> products_;  // M_0, M_1, ... of each group, until they vanish
};

}  // namespace tapegrad
