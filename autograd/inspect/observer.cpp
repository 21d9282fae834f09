#include "observer.h"

#include <fmt/core.h>

#include <algorithm>

#include "../node.h"
#include "../tape_errors-inl.h"
#include "../tape_state-inl.h"

namespace tapegrad {

// --- who observes ---

void observe(Tape& tape, Observer& observer) {
  TapeState& s = TapeState::of(tape);
  s.check_thread("observe");
  if (std::ranges::find(s.observers, &observer) != s.observers.end()) {
    tape_errors::observes_already();
  }
  if (s.calls == 0) std::erase(s.observers, nullptr);
  s.observers.reserve(s.observers.size() + 1);
  observer.tapes_.push_back(&s);
  s.observers.push_back(&observer);
  s.interests = s.interests | observer.interests();
}

Observer::~Observer() {
  while (!tapes_.empty()) tapes_.back()->forget(*this);
}

void TapeState::forget(Observer& observer) noexcept {
  std::erase(observer.tapes_, this);
  std::ranges::replace(observers, &observer, nullptr);  // a call may be going through the list
  interests = Interest::none;
  for (const Observer* o : observers) {
    if (o != nullptr) interests = interests | o->interests();
  }
}

/// At the end of a pass.
void TapeState::dismiss_observers() noexcept {
  while (!observers.empty()) {
    Observer* const last = observers.back();
    observers.pop_back();
    if (last == nullptr) continue;
    last->on_end(*this);
    forget(*last);
  }
}

// --- what they are shown ---

/// Calls `show(observer)` for everybody interested, and sees to it that `shown` stays as it is.
template <class Show>
void TapeState::show(Interest interest, const Tensor& shown, Show show) {
  const CallOut call(*this);
  const Pauses pause(paused, 1);
  const std::uint32_t version = shown.version();
  const std::size_t count = observers.size();  // an observer may bring another, or go
  for (std::size_t i = 0; i < count; ++i) {
    if (observers[i] == nullptr || !overlap(observers[i]->interests(), interest)) continue;
    show(*observers[i]);
    require_tape("Observer");
    if (shown.version() != version) tape_errors::shown_was_overwritten("Observer");
  }
}

void TapeState::show_value(const Var& v) {
  const NodeView seen = view(v.node_);
  show(Interest::values, v.value_, [&](Observer& o) { o.on_value(seen, v.slot_, v); });
}

void TapeState::show_branch(std::uint32_t node, const Tensor& choice) {
  const char* const op = nodes[node].name;
  show(Interest::branches, choice, [&](Observer& o) { o.on_branch(node, op, choice); });
}

void TapeState::show_internal(std::uint32_t node, const Internal& inside) {
  const NodeView seen = view(node);
  show(Interest::internals, inside.value, [&](Observer& o) { o.on_internal(seen, inside); });
}

void TapeState::show_gradients(Sweep& sweep, std::uint32_t node) {
  const NodeView seen = view(node);
  for (std::size_t k = 0; k < seen.outputs.size(); ++k) {
    const auto slot = static_cast<std::uint32_t>(seen.first_output + k);
    if (!sweep.has(slot, Sweep::reached) || !sweep.grad(slot).defined()) continue;
    const Var gradient = sweep.grad(slot);
    show(Interest::gradients, gradient.value(),
         [&](Observer& o) { o.on_gradient(seen, slot, gradient); });
  }
}

NodeView TapeState::view(std::uint32_t node) const {
  const NodeRecord& record = nodes[node];
  NodeView view{node, record.name, scopes.path(record.scope), {}, record.first_slot, {}};
  for (std::uint32_t e = 0; e < record.edges; ++e) {
    const std::uint32_t slot = edges[record.first_edge + e];
    view.inputs.push_back(slot == constant ? NodeView::constant : slot);
  }
  for (std::uint32_t k = 0; k < record.slots; ++k) {
    view.outputs.push_back(slots[record.first_slot + k].shape);
  }
  const auto leaf = std::ranges::lower_bound(leaves, node, {}, &Var::node_);
  if (leaf != leaves.end() && leaf->node_ == node) {
    view.parameter = parameters[static_cast<std::size_t>(leaf - leaves.begin())].get();
  }
  auto note = std::ranges::lower_bound(notes, node, {}, &NoteRecord::node);
  for (; note != notes.end() && note->node == node; ++note) {
    if (!note->waiting) view.notes.push_back({note->name, note->value});
  }
  return view;
}

// --- what ops tell ---

namespace {

/// Notes stay in the order of their nodes: what waits has the number of the next node, which it
/// gets unless another is recorded before.
void add(TapeState& s, std::uint32_t& first, std::uint32_t node, const char* name,
         std::string value) {
  const bool waiting = node == UINT32_MAX;
  if (waiting && first == UINT32_MAX) first = static_cast<std::uint32_t>(s.notes.size());
  if (waiting) node = static_cast<std::uint32_t>(s.nodes.size());
  s.notes.push_back({node, waiting, name, std::move(value)});
}

}  // namespace

void TapeState::give_notes(std::size_t first, std::uint32_t node) {
  const auto mine =
      std::stable_partition(notes.begin() + static_cast<std::ptrdiff_t>(first), notes.end(),
                            [](const NoteRecord& n) { return !n.waiting; });
  for (auto n = mine; n != notes.end(); ++n) *n = {node, false, n->name, std::move(n->value)};
}

void Node::add_note(const char* name, double value) {
  require_pass();
  add(*state_, first_note_, node_, name, fmt::format("{:.6g}", value));
}
void Node::add_note(const char* name, std::string_view value) {
  require_pass();
  add(*state_, first_note_, node_, name, std::string(value));
}
void Node::add_note(const char* name, const Shape& value) {
  require_pass();
  add(*state_, first_note_, node_, name, to_string(value));
}

void Node::show_branch(const Tensor& choice) {
  if (node_ == UINT32_MAX) tape_errors::outputs_out_of_order(name_);
  require_pass();
  state_->show_branch(node_, choice);
}

void Node::report(std::string_view name, const Tensor& value, std::size_t step) {
  if (!wants(Interest::internals)) return;
  if (node_ == UINT32_MAX) tape_errors::outputs_out_of_order(name_);
  require_pass();
  state_->show_internal(node_, {name, value, step});
}

bool Grads::wants(Interest interest) const { return state_.wants(interest); }

void Grads::report(std::string_view name, const Tensor& value, std::size_t step) {
  if (wants(Interest::internals)) state_.show_internal(node_, {name, value, step});
}

}  // namespace tapegrad
