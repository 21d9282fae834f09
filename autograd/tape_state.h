#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "closure_arena.h"
#include "parameter.h"
#include "tape.h"

/// The inside of a tape. Private to autograd/*.cpp.
namespace tapegrad {

struct NodeRecord {
  enum class Kind : std::uint8_t { op, leaf, freed };
  const char* name;
  Closure* rule;  // null: a leaf, freed, or not differentiable
  std::uint32_t first_edge;
  std::uint32_t edges;
  std::uint32_t first_slot;
  std::uint32_t slots;
  Kind kind;
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
  std::uint32_t top = 0;     // the loop runs from this node
  std::uint32_t bottom = 0;  // down to this one
  std::uint32_t base = 0;  // first slot of the bottom node: what lies before it is never looked at
  std::vector<std::uint8_t> flags;
  Vars grads;

  bool has(std::uint32_t slot, Flag flag) const {
    return slot >= base && slot - base < flags.size() && (flags[slot - base] & flag) != 0;
  }
  void set(std::uint32_t slot, Flag flag) {
    flags[slot - base] = static_cast<std::uint8_t>(flags[slot - base] | flag);
  }
  Var& grad(std::uint32_t slot) { return grads[slot - base]; }
};

/// Recording order is topological order: whatever a node uses stands before it, so backward is one
/// loop over a flat vector and nothing recurses, however long the sequence was.
struct TapeState {
  static constexpr std::uint32_t constant =
      UINT32_MAX;  // the edge to an input that is not recorded

  std::uint64_t pass = 1;  // never goes back, so a Var of a pass that is over never looks current
  bool recording = true;
  int paused = 0;
  std::vector<NodeRecord> nodes;
  std::vector<std::uint32_t> edges;  // slots of the inputs, a run for each node
  std::vector<SlotRecord> slots;
  std::vector<std::shared_ptr<ParameterData>> parameters;  // that have a leaf,
  Vars leaves;                                             // and the leaf of each
  ClosureArena arena;
  std::vector<Sweep> spare_sweeps;  // their memory is used again

  Var add_leaf(Tensor value);
  void check_current(const Var& v, const char* op) const;
  /// Adds dy[k] to the gradient of y[k] and carries it down to every x; leaves the result in the
  /// returned Sweep.
  Sweep sweep(std::span<const Var> y, std::span<const Var> dy, std::span<const Var> x,
              Tape::Options options);
  void finish(Sweep sweep) noexcept;
  void end_pass() noexcept;

 private:
  void mark(Sweep& sweep, std::span<const Var> y, std::span<const Var> x) const;
  void run(Sweep& sweep);
  bool wants_input(const Sweep& sweep, const NodeRecord& node) const;
  bool reaches_output(const Sweep& sweep, const NodeRecord& node) const;
  void free(NodeRecord& node) noexcept;
};

}  // namespace tapegrad
