#include <algorithm>

#include "tape.h"
#include "tape_errors-inl.h"
#include "tape_state-inl.h"

/// What lets people look into a pass, and reach into it: scopes, hooks, kept gradients, observers.
namespace tapegrad {

// --- scopes ---

Tape::Until Tape::scope(std::string_view name, std::size_t index) {
  TapeState& s = *state_;
  if (!recording()) return {s.scope, s.scope, s.pass};
  s.scopes.push_back({s.arena.copy(name), index, s.scope});
  return {s.scope, static_cast<std::uint32_t>(s.scopes.size()), s.pass};
}

namespace {

std::string path(const TapeState& state, std::uint32_t scope) {
  std::string result;
  for (; scope != 0; scope = state.scopes[scope - 1].outer) {
    const ScopeRecord& record = state.scopes[scope - 1];
    std::string name(record.name);
    if (record.index != SIZE_MAX) name += "." + std::to_string(record.index);
    if (!result.empty()) name += "/";
    result.insert(0, name);
  }
  return result;
}

}  // namespace

// --- hooks ---

void TapeState::add_hook(const Var& v, Tape::Hook hook, const char* op) {
  check_own(v, op);
  const auto added = static_cast<std::uint32_t>(hooks.size());
  hooks.push_back({v.node_, v.slot_, std::move(hook)});
  std::uint32_t* end = &nodes[v.node_].first_hook;
  while (*end != HookRecord::none) end = &hooks[*end].next;
  *end = added;
}

void Tape::hook(const Var& v, Hook hook) {
  if (!hook) tape_errors::no_hook();
  state_->add_hook(v, std::move(hook), "hook");
}

void Tape::retain_grad(const Var& v) { state_->add_hook(v, nullptr, "retain_grad"); }

Var Tape::grad(const Var& v) const {
  state_->check_own(v, "grad");
  const auto& hooks = state_->hooks;
  std::uint32_t k = state_->nodes[v.node_].first_hook;
  while (k != HookRecord::none && (hooks[k].slot != v.slot_ || hooks[k].hook)) k = hooks[k].next;
  if (k == HookRecord::none) tape_errors::not_retained();
  return hooks[k].kept;
}

void TapeState::run_hooks(Sweep& sweep, std::uint32_t node) {
  const NodeRecord record = nodes[node];
  // A hook may add hooks, so nothing here keeps a reference.
  for (std::uint32_t k = record.first_hook; k != HookRecord::none; k = hooks[k].next) {
    const std::uint32_t slot = hooks[k].slot;
    if (!sweep.has(slot, Sweep::reached) || !sweep.grad(slot).defined()) continue;
    const Var gradient = sweep.current_grad(slot);
    if (!hooks[k].hook) {
      hooks[k].kept = gradient;
      continue;
    }
    const Tape::Hook hook = hooks[k].hook;
    const Var replaced = hook(gradient);
    if (!replaced.defined()) continue;
    if (replaced.shape() != slots[slot].shape || replaced.dtype() != slots[slot].dtype) {
      tape_errors::not_alike("hook", "the gradient it returned", replaced.value(), record.name,
                             slots[slot].shape, slots[slot].dtype);
    }
    sweep.grad(slot) = replaced;
  }
}

// --- observers ---

void Tape::observe(Observer* observer) {
  if (observer != nullptr && state_->observer != nullptr) tape_errors::observed_already();
  state_->observer = observer;
}

NodeView TapeState::view(std::uint32_t node) const {
  const NodeRecord& record = nodes[node];
  NodeView view{node, record.name, path(*this, record.scope), {}, record.first_slot, {}};
  for (std::uint32_t e = 0; e < record.edges; ++e) {
    const std::uint32_t slot = edges[record.first_edge + e];
    view.inputs.push_back(slot == constant ? NodeView::constant : slot);
  }
  for (std::uint32_t k = 0; k < record.slots; ++k) {
    view.outputs.push_back(slots[record.first_slot + k].shape);
  }
  return view;
}

void TapeState::show_value(const Var& v) {
  if (observer->sees_everything()) observer->on_value(view(v.node_), v.slot_, v);
}

void TapeState::show_gradients(Sweep& sweep, std::uint32_t node) {
  if (!observer->sees_everything()) return;
  const NodeView seen = view(node);
  for (std::size_t k = 0; k < seen.outputs.size(); ++k) {
    const auto slot = static_cast<std::uint32_t>(seen.first_output + k);
    if (sweep.has(slot, Sweep::reached) && sweep.grad(slot).defined()) {
      observer->on_gradient(seen, slot, sweep.current_grad(slot));
    }
  }
}

}  // namespace tapegrad
