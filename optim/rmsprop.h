#pragma once

#include <cstdint>
#include <vector>

#include "optimizer.h"

namespace tapegrad {

/// Place of epsilon: added to the root, as torch does, or to the mean square under the root, as
/// published.
enum class RMSpropEpsilon : std::uint8_t { outside, inside };

struct RMSpropOptions {
  double lr = 1e-2;         // >= 0
  double alpha = 0.99;      // in [0, 1); published: 0.95
  double epsilon = 1e-8;    // > 0; published: 1e-4
  double weight_decay = 0;  // >= 0; L2: added to the gradient
  double momentum = 0;      // in [0, 1); published: 0.9
  bool centered = false;    // the mean is taken off the mean square; published: true
  RMSpropEpsilon epsilon_form = RMSpropEpsilon::outside;
};

/// RMSprop (Hinton 2012, lecture 6e; Graves 2013, eq. 38 to 45), as torch's:
///
///   g = dp + weight_decay p
///   s = alpha s + (1 - alpha) g^2          m = alpha m + (1 - alpha) g    (m = 0 unless centered)
///   outside: r = sqrt(s - m^2) + epsilon   inside: r = sqrt(s - m^2 + epsilon)
///   v = momentum v + g / r
///   p = p - lr v
///
/// A finite g whose square would overflow counts as the largest one whose square does not. Rounding
/// makes no s - m^2 negative.
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
