#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../core/long_sums-inl.h"
#include "closure_arena.h"
#include "inspect/records-inl.h"
#include "interest.h"
#include "parameter.h"
#include "tape.h"
#include "tape_errors-inl.h"

#pragma GCC visibility push(hidden)

/// The inside of a tape. Private to autograd/*.cpp.
namespace tapegrad {

class Observer;
struct Internal;
struct NodeView;

// Public headers have named these already, so for g++ the pragma comes too late.
struct [[gnu::visibility("hidden")]] TapeState;
struct [[gnu::visibility("hidden")]] Sweep;

struct NodeRecord {
  enum class Kind : std::uint8_t { op, leaf, freed };
  const char* name;
  Closure* rule;  // null: a leaf, freed, or not differentiable
  std::uint32_t first_edge;
  std::uint32_t edges;
  std::uint32_t first_slot;
  std::uint32_t slots;
  std::uint32_t scope;
  Kind kind;
  std::uint32_t first_hook = UINT32_MAX;
};

/// One output of a node, which outlives its value: what a gradient must look like.
struct SlotRecord {
  Shape shape;
  DType dtype;
};

/// One backward loop: which slots matter, and the gradients that have reached them so far.
struct Sweep {
  enum Flag : std::uint8_t { wanted = 1, reached = 2, target = 4, written = 8 };
  bool graph = false;
  bool retain = false;
  bool to_hooks = false;     // backward(): down to every hook, whether or not an x needs it
  std::uint32_t top = 0;     // the loop runs from this node
  std::uint32_t bottom = 0;  // down to this one
  std::uint32_t base = 0;  // first slot of the bottom node: what lies before it is never looked at
  pool::Vector<std::uint8_t> flags;
  Vars grads;
  LongSums long_sums;

  const char* op() const { return to_hooks ? "backward" : "gradient"; }
  bool has(std::uint32_t slot, Flag flag) const {
    return slot >= base && slot - base < flags.size() && (flags[slot - base] & flag) != 0;
  }
  void set(std::uint32_t slot, Flag flag) {
    flags[slot - base] = static_cast<std::uint8_t>(flags[slot - base] | flag);
  }
  Var& grad(std::uint32_t slot) { return grads[slot - base]; }
  /// Takes what a kernel has written into a gradient as its value.
  void accept(std::uint32_t slot) { grad(slot).version_ = grad(slot).value_.version(); }
  /// Before a term is added to a gradient.
  void count_term(std::uint32_t slot) {
    if (graph || !long_sums.is_long(slot - base) || !grad(slot).defined()) return;
    grad(slot).value();  // throws if somebody has written into it
    long_sums.move(slot - base, grad(slot).value_);
    accept(slot);
  }
  /// When all terms of a gradient have been added.
  void settle(std::uint32_t slot) {
    if (!long_sums.has_moved(slot - base)) return;
    grad(slot).value();
    long_sums.settle(slot - base, grad(slot).value_);
    accept(slot);
  }
};

/// A call to code that is not ours (a hook, an observer, a rule, a twin), which may destroy the
/// Tape: its state is then given back when the last call has returned, and whoever made the call
/// throws.
class CallOut {
 public:
  explicit CallOut(TapeState& state);
  CallOut(const CallOut&) = delete;
  CallOut& operator=(const CallOut&) = delete;
  ~CallOut();

 private:
  TapeState& state_;
};

/// Adds to the number of pauses while it lives.
class Pauses {
 public:
  Pauses(std::uint32_t& pauses, std::uint32_t more) : pauses_(pauses), more_(more) {
    pauses_ += more;
  }
  Pauses(const Pauses&) = delete;
  Pauses& operator=(const Pauses&) = delete;
  ~Pauses() { pauses_ -= more_; }

 private:
  std::uint32_t& pauses_;
  std::uint32_t more_;
};

/// Recording order is topological order: whatever a node uses stands before it, so backward is one
/// loop over a flat vector and nothing recurses, however long the sequence was.
struct TapeState {
  static constexpr std::uint32_t constant =
      UINT32_MAX;  // the edge to an input that is not recorded

