#include "scope.h"

#include "../tape_state-inl.h"

namespace tapegrad {

Scope::Scope(Tape& tape, std::string_view name, std::size_t index) : context_(name, index) {
  if (!tape.recording()) return;
  TapeState& s = TapeState::of(tape);
  s.scopes.push_back({s.arena.copy(name), index, s.scope});
  state_ = &s;
  pass_ = s.pass;
  s.scope = number_ = static_cast<std::uint32_t>(s.scopes.size());
}

Scope::~Scope() {
  if (state_ == nullptr || state_->pass != pass_) return;
  state_->scopes[number_ - 1].ended = true;
  for (std::uint32_t& now = state_->scope; now != 0 && state_->scopes[now - 1].ended;) {
    now = state_->scopes[now - 1].outer;
  }
}

std::string TapeState::path(std::uint32_t number) const {
  std::string result;
  for (; number != 0; number = scopes[number - 1].outer) {
    const ScopeRecord& record = scopes[number - 1];
    std::string name(record.name);
    if (record.index != ErrorContext::no_index) name += "." + std::to_string(record.index);
    if (!result.empty()) name += "/";
    result.insert(0, name);
  }
  return result;
}

}  // namespace tapegrad
