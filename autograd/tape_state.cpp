#include "tape_state-inl.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "../core/fork-inl.h"

/// Recycling of tapes: `Tape tape;` in a loop takes the state that the last one left, with all
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

[[maybe_unused]] const bool usable_after_fork = hold_in_fork<idle_mutex>();

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

std::mutex& idle_mutex() { return idle_states().mutex; }

Tape::Tape(bool recording, Mode mode, Stream stream)
    : state_(take_state()), mode_(mode), stream_(stream) {
  state_->recording = recording;
  state_->thread = std::this_thread::get_id();
}

Tape::~Tape() {
  if (state_->calls > 0) {
    state_->destroyed = true;
  } else {
    state_->retire();
  }
}

void TapeState::retire() noexcept {
  end_pass();
  IdleStates& idle = idle_states();
  const std::lock_guard lock(idle.mutex);
  keep_makers();
  idle.list.push_back(this);
}

bool Tape::recording() const { return state_->recording && state_->paused == 0; }
std::size_t Tape::size() const { return state_->nodes.size(); }

// --- what Vars must be ---

TapeState& TapeState::of(const Var& v, const char* op, const char* name) {
  if (v.state_ == nullptr) tape_errors::not_recorded(op);
  v.state_->check_current(v, op, name);
  return *v.state_;
}

void TapeState::check_own(const Var& v, const char* op, const char* name) const {
  if (&of(v, op, name) != this) tape_errors::other_tape(op, name);
}

void TapeState::own(Var& gradient) {
  if (gradient.value().unique()) return;
  gradient.value_ = gradient.value_.clone();
  gradient.version_ = gradient.value_.version();
}

bool TapeState::is_zero(const Var& gradient) {
  const Tensor& t = gradient.value();
  for (std::size_t i = 0; i < t.numel(); ++i) {
    if (t.at(i) != 0) return false;
  }
  return true;
}

void Tape::require_same_tape(const Var& x, const char* op, std::string_view name) const {
  if (!x.recorded()) return;
  x.state_->check_current(x, op, name);
  if (x.state_ != state_) tape_errors::two_tapes(op, name, "the one given");
}

RandomKey Tape::random_key(std::string_view site) {
  if (!site.empty()) return RandomKey::of(stream_.seed, stream_.pass, site);
  return RandomKey::of(stream_.seed, stream_.pass, "#" + std::to_string(unnamed_sites_++));
}

Tape::Guard::Guard(TapeState& state) : state_(state), pass_(state.pass) { ++state_.paused; }
Tape::Guard::~Guard() {
  if (pass_ == state_.pass) --state_.paused;
}

Tensor TapeState::gradient_memory(const Sweep& sweep, std::uint32_t slot) const {
  if (sweep.to_hooks) {  // leaves are in the order of their slots
    const auto leaf =
        std::ranges::lower_bound(leaves, slot, {}, [](const Var& v) { return slot_of(v); });
    if (leaf != leaves.end() && slot_of(*leaf) == slot) {
      const auto& parameter = parameters[static_cast<std::size_t>(leaf - leaves.begin())];
      if (Tensor kept = parameter->take_buffer(); kept.defined()) return kept;
    }
  }
  return Tensor::empty(slots[slot].shape, slots[slot].dtype);
}

void TapeState::end_pass() noexcept {
  ++pass;
  dismiss_observers();
  for (NodeRecord& node : nodes) free(node);
  edges.clear();
  slots.clear();
  parameters.clear();
  leaves.clear();
  hooks.clear();
  notes.clear();
  arena.reset();
  scope = paused = 0;
  interests = Interest::none;
  destroyed = dropped = differentiated = false;
}

void TapeState::free(NodeRecord& node) noexcept {
  if (node.rule == nullptr) return;
  Closure* const rule = std::exchange(node.rule, nullptr);
  node.kind = NodeRecord::Kind::freed;
  rule->destroy(*rule);
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
