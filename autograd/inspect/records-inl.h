#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hooks.h"

#pragma GCC visibility push(hidden)

/// Records that a tape keeps for hooks, kept gradients, scopes and observers.
namespace tapegrad {

struct NodeRecord;

/// A name that nodes stand under; number 0 is the pass itself.
struct ScopeRecord {
  std::size_t first_letter, letters;  // of its name, in Scopes::names
  std::size_t index;                  // SIZE_MAX: none
  std::uint32_t outer;
  bool ended = false;
};

/// All scopes of a pass, from number 1 on.
struct Scopes {
  std::vector<ScopeRecord> records;
  std::string names;

  /// Returns a scope's name with those it is in, as in "decoder/lstm.1"; "" for number 0.
  std::string path(std::uint32_t number) const;
  void clear() noexcept {
    records.clear();
    names.clear();
  }
};

/// Names of the last pass that has ended, by which errors say where its Vars were made. A pass of
/// more than max_nodes leaves none: keeping them costs no time, but memory as long as the state lives.
/// Any thread may ask, so they are read and written under idle_mutex().
struct MakerNames {
  static constexpr std::size_t max_nodes = 4096;

  std::uint64_t pass = 0;  // 0: of none
  std::vector<NodeRecord> nodes;
  Scopes scopes;
};

/// Something that an op noted about its node. A note that comes before the node's first output
/// waits for its number.
struct NoteRecord {
  std::uint32_t node;
  bool waiting;
  const char* name;
  std::string value;
};

/// A hook on a slot. An empty function marks a retain_grad() request.
struct HookRecord {
  static constexpr std::uint32_t none = UINT32_MAX;
  std::uint32_t node;
  std::uint32_t slot;
  Hook hook;
  Var kept = {};
  std::uint32_t next = none;  // of the same node
};

}  // namespace tapegrad

#pragma GCC visibility pop
