#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "closure_arena.h"
#include "interest.h"
#include "tape.h"
#include "var.h"

/// Tools for authors of ops. Users of ops need only tape.h.
namespace tapegrad {

/// Records one operation (CONTRIBUTING.md shows the idiom). Lives on the stack of the function that
/// is the op.
class Node {
 public:
  using Inputs = std::initializer_list<std::reference_wrapper<const Var>>;
  using InputSpan = std::span<const std::reference_wrapper<const Var>>;

  /// Begins a node; `name` is a string literal. An undefined input is absent (a layer without
  /// bias): no edge leads to it, and its gradient is never needed. Throws UsageError for a Var of
  /// another tape or of a pass that is over, DtypeError for inputs of float32 and float64 together.
  Node(const char* name, Inputs inputs) : Node(name, InputSpan(inputs.begin(), inputs.size())) {}
  Node(const char* name, InputSpan inputs);

  /// Records an output; all of them before the rule. A node without a rule is "not differentiable"
  /// and says so when asked.
  Var out(Tensor value);
  /// Returns whether an observer of this tape asks for such things; never where nothing is
  /// recorded.
  bool wants(Interest interest) const { return overlap(interests_, interest); }
  /// Notes an attribute for observers, texts and graphs: axis, factor. Before out().
  template <class Value>
  void note(const char* name, const Value& value) {
    if (!wants(Interest::notes)) return;
    if constexpr (std::is_arithmetic_v<Value>) {
      add_note(name, static_cast<double>(value));
    } else {
      add_note(name, value);
    }
  }
  /// Reports the branch that each element took to the observers: `choice()` returns a Tensor that
  /// changes where a branch does. For ops with kinks; after out().
  template <class F>
  void branch(F&& choice) {
    if (wants(Interest::branches)) show_branch(choice());
  }
  /// Shows a tensor inside a fused op to the observers (Internal in inspect/observer.h), of one
  /// step or of all. After out(), and only if wants(Interest::internals): to make it costs time.
  void report(std::string_view name, const Tensor& value, std::size_t step = SIZE_MAX);
  /// Sets the rule by which gradients of the outputs become gradients of the inputs. Captures are
  /// the saved values: capture Vars, never Tensors, so that a value overwritten since is noticed.
  template <class F>
  void rule(F&& f) {
    if (state_ != nullptr) set_rule(arena().make(std::forward<F>(f)));
  }
  /// Returns false if no rule will ever be called: then nothing needs to be saved for a rule.
  bool recording() const { return state_ != nullptr; }

 private:
  void add_note(const char* name, double value);
  void add_note(const char* name, Axis axis) { add_note(name, static_cast<double>(axis.number)); }
  void add_note(const char* name, std::string_view value);
  void add_note(const char* name, const Shape& value);
  void show_branch(const Tensor& choice);
  void require_pass() const;
  ClosureArena& arena();
  void set_rule(Closure* closure);

  TapeState* state_ = nullptr;
  std::uint64_t pass_ = 0;
  const char* name_;
  std::uint32_t first_edge_ = 0;
  std::uint32_t edges_ = 0;
  std::uint32_t node_ = UINT32_MAX;
  std::uint32_t first_note_ = UINT32_MAX;
  Interest interests_ = Interest::none;
};

struct Sweep;

/// Interface of a rule to its sweep: gradients of its node's outputs in, gradients of its inputs
/// out.
class Grads {
 public:
  /// Returns true if the gradients will be differentiated: the rule must then consist of ops on
  /// Vars, from d() to add(). A number computed aside is a constant whose derivative is lost;
  /// UsageError if nothing else is left of a gradient.
  bool graph() const;
  /// Returns true if this rule may be run again, so that what it saved must stay as it is.
  bool retained() const;
  /// Returns whether the gradient of input i is wanted.
  bool needs(std::size_t i) const;
  /// Returns whether a gradient has reached output k (with several outputs, some may be unused).
  bool has(std::size_t k) const;
  /// Returns the gradient of output k, not to be written to; zeros if none has reached it. The
  /// reference is valid until the rule returns.
  const Var& d(std::size_t k = 0) const;
  /// Adds to the gradient of input i; ignored if that is not wanted.
  void add(std::size_t i, const Var& gradient);

  /// Memory in which a kernel may leave the gradient of input i: tensor = beta * tensor + gradient.
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
    using Function = const std::remove_reference_t<Twin>;
    run_twin([](const void* f, const Vars& x) { return (*static_cast<Function*>(f))(x); }, &twin,
             inputs);
  }

  /// Reports values that exist in a sweep alone, as Node::report: gradients of gates, of cells.
  bool wants(Interest interest) const;
  void report(std::string_view name, const Tensor& value, std::size_t step = SIZE_MAX);

 private:
  friend struct TapeState;
  Grads(TapeState& state, Sweep& sweep, std::uint32_t node)
      : state_(state), sweep_(sweep), node_(node) {}
  std::uint32_t edge(std::size_t i) const;  // slot of input i
  std::uint32_t slot(std::size_t k) const;  // slot of output k
  void run(Closure& rule);
  Var& gradient_of(std::uint32_t input);
  void run_twin(Vars (*call)(const void*, const Vars&), const void* twin, const Vars& inputs);

  TapeState& state_;
  Sweep& sweep_;
  std::uint32_t node_;
  bool wrote_ = false;  // a kernel writes into a gradient of this node's inputs
};

}  // namespace tapegrad
