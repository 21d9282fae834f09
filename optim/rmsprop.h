#pragma once

#include <cstdint>
#include <vector>

#include "optimizer.h"

namespace tapegrad {

/// Form of RMSprop: torch's, or as published in full (Graves 2013, eq. 38 to 45; Keras's),
/// with epsilon under the root and the learning rate in the velocity.
enum class RMSpropForm : std::uint8_t { torch, published };

struct RMSpropOptions {
  double lr = 1e-2;         // >= 0
  double alpha = 0.99;      // in [0, 1)
  double epsilon = 1e-8;    // > 0
  double weight_decay = 0;  // >= 0; L2: added to the gradient
  double momentum = 0;      // in [0, 1)
  bool centered = false;    // the square of the mean is taken off the mean of squares
  RMSpropForm form = RMSpropForm::torch;
};

/// Gradient descent, each element's gradient over the root of the mean of its squares (Tieleman and
/// Hinton 2012, lecture 6e):
///
///   g = dp + weight_decay p
///   n = alpha n + (1 - alpha) g^2        a = alpha a + (1 - alpha) g,   or 0 if not centered
///   torch:       v = momentum v + g / (sqrt(n - a^2) + epsilon)         p = p - lr v
///   published:   v = momentum v + lr g / sqrt(n - a^2 + epsilon)        p = p - v
///
/// Graves has lr = 1e-4, alpha = 0.95, momentum = 0.9, epsilon = 1e-4, centered. An n - a^2 that is
/// rounded to less than 0 counts as 0. Large g and small squares count as Adam's.
class RMSprop : public Optimizer {
 public:
  using Group = ParameterGroup<RMSpropOptions>;

  /// Throws UsageError for an option out of range.
  explicit RMSprop(const Parameters& parameters, const RMSpropOptions& options = {})
      : RMSprop(std::vector<Group>{{parameters, options}}) {}
  explicit RMSprop(const std::vector<Group>& groups);

 private:
  bool remembers(std::size_t group, std::size_t k) const override;
  template <class T>
  void normalise(const Step& step, const kernels::Update<T>& u) const;
  void update(const Step& step, const kernels::Update<float>& u) const override;
  void update(const Step& step, const kernels::Update<double>& u) const override;

  std::vector<RMSpropOptions> options_;  // of each group
};

}  // namespace tapegrad
