#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "hooks.h"

#pragma GCC visibility push(hidden)

/// Records that a tape keeps for hooks, kept gradients, scopes and observers.
namespace tapegrad {

/// A name that nodes stand under; number 0 is the pass itself.
struct ScopeRecord {
  std::string_view name;  // lies in the arena
  std::size_t index;      // SIZE_MAX: none
  std::uint32_t outer;
  bool ended = false;
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
