#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "../interest.h"
#include "../parameter.h"
#include "../tape.h"

namespace tapegrad {

/// Attribute of an op, as in axis = 1.
struct Note {
  const char* name;
  std::string value;
};

/// A node of a tape. Values are numbered through the pass, in the order in which they were
/// recorded.
struct NodeView {
  static constexpr std::size_t constant = static_cast<std::size_t>(-1);

  std::size_t index;                         // in the order of recording
  const char* name;                          // the op's; "leaf"
  std::string scope;                         // as in "decoder/lstm.1"; empty outside of any
  std::vector<std::size_t> inputs;           // their values' numbers, or `constant`
  std::size_t first_output;                  // number of its first value
  std::vector<Shape> outputs;                // shapes of its values
  const ParameterData* parameter = nullptr;  // that it is the leaf of
  std::vector<Note> notes;                   // if an observer asked for them when it was recorded
};

/// A tensor inside a fused op, shown while the op is recorded or while a sweep passes it.
struct Internal {
  static constexpr std::size_t all_steps = static_cast<std::size_t>(-1);

  std::string_view name;         // as in "gates" or "dgates"; the op's header lists them
  const Tensor& value;           // time is the first axis if it holds all steps
  std::size_t step = all_steps;  // or the one step it holds
};

/// Sees what happens on the tapes it observes, while it happens. Does nothing by itself.
///
/// A tape may have several observers; each sees what it would see alone, in the order of observe().
/// One may throw, which ends the recording or the backward like any other exception there. While
/// it is called nothing is recorded, so it may compute with what it sees. The call throws
/// UsageError for an observer that overwrites what it is shown or destroys the tape.
class Observer {
 public:
  explicit Observer(Interest interests = Interest::everything) : interests_(interests) {}
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;
  /// Stops observing. In the thread of the tapes that it observes.
  virtual ~Observer();

  /// Receives a value that was recorded: an output of `node`, whose rule is not there yet.
  virtual void on_value(const NodeView& /*node*/, std::size_t /*number*/, const Var& /*value*/) {}
  /// Receives the node that a sweep has come to: the gradient of one of its values is complete,
  /// hooks included. Not called for values that no gradient has reached.
  virtual void on_gradient(const NodeView& /*node*/, std::size_t /*number*/,
                           const Var& /*gradient*/) {}
  /// Receives the branches of an op with kinks (relu, max, clamp): a Tensor that changes where
  /// an element takes another branch.
  virtual void on_branch(std::size_t /*node*/, const char* /*op*/, const Tensor& /*choice*/) {}
  /// Receives internal values of a fused op: as it is recorded, after its values; in a
  /// sweep, after the gradients of its values.
  virtual void on_internal(const NodeView& /*node*/, const Internal& /*inside*/) {}

  Interest interests() const { return interests_; }

 private:
  friend struct TapeState;
  friend void observe(Tape& tape, Observer& observer);
  /// Receives a pass that is over, with all its records: for observers of this folder.
  virtual void on_end(const TapeState& /*pass*/) noexcept {}

  Interest interests_;
  std::vector<TapeState*> tapes_;
};

/// Shows to `observer` what happens on the tape from now on, until one of them is destroyed. Throws
/// UsageError if it observes the tape already. An observer of `Interest::notes` alone does nothing,
/// but makes to_text() and to_dot() show what ops note:
///
///     Observer notes(Interest::notes);
///     observe(tape, notes);
void observe(Tape& tape, Observer& observer);

}  // namespace tapegrad
