#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <vector>

#include "../autograd/parameters.h"

namespace tapegrad {

/// Parameters that an optimizer moves by options of their own:
///
///   Adam adam({{parameters(m.embed), {.lr = 1e-3}}, {parameters(m.head), {.lr = 1e-2}}});
template <class Options>
struct ParameterGroup {
  Parameters parameters;
  Options options;
};

/// What changes Parameters by their gradients. Shares them with the model, so either may be moved.
///
/// step() reads gradients and never writes them, nor looks for NaN and infinity (clip_grad_norm()
/// does). A Parameter that is frozen or has no gradient is left alone, and so is what the optimizer
/// remembers of it. Arithmetic is in the Parameter's dtype, only what is the same for all elements
/// is computed in double. The first step allocates what is to be remembered, later ones nothing.
///
/// Each Parameter is in one group, numbered from 0; groups differ in their options and share
/// nothing, so that an optimizer with two groups does what two optimizers would.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Throws, and then nothing has moved, if no Parameter has a gradient, or if somebody put a value
  /// or a gradient of another shape or dtype in the place of one.
  virtual void step() = 0;
  void zero_grad() { parameters_.zero_grad(); }

  /// Those of all groups, one group after the other.
  const Parameters& parameters() const { return parameters_; }
  std::size_t groups() const { return learning_rates_.size(); }
  /// The group of parameters()[i].
  std::size_t group_of(std::size_t i) const { return group_of_[i]; }

  /// Throws UsageError for a group that does not exist.
  double learning_rate(std::size_t group = 0) const;
  /// Of all groups. Throws UsageError unless `lr` is finite and not negative.
  void set_learning_rate(double lr);
  void set_learning_rate(double lr, std::size_t group);

 protected:
  /// `name`: for messages. Throws UsageError for a group without parameters, the same one twice,
  /// one without value, or a bad learning rate; DtypeError for int32.
  template <class Options>
  Optimizer(const char* name, const std::vector<ParameterGroup<Options>>& groups) : name_(name) {
    for (const auto& group : groups) {
      parameters_ += group.parameters;
      group_of_.resize(parameters_.size(), learning_rates_.size());
      learning_rates_.push_back(group.options.lr);
    }
    check_groups();
    for (const NamedParameter& p : parameters_) p.record(&ParameterEvents::optimizer);
  }

  /// Throws UsageError unless `value` is in [low, high).
  void check_option(std::size_t group, const char* option, double value, double low,
                    double high) const;
  /// Throws UsageError unless there is a parameter `i`; returns it.
  std::size_t checked_index(std::size_t i) const;
  /// The head of a message: "[name]", and which group it is about if there are several.
  std::string about(std::size_t group) const;
  /// Throws unless there are gradients, and they fit the values of the Parameters that will move.
  void check_gradients() const;
  /// Makes sure that each of `states` has a tensor, at first of zeros, for each Parameter that will
  /// move and that it remembers(). Throws before anything has changed, in any of them.
  void prepare(std::initializer_list<std::vector<Tensor>*> states) const;
  /// Whether the optimizer remembers something of Parameter i.
  virtual bool remembers(std::size_t /*i*/) const { return true; }
  bool moves(std::size_t i) const {
    return parameters_[i].requires_grad() && parameters_[i].grad().defined();
  }

 private:
  void check_groups() const;
  void check_learning_rate(double lr, std::size_t group) const;

  const char* name_;
  Parameters parameters_;
  std::vector<std::size_t> group_of_;   // of each Parameter
  std::vector<double> learning_rates_;  // of each group
};

}  // namespace tapegrad
