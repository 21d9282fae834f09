#pragma once

#include <cstdint>
#include <string_view>

#include "../../core/error_context.h"
#include "../tape.h"

namespace tapegrad {

/// A name for what is done while it lives, as in "step.1" or "decoder/step.1":
///
///     const Scope scope(tape, "step", t);
///
/// What is recorded carries the name, and an error thrown meanwhile ends with it, on a tape that
/// records nothing as well. Scopes nest; several may end in any order. The pass ends them all.
class [[nodiscard]] Scope {
 public:
  Scope(Tape& tape, std::string_view name, std::size_t index = ErrorContext::no_index);
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope();

 private:
  ErrorContext context_;
  TapeState* state_ = nullptr;  // null: nothing is recorded
  std::uint64_t pass_ = 0;
  std::uint32_t number_ = 0;
};

}  // namespace tapegrad
