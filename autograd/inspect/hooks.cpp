#include "hooks.h"

#include "../tape_errors-inl.h"
#include "../tape_state-inl.h"

namespace tapegrad {

void TapeState::add_hook(const Var& v, Hook hook, const char* op) {
  TapeState& s = of(v, op, "v");
  const auto added = static_cast<std::uint32_t>(s.hooks.size());
  s.hooks.push_back({v.node_, v.slot_, std::move(hook)});
  std::uint32_t* end = &s.nodes[v.node_].first_hook;
  while (*end != HookRecord::none) end = &s.hooks[*end].next;
  *end = added;
}

Var TapeState::kept_gradient(const Var& v) {
  const TapeState& s = of(v, "grad", "v");
  std::uint32_t k = s.nodes[v.node_].first_hook;
  while (k != HookRecord::none && (s.hooks[k].slot != v.slot_ || s.hooks[k].hook)) {
    k = s.hooks[k].next;
  }
  if (k == HookRecord::none) tape_errors::not_retained();
  Var kept = s.hooks[k].kept;
  if (kept.defined()) own(kept);
  return kept;
}

void hook(const Var& v, Hook f) {
  if (!f) tape_errors::no_hook();
  TapeState::add_hook(v, std::move(f), "hook");
}

void retain_grad(const Var& v) { TapeState::add_hook(v, nullptr, "retain_grad"); }

Var grad(const Var& v) { return TapeState::kept_gradient(v); }

void TapeState::run_hooks(Sweep& sweep, std::uint32_t node) {
  const NodeRecord record = nodes[node];  // a hook may add hooks, and record
  for (std::uint32_t k = record.first_hook; k != HookRecord::none; k = hooks[k].next) {
    const std::uint32_t slot = hooks[k].slot;
    if (!sweep.has(slot, Sweep::reached) || !sweep.grad(slot).defined()) continue;
    const Var gradient = sweep.grad(slot);
    if (!hooks[k].hook) {
      hooks[k].kept = gradient;
      continue;
    }
    const Var replaced = hooks[k].hook(gradient);
    require_tape("hook");
    if (gradient.value_.version() != gradient.version_) tape_errors::shown_was_overwritten("hook");
    if (!replaced.defined()) continue;
    if (replaced.shape() != slots[slot].shape || replaced.dtype() != slots[slot].dtype) {
      tape_errors::not_alike("hook", "the gradient it returned", replaced.value(), record.name,
                             slots[slot].shape, slots[slot].dtype);
    }
    if (sweep.graph && !replaced.recorded() && !is_zero(replaced)) tape_errors::hook_of_numbers();
    sweep.grad(slot) = replaced;
  }
}

}  // namespace tapegrad
