#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../autograd/parameters.h"
#include "../core/io/archive.h"
#include "../core/kernels/update.h"
#include "clip.h"

namespace tapegrad {

/// Parameters that an optimizer moves by options of their own:
///
///   Adam adam({{parameters(m.embed), {.lr = 1e-3}}, {parameters(m.head), {.lr = 1e-2}}});
template <class Options>
struct ParameterGroup {
  Parameters parameters;
  Options options;
};

struct StepOptions {
  /// >= 0: the update sees the gradients scaled as clip_grad_norm() scales them. Infinity: it sees
  /// them as they are, but they are measured and must be finite.
  double clip_norm = std::numeric_limits<double>::infinity();
  /// >= 1: the backward passes that the gradients are the sum of. The update, and the clipping
  /// before it, see their mean: n passes over n parts of a batch of equal sizes, each with the mean
  /// loss of its part, move as one pass over the whole batch does.
  std::uint64_t passes = 1;
};

/// Base of the optimizers, which change Parameters by their gradients. Shares ownership of the
/// Parameters with the model; both can be moved.
///
/// A step reads gradients and never writes them. step() does not look for NaN and infinity;
/// step({.clip_norm = 5}) does, as clip_grad_norm(). A Parameter that is frozen or has no gradient
/// is left alone, and so is what the optimizer remembers of it. Arithmetic is in the Parameter's
/// dtype, with subnormal numbers as 0; only what is the same for all elements is computed in
/// double. The first step allocates what is to be remembered, later ones nothing.
///
/// Each Parameter is in one group, numbered from 0; groups differ in their options and share
/// nothing, so that an optimizer with two groups does what two optimizers would.
///
/// This class holds groups, checks, the loop and what is remembered of each Parameter, in slots
/// with names; a derived class is its options and update(), one formula.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Throws UsageError, with no Parameter changed, if none that is not frozen has a gradient.
  void step();
  /// Does what clip_grad_norm(parameters(), options.clip_norm) and step() do, to the bit, in two
  /// passes over the gradients in place of three; but the gradients stay as backward left them.
  /// Returns their norm, and that of what the update saw; with options.passes, of their mean.
  /// Throws like these two, or UsageError for 0 passes, with nothing changed.
  GradNorm step(const StepOptions& options);
  void zero_grad() { parameters_.zero_grad(); }

  /// Returns the Parameters of all groups, one group after the other.
  const Parameters& parameters() const { return parameters_; }
  std::size_t groups() const { return learning_rates_.size(); }
  /// Returns the group of parameters()[i].
  std::size_t group_of(std::size_t i) const { return group_of_[i]; }

  /// Throws UsageError for a group that does not exist.
  double learning_rate(std::size_t group = 0) const;
  /// Sets the rate of all groups. Throws UsageError unless `lr` is finite and not negative, in the
  /// dtype of the Parameters too. A rate that is subnormal there is 0: a schedule may end so.
  void set_learning_rate(double lr);
  void set_learning_rate(double lr, std::size_t group);
  /// Sets the rate of each group. Throws likewise, with none changed, or for another number of them.
  void set_learning_rates(const std::vector<double>& rates);

  /// Returns how many steps parameters()[i] took part in. Throws UsageError if there is none.
  std::uint64_t steps(std::size_t i) const { return memories_[checked_index(i)].steps; }
  /// Returns the names of what may be kept of a Parameter, as "velocity".
  const std::vector<std::string>& slots() const { return slots_; }
  /// Returns what is kept of parameters()[i] under a name: undefined before its first step, and if
  /// the options need none. Throws UsageError if there is no such Parameter or name.
  const Tensor& slot(std::size_t i, std::string_view name) const;

  /// Saves or restores all but the options: rates, numbers of steps, slots. An optimizer of another
  /// kind, or of other groups, names or shapes, is refused.
  void state(Archive& a);

 protected:
  /// Inputs of the update of a Parameter, beside the options of its group.
  struct Step {
    std::size_t group;
    std::uint64_t number;  // of this Parameter's steps, from 1 on
    double lr;
  };

  /// Makes an optimizer. `name`: for messages. `slots`: names of the tensors that are kept of each
  /// Parameter. Throws UsageError for a group without parameters, the same one twice, one without
  /// value, or a bad learning rate; DtypeError for int32.
  template <class Options>
  Optimizer(const char* name, const std::vector<ParameterGroup<Options>>& groups,
            std::vector<std::string> slots)
      : name_(name), slots_(std::move(slots)) {
    for (const auto& group : groups) {
      parameters_ += group.parameters;
      group_of_.resize(parameters_.size(), learning_rates_.size());
      learning_rates_.push_back(group.options.lr);
    }
    start();
  }

  /// Updates a block of elements; called by several threads at once.
  virtual void update(const Step& step, const kernels::Update<float>& u) const = 0;
  virtual void update(const Step& step, const kernels::Update<double>& u) const = 0;
  /// Returns whether slot `k` is kept of the Parameters of `group`: else update() gets null for it.
  virtual bool remembers(std::size_t /*group*/, std::size_t /*k*/) const { return true; }

  /// Throws UsageError unless `value` is in [low, high), as given and as the kernel sees it: in the
  /// narrowest dtype of the group, where a subnormal number is 0. What is not 0 must not become 0.
  void check_option(std::size_t group, const char* option, double value, double low,
                    double high) const;
  /// Throws likewise unless `value` > 0, and finite.
  void check_positive(std::size_t group, const char* option, double value) const;
  /// Throws UsageError "[name] why", and which group it is about if there are several.
  [[noreturn]] void refuse_option(std::size_t group, const char* why) const;

 private:
  struct Memory {
    std::uint64_t steps = 0;
    std::vector<Tensor> slots;
  };

  void start();
  std::string in_group(std::size_t group) const;
  std::size_t checked_index(std::size_t i) const;
  DType narrowest_dtype(std::size_t group) const;
  void check_learning_rate(double lr, std::size_t group) const;
  bool moves(std::size_t i) const {
    return parameters_[i].requires_grad() && parameters_[i].grad().defined();
  }
  void prepare();
  void update_all(const kernels::Ratio& scale);

  const char* name_;
  std::vector<std::string> slots_;
  Parameters parameters_;
  std::vector<std::size_t> group_of_;   // of each Parameter
  std::vector<double> learning_rates_;  // of each group
  std::vector<Memory> memories_;        // of each Parameter
};

}  // namespace tapegrad
