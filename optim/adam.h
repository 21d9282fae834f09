#pragma once

#include <cstdint>
#include <vector>

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
  bool amsgrad = false;         // divides by the largest v so far
  bool bias_correction = true;  // of m and v; AMSGrad as published has none
};

/// Adam (Kingma and Ba 2015, algorithm 1):
///
///   g = dp + weight_decay p
///   m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
///   after_correction:   p = p - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
///   hat:                p = p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)
///
/// t counts the steps that a parameter took part in. With amsgrad, v_max, the largest v so far of
/// an element, stands under the root (Reddi et al. 2018, algorithm 2). torch corrects the biases all
/// the same; without bias_correction 1 stands for 1 - beta1^t and 1 - beta2^t, as in that paper.
///
/// A finite g whose square would overflow counts as the largest one whose square does not (1.8e19
/// in float32). Squares of gradients below 1e-19 in float32 count as 0, so epsilon should not be
/// as small.
class Adam : public Optimizer {
 public:
  using Group = ParameterGroup<AdamOptions>;

  /// Throws UsageError for an option out of range.
  explicit Adam(const Parameters& parameters, const AdamOptions& options = {})
      : Adam(std::vector<Group>{{parameters, options}}) {}
  explicit Adam(const std::vector<Group>& groups) : Adam("Adam", groups) {}

  /// State of parameter i: the moments are undefined before its first step.
  struct State {
    std::uint64_t steps = 0;
    Tensor m;
    Tensor v;
  };
  State state(std::size_t i) const { return {steps(i), slot(i, "m"), slot(i, "v")}; }
  using Optimizer::state;

 protected:
  Adam(const char* name, const std::vector<Group>& groups);

 private:
  /// Returns the share of a value that a step takes off beside what the gradient does.
  virtual double decoupled_decay(const Step& /*step*/) const { return 0; }
  bool remembers(std::size_t group, std::size_t k) const override {
    return k < 2 || options_[group].amsgrad;
  }
  template <class T>
  void adapt(const Step& step, const kernels::Update<T>& u) const;
  void update(const Step& step, const kernels::Update<float>& u) const override;
  void update(const Step& step, const kernels::Update<double>& u) const override;

  std::vector<AdamOptions> options_;  // of each group
};

/// Size of AdamW's decay: in proportion to the learning rate (torch's), or as published, in
/// proportion to what a schedule makes of the learning rate, but not to the rate itself.
enum class AdamWDecay : std::uint8_t { times_lr, published };

struct AdamWOptions {
  double lr = 1e-3;            // >= 0
  double beta1 = 0.9;          // in [0, 1)
  double beta2 = 0.999;        // in [0, 1)
  double epsilon = 1e-8;       // > 0
  double weight_decay = 1e-2;  // >= 0
  AdamWDecay decay_form = AdamWDecay::times_lr;
  bool amsgrad = false;         // as Adam's
  bool bias_correction = true;  // likewise
};

/// Adam whose weight decay is not part of the gradient (Loshchilov and Hutter 2019, algorithm 2):
///
///   p = p - d p - (what Adam subtracts)
///   times_lr:    d = lr weight_decay
///   published:   d = lr / lr0 weight_decay,   lr0 the rate of the options
///
/// lr / lr0 is the paper's schedule multiplier eta_t, and lr0 its alpha.
class AdamW : public Adam {
 public:
  using Group = ParameterGroup<AdamWOptions>;

  /// Throws UsageError for an option out of range, or a published decay where lr is 0.
  explicit AdamW(const Parameters& parameters, const AdamWOptions& options = {})
      : AdamW(std::vector<Group>{{parameters, options}}) {}
  explicit AdamW(const std::vector<Group>& groups);

 private:
  double decoupled_decay(const Step& step) const override;

  std::vector<AdamWOptions> options_;  // of each group
};

}  // namespace tapegrad
