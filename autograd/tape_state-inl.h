#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "closure_arena.h"
#include "inspect/observer.h"
#include "parameter.h"
#include "tape.h"
#include "tape_errors-inl.h"

#pragma GCC visibility push(hidden)

/// The inside of a tape. Private to autograd/*.cpp.
namespace tapegrad {

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

/// A name that nodes stand under; number 0 is the pass itself.
struct ScopeRecord {
  std::string_view name;  // lies in the arena
  std::size_t index;      // SIZE_MAX: none
  std::uint32_t outer;
};

/// A hook on a slot, or, if it is empty, the wish to keep the slot's gradient.
struct HookRecord {
  static constexpr std::uint32_t none = UINT32_MAX;
  std::uint32_t node;
  std::uint32_t slot;
  Tape::Hook hook;
  Var kept = {};
  std::uint32_t next = none;  // of the same node
};

/// One output of a node, which outlives its value: what a gradient must look like.
struct SlotRecord {
  Shape shape;
  DType dtype;
};

/// One backward loop: which slots matter, and the gradients that have reached them so far.
struct Sweep {
  enum Flag : std::uint8_t { wanted = 1, reached = 2, target = 4 };
  bool graph = false;
  bool retain = false;
  bool to_hooks = false;     // backward(): down to every hook, whether or not an x needs it
  std::uint32_t top = 0;     // the loop runs from this node
  std::uint32_t bottom = 0;  // down to this one
  std::uint32_t base = 0;  // first slot of the bottom node: what lies before it is never looked at
  pool::Vector<std::uint8_t> flags;
  Vars grads;

  const char* op() const { return to_hooks ? "backward" : "gradient"; }
  bool has(std::uint32_t slot, Flag flag) const {
    return slot >= base && slot - base < flags.size() && (flags[slot - base] & flag) != 0;
  }
  void set(std::uint32_t slot, Flag flag) {
    flags[slot - base] = static_cast<std::uint8_t>(flags[slot - base] | flag);
  }
  Var& grad(std::uint32_t slot) { return grads[slot - base]; }
  /// A first-order gradient may have been accumulated in place since it came: as a new constant it
  /// is current.
  Var current_grad(std::uint32_t slot) {
    return graph ? grad(slot) : Var(Tensor(grad(slot).value_));
  }
};

/// Recording order is topological order: whatever a node uses stands before it, so backward is one
/// loop over a flat vector and nothing recurses, however long the sequence was.
struct TapeState {
  static constexpr std::uint32_t constant =
      UINT32_MAX;  // the edge to an input that is not recorded

  std::uint64_t pass = 1;  // never goes back, so a Var of a pass that is over never looks current
  bool recording = true;
  std::uint32_t paused = 0;
  std::thread::id thread;  // that the pass belongs to
  std::uint32_t scope = 0;
  Observer* observer = nullptr;
  std::vector<NodeRecord> nodes;
  std::vector<std::uint32_t> edges;  // slots of the inputs, a run for each node
  std::vector<SlotRecord> slots;
  std::vector<std::shared_ptr<ParameterData>> parameters;  // that have a leaf,
  Vars leaves;                                             // and the leaf of each
  std::vector<ScopeRecord> scopes;                         // from number 1 on
  std::vector<HookRecord> hooks;
  ClosureArena arena;

  static TapeState& of(const Tape& tape) { return *tape.state_; }
  static std::uint32_t slot_of(const Var& v) { return v.slot_; }

  Var add_leaf(Tensor value);
  void check_thread(const char* op) const {
    if (thread != std::this_thread::get_id()) tape_errors::other_thread(op);
  }
  void check_own(const Var& v, const char* op) const;
  void check_current(const Var& v, const char* op) const;
  /// Adds dy[k] to the gradient of y[k] and carries it down to every x, and `to_hooks`; leaves the
  /// result in the returned Sweep. With hooks it throws if no x is reached.
  Sweep sweep(std::span<const Var> y, std::span<const Var> dy, std::span<const Var> x,
              Tape::Options options, bool to_hooks = false);
  void end_pass() noexcept;
  void add_hook(const Var& v, Tape::Hook hook, const char* op);
  void show_value(const Var& v);
  NodeView view(std::uint32_t node) const;

 private:
  void mark(Sweep& sweep, std::span<const Var> y, std::span<const Var> x) const;
  void run(Sweep& sweep);
  void run_hooks(Sweep& sweep, std::uint32_t node);
  void show_gradients(Sweep& sweep, std::uint32_t node);
  bool wants_input(const Sweep& sweep, const NodeRecord& node) const;
  bool reaches_output(const Sweep& sweep, const NodeRecord& node) const;
  void free(NodeRecord& node) noexcept;
};

}  // namespace tapegrad

#pragma GCC visibility pop
