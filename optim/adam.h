#pragma once

#include <cstdint>

#include "optimizer.h"

namespace tapegrad {

/// Place of epsilon: added to sqrt(v) after its bias is corrected (the algorithm of the paper, and
/// what torch documents), or before, which folds both corrections into the step size (the paper's
/// remark at the end of section 2, "epsilon hat").
enum class AdamEpsilon : std::uint8_t { after_correction, hat };

struct AdamOptions {
  double lr = 1e-3;         // >= 0
  double beta1 = 0.9;       // in [0, 1)
  double beta2 = 0.999;     // in [0, 1)
  double epsilon = 1e-8;    // > 0
  double weight_decay = 0;  // >= 0; L2: added to the gradient
  AdamEpsilon epsilon_form = AdamEpsilon::after_correction;
};

/// Adam (Kingma and Ba 2015, algorithm 1):
///
///   g = dp + weight_decay p
///   m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
///   after_correction:   p = p - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
///   hat:                p = p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)
///
/// t counts the steps that a parameter took part in. A finite g whose square would overflow counts
/// as the largest one whose square does not (1.8e19 in float32). Squares of gradients below 1e-19
/// in float32 count as 0, so epsilon should not be as small.
class Adam : public Optimizer {
 public:
  using Group = ParameterGroup<AdamOptions>;

  /// Throws UsageError for an option out of range.
  explicit Adam(const Parameters& parameters, const AdamOptions& options = {})
      : Adam(std::vector<Group>{{parameters, options}}) {}
  explicit Adam(const std::vector<Group>& groups);

  /// State of parameter i: the moments are undefined before its first step.
  struct State {
    std::uint64_t steps = 0;
    Tensor m;
    Tensor v;
  };
  State state(std::size_t i) const { return {steps(i), slot(i, 0), slot(i, 1)}; }
  using Optimizer::state;

 private:
  template <class T>
  void adapt(const Step& step, const kernels::Update<T>& u) const;
  void update(const Step& step, const kernels::Update<float>& u) const override;
  void update(const Step& step, const kernels::Update<double>& u) const override;

  std::vector<AdamOptions> options_;  // of each group
};

}  // namespace tapegrad