  std::uint64_t pass = 1;  // never goes back, so a Var of a pass that is over never looks current
  bool recording = true;
  bool destroyed = false;                        // the Tape is, in a call that has not returned
  bool dropped = false, differentiated = false;  // dropout was on; a rule was run
  std::uint32_t calls = 0;                       // that have not returned
  std::uint32_t paused = 0;                      // how often
  std::uint32_t scope = 0;
  std::thread::id thread;               // that the pass belongs to
  Interest interests = Interest::none;  // of all observers
  std::vector<Observer*> observers;     // null: one that has gone
  std::vector<NodeRecord> nodes;
  std::vector<std::uint32_t> edges;  // slots of the inputs, a run for each node
  std::vector<SlotRecord> slots;
  std::vector<std::shared_ptr<ParameterData>> parameters;  // that have a leaf,
  Vars leaves;                                             // and the leaf of each
  Scopes scopes;
  std::deque<HookRecord> hooks;   // stays where it is when a hook adds one
  std::vector<NoteRecord> notes;  // in the order of their nodes
  ClosureArena arena;
  MakerNames makers;

  static TapeState& of(const Tape& tape) { return *tape.state_; }
  /// The tape of v, which is called `name`; throws unless v can be used on it now.
  static TapeState& of(const Var& v, const char* op, const char* name);
  static std::uint32_t slot_of(const Var& v) { return v.slot_; }

  Var add_leaf(Tensor value, const char* name = "leaf");
  void check_thread(const char* op) const {
    if (thread != std::this_thread::get_id()) tape_errors::other_thread(op);
  }
  /// Throws unless v, which is called `name`, was recorded on this tape.
  void check_own(const Var& v, const char* op, const char* name) const;
  /// Throws unless v, which is called `name`, can be used on its tape, this one, now.
  void check_current(const Var& v, const char* op, std::string_view name) const {
    if (v.pass_ != pass) pass_is_over(v, op, name);
    check_thread(op);
  }
  /// Adds dy[k] to the gradient of y[k] and carries it down to every x, and `to_hooks`; leaves the
  /// result in the returned Sweep. With hooks it throws if no x is reached.
  Sweep sweep(std::span<const Var> y, std::span<const Var> dy, std::span<const Var> x,
              Tape::Options options, bool to_hooks = false);
  /// Memory for a first gradient of a slot: in backward() that which its Parameter keeps.
  Tensor gradient_memory(const Sweep& sweep, std::uint32_t slot) const;
  /// Gives a gradient elements that nobody else has; throws if they were overwritten meanwhile.
  static void own(Var& gradient);
  static bool is_zero(const Var& gradient);
  void end_pass() noexcept;
  /// Ends the pass and gives the state back to the next Tape.
  void retire() noexcept;
  void require_tape(const char* op) const {
    if (destroyed) tape_errors::tape_destroyed(op);
  }

  // inspect/
  [[noreturn]] void pass_is_over(const Var& v, const char* op, std::string_view name) const;
  void keep_makers() noexcept;
  static void add_hook(const Var& v, Hook hook, const char* op);
  static Var kept_gradient(const Var& v);
  bool wants(Interest interest) const { return overlap(interests, interest); }
  void forget(Observer& observer) noexcept;
  void dismiss_observers() noexcept;
  NodeView view(std::uint32_t node) const;
  void show_value(const Var& v);
  void show_branch(std::uint32_t node, const Tensor& choice);
  void show_internal(std::uint32_t node, const Internal& inside);
  void add_note(std::uint32_t node, const char* name, std::string value);
  void give_notes(std::size_t first, std::uint32_t node);

 private:
  void mark(Sweep& sweep, std::span<const Var> y, std::span<const Var> x) const;
  void run(Sweep& sweep);
  void run_hooks(Sweep& sweep, std::uint32_t node);
  void show_gradients(Sweep& sweep, std::uint32_t node);
  template <class Show>
  void show(Interest interest, const Tensor& shown, Show show);
  bool wants_input(const Sweep& sweep, const NodeRecord& node) const;
  bool reaches_output(const Sweep& sweep, const NodeRecord& node) const;
  void free(NodeRecord& node) noexcept;
};

inline bool TapeState::wants_input(const Sweep& sweep, const NodeRecord& node) const {
  const auto first = edges.begin() + node.first_edge;
  return std::any_of(first, first + node.edges,
                     [&](std::uint32_t slot) { return sweep.has(slot, Sweep::wanted); });
}

inline bool TapeState::reaches_output(const Sweep& sweep, const NodeRecord& node) const {
  for (std::uint32_t slot = node.first_slot; slot < node.first_slot + node.slots; ++slot) {
    if (sweep.has(slot, Sweep::reached)) return true;
  }
  return false;
}

inline CallOut::CallOut(TapeState& state) : state_(state) { ++state_.calls; }
inline CallOut::~CallOut() {
  if (--state_.calls == 0 && state_.destroyed) state_.retire();
}

std::mutex& idle_mutex();  // of the states that no Tape has

/// a + b; defined beside the other ops.
Var sum_of(const Var& a, const Var& b);

}  // namespace tapegrad

#pragma GCC visibility pop
