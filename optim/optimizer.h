#pragma once

#include "../autograd/parameter.h"

namespace tapegrad {

/// Forgets the gradients, so that the next backward starts from zero. Their memory goes back to the
/// pool.
void zero_grad(const Parameters& parameters);

/// What changes Parameters by their gradients. Shares them with the model, so either may be moved.
///
/// step() reads gradients and never writes them, nor looks for NaN and infinity (clip_grad_norm()
/// does). A Parameter that is frozen or has no gradient is left alone, and so is what the optimizer
/// remembers of it. Arithmetic is in the Parameter's dtype, only what is the same for all elements
/// is computed in double. The first step allocates what is to be remembered, later ones nothing.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Throws, and then nothing has moved, if somebody put a value or a gradient of another shape or
  /// dtype in the place of one.
  virtual void step() = 0;
  void zero_grad() { tapegrad::zero_grad(parameters_); }

  const Parameters& parameters() const { return parameters_; }
  double learning_rate() const { return learning_rate_; }
  /// Throws UsageError unless `lr` is finite and not negative.
  void set_learning_rate(double lr);

 protected:
  /// `name`: for messages. Throws UsageError for no parameters, the same one twice, one without
  /// value, or a bad learning rate; DtypeError for int32.
  Optimizer(const char* name, Parameters parameters, double learning_rate);

  /// Throws UsageError unless `value` is in [low, high), or in [low, inf) by default.
  void check_option(const char* option, double value, double low, double high) const;
  /// Throws unless the gradients of all Parameters that will move fit their values.
  void check_gradients() const;
  /// Makes sure that `state` has a tensor, at first of zeros, for each Parameter that will move;
  /// throws before anything moves.
  void prepare(std::vector<Tensor>& state) const;
  static bool moves(const ParameterData& p) { return p.requires_grad && p.grad.defined(); }

 private:
  const char* name_;
  Parameters parameters_;
  double learning_rate_ = 0;
};

}  // namespace tapegrad
