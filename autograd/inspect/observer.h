#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "../var.h"

namespace tapegrad {

/// A node of a tape. Values are numbered through the pass, in the order in which they were
/// recorded.
struct NodeView {
  static constexpr std::size_t constant = static_cast<std::size_t>(-1);

  std::size_t index;                // in the order of recording
  const char* name;                 // the op's; "leaf"
  std::string scope;                // as in "decoder/lstm.1"; empty outside of any
  std::vector<std::size_t> inputs;  // their values' numbers, or `constant`
  std::size_t first_output;         // number of its first value
  std::vector<Shape> outputs;       // shapes of its values
};

/// Sees what happens on a tape while it happens: see Tape::observe(). Does nothing by itself.
///
/// It may throw, which ends the recording or the backward like any other exception there. It must
/// not use the tape.
class Observer {
 public:
  /// What is of interest: everything, or branches alone, which is cheap.
  enum class Sees { everything, branches };
  explicit Observer(Sees sees = Sees::everything) : sees_(sees) {}
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;
  virtual ~Observer() = default;

  /// A value was recorded: an output of `node`, whose rule is not there yet.
  virtual void on_value(const NodeView& /*node*/, std::size_t /*number*/, const Var& /*value*/) {}
  /// A sweep has come to `node`: the gradient of one of its values is complete, hooks included. Not
  /// called for values that no gradient has reached.
  virtual void on_gradient(const NodeView& /*node*/, std::size_t /*number*/,
                           const Var& /*gradient*/) {}
  /// An op with kinks (relu, max, clamp) was recorded: a Tensor that changes where an element takes
  /// another branch.
  virtual void on_branch(std::size_t /*node*/, const char* /*op*/, const Tensor& /*choice*/) {}

  bool sees_everything() const { return sees_ == Sees::everything; }

 private:
  Sees sees_;
};

}  // namespace tapegrad
