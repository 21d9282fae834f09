#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "closure_arena.h"
#include "tape.h"
#include "var.h"

/// What the author of an op needs; who only uses ops needs tape.h.
namespace tapegrad {

/// Records one operation (CONTRIBUTING.md shows the idiom). Lives on the stack of the function that
/// is the op.
class Node {
 public:
  using Inputs = std::initializer_list<std::reference_wrapper<const Var>>;
  using InputSpan = std::span<const std::reference_wrapper<const Var>>;

  /// `name`: a string literal. An undefined input is absent (a layer without bias): no edge leads to
  /// it, and its gradient is never needed. Throws UsageError for a Var of another tape or of a pass
  /// that is over, DtypeError for inputs of float32 and float64 together.
  Node(const char* name, Inputs inputs) : Node(name, InputSpan(inputs.begin(), inputs.size())) {}
  Node(const char* name, InputSpan inputs);

  /// An output; all of them before the rule. A node without a rule is "not differentiable" and says
  /// so when asked.
  Var out(Tensor value);
  /// Tells an observer, if there is one, which way each element went: `choice()` is a Tensor that
  /// changes where a branch does. For ops with kinks; after out().
  template <class F>
  void branch(F&& choice) {
    if (observed()) show_branch(choice());
  }
  /// How gradients of the outputs become gradients of the inputs. Captures are the saved values:
  /// capture Vars, never Tensors, so that a value overwritten since is noticed.
  template <class F>
  void rule(F&& f) {
    if (state_ != nullptr) set_rule(arena().make(std::forward<F>(f)));
  }
  /// False if no rule will ever be called: then nothing needs to be saved for it.
  bool recording() const { return state_ != nullptr; }

 private:
  bool observed() const;
  void show_branch(const Tensor& choice);
  ClosureArena& arena();
  void set_rule(Closure* closure);

  TapeState* state_ = nullptr;
  const char* name_;
  std::uint32_t first_edge_ = 0;
  std::uint32_t edges_ = 0;
  std::uint32_t node_ = UINT32_MAX;
};

struct Sweep;

/// What a rule works with: gradients of its node's outputs in, gradients of its inputs out.
class Grads {
 public:
  /// True if the gradients will be differentiated: the rule must then consist of ops on Vars.
  bool graph() const;
  /// True if this rule may be run again, so that what it saved must stay as it is.
  bool retained() const;
  /// Whether the gradient of input i is wanted.
  bool needs(std::size_t i) const;
  /// Whether a gradient has reached output k (with several outputs, some may be unused).
  bool has(std::size_t k) const;
  /// Gradient of output k; zeros if none has reached it.
  Var d(std::size_t k = 0) const;
  /// Adds to the gradient of input i; ignored if that is not wanted.
  void add(std::size_t i, const Var& gradient);

  /// Where a kernel may leave the gradient of input i itself: tensor = beta * tensor + gradient.
  /// With beta = 0 the tensor is not initialised. Throws UsageError unless needs(i), or if graph().
  struct Into {
    Tensor tensor;
    double beta;
  };
  Into into(std::size_t i);

  /// Differentiates the composed twin in place of this node: `twin(inputs)` returns this node's
  /// outputs. The twin is recorded even where gradients are not.
  template <class Twin>
  void through(Twin&& twin, const Vars& inputs) {
    const Tape::Until on = recording();
    const Vars aliases = alias(inputs);
    add_through(twin(aliases), aliases);
  }

 private:
  friend struct TapeState;
  Grads(TapeState& state, Sweep& sweep, std::uint32_t node)
      : state_(state), sweep_(sweep), node_(node) {}
  std::uint32_t edge(std::size_t i) const;  // slot of input i
  std::uint32_t slot(std::size_t k) const;  // slot of output k
  Tape::Until recording() const;
  Vars alias(const Vars& inputs) const;
  void add_through(const Vars& outputs, const Vars& aliases);

  TapeState& state_;
  Sweep& sweep_;
  std::uint32_t node_;
};

}  // namespace tapegrad
