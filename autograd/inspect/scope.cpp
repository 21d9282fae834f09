#include "scope.h"

#include "../tape_state-inl.h"

namespace tapegrad {

Scope::Scope(Tape& tape, std::string_view name, std::size_t index) : context_(name, index) {
  if (!tape.recording()) return;
  TapeState& s = TapeState::of(tape);
  s.scopes.records.push_back({s.scopes.names.size(), name.size(), index, s.scope});
  s.scopes.names += name;
  state_ = &s;
  pass_ = s.pass;
  s.scope = number_ = static_cast<std::uint32_t>(s.scopes.records.size());
}

Scope::~Scope() {
  if (state_ == nullptr || state_->pass != pass_) return;
  std::vector<ScopeRecord>& all = state_->scopes.records;
  all[number_ - 1].ended = true;
  for (std::uint32_t& now = state_->scope; now != 0 && all[now - 1].ended;) {
    now = all[now - 1].outer;
  }
}

std::string Scopes::path(std::uint32_t number) const {
  std::string result;
  for (; number != 0; number = records[number - 1].outer) {
    const ScopeRecord& record = records[number - 1];
    std::string name = names.substr(record.first_letter, record.letters);
    if (record.index != ErrorContext::no_index) name += "." + std::to_string(record.index);
    if (!result.empty()) name += "/";
    result.insert(0, name);
  }
  return result;
}

}  // namespace tapegrad
