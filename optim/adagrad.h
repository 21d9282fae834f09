#pragma once

#include <vector>

#include "optimizer.h"

namespace tapegrad {

struct AdagradOptions {
  double lr = 1e-2;         // >= 0
  double lr_decay = 0;      // >= 0
  double epsilon = 1e-10;   // > 0
  double weight_decay = 0;  // >= 0; L2: added to the gradient
  double initial_sum = 0;   // >= 0; of squares, before the first step
};

/// Gradient descent, each element's gradient over the root of the sum of its squares (Duchi, Hazan
/// and Singer 2011, figure 1 with diagonal matrices; torch's Adagrad, which has lr_decay):
///
///   g = dp + weight_decay p
///   n = n + g^2,   which begins as initial_sum
///   p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(n) + epsilon)
///
/// t counts the steps that a parameter took part in. Large g and small squares count as Adam's; an
/// element whose sum overflows rests.
class Adagrad : public Optimizer {
 public:
  using Group = ParameterGroup<AdagradOptions>;

  /// Throws UsageError for an option out of range.
  explicit Adagrad(const Parameters& parameters, const AdagradOptions& options = {})
      : Adagrad(std::vector<Group>{{parameters, options}}) {}
  explicit Adagrad(const std::vector<Group>& groups);

 private:
  template <class T>
  void normalise(const Step& step, const kernels::Update<T>& u) const;
  void update(const Step& step, const kernels::Update<float>& u) const override;
  void update(const Step& step, const kernels::Update<double>& u) const override;

  std::vector<AdagradOptions> options_;  // of each group
};

}  // namespace tapegrad
