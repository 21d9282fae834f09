#pragma once

#include "../autograd/parameter.h"

namespace tapegrad {

/// Forgets the gradients, so that the next backward starts from zero. Their memory goes back to the
/// pool.
void zero_grad(const Parameters& parameters);

/// What changes Parameters by their gradients. Shares them with the model, so either may be moved.
///
/// step() reads gradients and never writes them. A Parameter that is frozen or has no gradient is
/// left alone, and so is what the optimizer remembers of it.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  virtual void step() = 0;
  void zero_grad() { tapegrad::zero_grad(parameters_); }

  const Parameters& parameters() const { return parameters_; }
  double learning_rate() const { return learning_rate_; }
  /// Throws UsageError unless `lr` is finite and not negative.
  void set_learning_rate(double lr);

 protected:
  /// `name`: for messages. Throws UsageError for no parameters, the same one twice, or a bad
  /// learning rate.
  Optimizer(const char* name, Parameters parameters, double learning_rate);

  /// Throws UsageError unless `value` is in [low, high), or in [low, inf) by default.
  void check_option(const char* option, double value, double low, double high) const;
  /// Makes sure that `state` has a tensor of zeros for each Parameter that will move; throws before
  /// anything moves.
  void prepare(std::vector<Tensor>& state) const;
  static bool moves(const ParameterData& p) { return p.requires_grad && p.grad.defined(); }

 private:
  const char* name_;
  Parameters parameters_;
  double learning_rate_ = 0;
};

}  // namespace tapegrad
