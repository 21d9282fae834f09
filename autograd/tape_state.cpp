#include "tape_state-inl.h"

#include <mutex>
#include <new>
#include <string>

/// How tapes come and go: `Tape tape;` in a loop takes the state that the last one left, with all
/// its memory.
namespace tapegrad {

namespace {

/// States of tapes that are not alive. Neither they nor the list are ever freed: a Var may look at
/// its state at any time, even one in a static variable.
struct IdleStates {
  std::mutex mutex;
  std::vector<TapeState*> list;
  std::size_t made = 0;  // in all
};

IdleStates& idle_states() {
  static auto* states = new IdleStates;
  return *states;
}

TapeState* take_state() {
  IdleStates& idle = idle_states();
  const std::lock_guard lock(idle.mutex);
  if (idle.list.empty()) {
    idle.list.reserve(idle.made + 1);  // so that giving the state back cannot throw
    auto* const state = new TapeState;
    ++idle.made;
    return state;
  }
  TapeState* state = idle.list.back();
  idle.list.pop_back();
  return state;
}

}  // namespace

Tape::Tape(bool recording, Dropout dropout, Stream stream)
    : state_(take_state()), dropout_(dropout), stream_(stream) {
  state_->recording = recording;
  state_->thread = std::this_thread::get_id();
}

Tape::~Tape() {
  state_->end_pass();
  IdleStates& idle = idle_states();
  const std::lock_guard lock(idle.mutex);
  idle.list.push_back(state_);
}

bool Tape::recording() const { return state_->recording && state_->paused == 0; }
std::size_t Tape::size() const { return state_->nodes.size(); }

void Tape::check_input(const Var& x, const char* op) const {
  if (!x.recorded()) return;
  x.state_->check_current(x, op);
  if (x.state_ != state_) tape_errors::two_tapes(op);
}

RandomKey Tape::random_key(std::string_view site) {
  if (!site.empty()) return RandomKey::of(stream_.seed, stream_.pass, site);
  return RandomKey::of(stream_.seed, stream_.pass, "#" + std::to_string(unnamed_sites_++));
}

Tape::Until Tape::pause() { return {state_->paused, state_->paused + 1, state_->pass}; }

void TapeState::end_pass() noexcept {
  for (NodeRecord& node : nodes) free(node);
  nodes.clear();
  edges.clear();
  slots.clear();
  parameters.clear();
  leaves.clear();
  scopes.clear();
  hooks.clear();
  arena.reset();
  scope = paused = 0;
  observer = nullptr;
  ++pass;
}

void TapeState::free(NodeRecord& node) noexcept {
  if (node.rule == nullptr) return;
  node.rule->destroy(*node.rule);
  node.rule = nullptr;
  node.kind = NodeRecord::Kind::freed;
}

void Tape::release_memory() {
  IdleStates& idle = idle_states();
  const std::lock_guard lock(idle.mutex);
  for (TapeState* state : idle.list) {
    const std::uint64_t pass = state->pass;
    state->~TapeState();
    new (state) TapeState;
    state->pass = pass;
  }
}

}  // namespace tapegrad
