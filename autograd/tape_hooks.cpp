#include <algorithm>

#include "tape.h"
#include "tape_errors.h"
#include "tape_state.h"

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

void Tape::hook(const Var& v, Hook hook) {
  state_->check_own(v, "hook");
  state_->hooks.push_back({v.node_, v.slot_, std::move(hook), {}});
  state_->nodes[v.node_].hooked = true;
}

void Tape::retain_grad(const Var& v) { hook(v, nullptr); }

Var Tape::grad(const Var& v) const {
  state_->check_own(v, "grad");
  const auto kept = std::ranges::find_if(
      state_->hooks, [&](const HookRecord& h) { return h.slot == v.slot_ && !h.hook; });
  if (kept == state_->hooks.end()) tape_errors::not_retained();
  return kept->kept;
}

void TapeState::run_hooks(Sweep& sweep, std::uint32_t node) {
  const NodeRecord record = nodes[node];
  // NOLINTNEXTLINE(modernize-loop-convert): a hook may add hooks
  for (std::size_t k = 0; k < hooks.size(); ++k) {
    const std::uint32_t slot = hooks[k].slot;
    if (slot < record.first_slot || slot >= record.first_slot + record.slots) continue;
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

void Tape::observe(Observer* observer) { state_->observer = observer; }

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
