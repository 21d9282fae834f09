#include "tape.h"

#include <algorithm>

#include "../core/kernels/elementwise.h"
#include "node.h"
#include "tape_errors-inl.h"
#include "tape_state-inl.h"

namespace tapegrad {

// --- recording ---

Var TapeState::add_leaf(Tensor value, const char* name) {
  if (value.dtype() == DType::int32) tape_errors::leaf_of_ids();
  check_thread("leaf");
  if (slots.size() >= constant - 1) tape_errors::tape_is_full();
  Var v(std::move(value));
  v.state_ = this;
  v.pass_ = pass;
  v.node_ = static_cast<std::uint32_t>(nodes.size());
  v.slot_ = static_cast<std::uint32_t>(slots.size());
  slots.push_back({v.shape(), v.dtype()});
  nodes.push_back({name, nullptr, 0, 0, v.slot_, 1, scope, NodeRecord::Kind::leaf});
  return v;
}

Var Tape::leaf(Tensor value) {
  if (!recording()) return value;
  Var v = state_->add_leaf(std::move(value));
  if (state_->wants(Interest::values)) state_->show_value(v);
  return v;
}

Var Tape::leaf(const std::shared_ptr<ParameterData>& parameter) {
  if (parameter == nullptr) tape_errors::undefined_parameter("leaf");
  if (!recording() || !parameter->requires_grad()) return parameter->value();
  TapeState& s = *state_;
  s.check_thread("leaf");
  s.parameters.resize(s.leaves.size());  // a throw below may have left one without its leaf
  const auto found = std::find(s.parameters.begin(), s.parameters.end(), parameter);
  if (found != s.parameters.end()) {
    const Var& leaf = s.leaves[static_cast<std::size_t>(found - s.parameters.begin())];
    if (!leaf.is_now(parameter->value())) tape_errors::parameter_changed(leaf.shape());
    return leaf;
  }
  s.parameters.push_back(parameter);
  s.leaves.push_back(s.add_leaf(parameter->value()));
  Var leaf = s.leaves.back();
  if (s.wants(Interest::values)) s.show_value(leaf);
  return leaf;
}

// --- backward ---

/// Flags what lies between x and y; throws for a node there that has no rule, before anything
/// changes.
void TapeState::mark(Sweep& sweep, std::span<const Var> y, std::span<const Var> x) const {
  sweep.top = 0;
  sweep.bottom = UINT32_MAX;
  for (const Var& v : y) sweep.top = std::max(sweep.top, v.node_);
  for (const Var& v : x) sweep.bottom = std::min(sweep.bottom, v.node_);
  const std::size_t watched = sweep.to_hooks ? hooks.size() : 0;
  for (std::size_t k = 0; k < watched; ++k) sweep.bottom = std::min(sweep.bottom, hooks[k].node);
  if (sweep.bottom > sweep.top) return;  // no x stands before a y
  const NodeRecord& last = nodes[sweep.top];
  sweep.base = nodes[sweep.bottom].first_slot;
  sweep.flags.assign(last.first_slot + last.slots - sweep.base, 0);
  sweep.grads.resize(sweep.flags.size());
  sweep.long_sums.assign(sweep.flags.size());

  for (const Var& v : x) {
    if (v.node_ > sweep.top) continue;
    sweep.set(v.slot_, Sweep::wanted);
    sweep.set(v.slot_, Sweep::target);
  }
  for (std::size_t k = 0; k < watched; ++k) {
    if (hooks[k].node <= sweep.top) sweep.set(hooks[k].slot, Sweep::wanted);
  }
  for (std::uint32_t i = sweep.bottom; i <= sweep.top; ++i) {
    if (!wants_input(sweep, nodes[i])) continue;
    for (std::uint32_t k = 0; k < nodes[i].slots; ++k) {
      sweep.set(nodes[i].first_slot + k, Sweep::wanted);
    }
  }
  for (const Var& v : y) {
    if (v.node_ >= sweep.bottom) sweep.set(v.slot_, Sweep::reached);
  }
  for (std::uint32_t i = sweep.top + 1; i-- > sweep.bottom;) {
    const NodeRecord& node = nodes[i];
    if (!reaches_output(sweep, node) || !wants_input(sweep, node)) continue;
    if (node.kind == NodeRecord::Kind::freed) tape_errors::pass_is_spent(sweep.op(), node.name);
    if (node.rule == nullptr) tape_errors::not_differentiable(sweep.op(), node.name);
    for (std::uint32_t e = 0; e < node.edges; ++e) {
      const std::uint32_t slot = edges[node.first_edge + e];
      if (sweep.has(slot, Sweep::wanted)) sweep.set(slot, Sweep::reached);
    }
  }
}

/// The loop. While gradients are recorded the vectors grow behind `top`, so nothing here keeps a
/// reference.
void TapeState::run(Sweep& sweep) {
  for (std::uint32_t i = sweep.top + 1; i-- > sweep.bottom;) {
    const NodeRecord node = nodes[i];
    if (!reaches_output(sweep, node)) continue;
    for (std::uint32_t k = 0; k < node.slots; ++k) sweep.settle(node.first_slot + k);
    if (node.first_hook != HookRecord::none) run_hooks(sweep, i);
    if (wants(Interest::gradients)) show_gradients(sweep, i);
    if (!wants_input(sweep, node)) continue;
    // A hook may have differentiated what is below it.
    if (nodes[i].kind == NodeRecord::Kind::freed) tape_errors::pass_is_spent(sweep.op(), node.name);
    // Spent even if it throws: it may have written into what it saved.
    if (!sweep.retain) nodes[i].kind = NodeRecord::Kind::freed;
    Grads(*this, sweep, i).run(*node.rule);
    for (std::uint32_t slot = node.first_slot; slot < node.first_slot + node.slots; ++slot) {
      if (!sweep.has(slot, Sweep::target)) sweep.grad(slot) = Var();
    }
    if (!sweep.retain) free(nodes[i]);
  }
}

Sweep TapeState::sweep(std::span<const Var> y, std::span<const Var> dy, std::span<const Var> x,
                       Tape::Options options, bool to_hooks) {
  const CallOut call(*this);
  Sweep sweep;
  sweep.to_hooks = to_hooks;
  sweep.graph = options.create_graph;
  sweep.retain = options.retain || options.create_graph;
  if (sweep.graph && paused > 0) tape_errors::graph_while_paused(sweep.op());
  mark(sweep, y, x);
  const auto reached = [&](const Var& v) { return sweep.has(v.slot_, Sweep::reached); };
  if (to_hooks && std::ranges::none_of(x, reached)) tape_errors::no_parameter();
  const Pauses pause(paused, sweep.graph ? 0 : 1);
  for (std::size_t k = 0; k < y.size(); ++k) {
    if (!sweep.has(y[k].slot_, Sweep::wanted)) continue;
    // Recorded, so that every gradient is: one that is not then comes from a rule of numbers.
    const Var d = sweep.graph && !dy[k].recorded() ? add_leaf(dy[k].value(), "seed") : dy[k];
    Var& seed = sweep.grad(y[k].slot_);
    seed = seed.defined() ? sum_of(seed, d) : d;
  }
  if (!sweep.flags.empty()) run(sweep);
  return sweep;
}

void Tape::backward(const Var& loss, Options options) {
  TapeState& s = *state_;  // a call from the sweep may destroy the Tape: then it throws
  s.check_own(loss, "backward", "the loss");
  if (loss.shape().numel() != 1) tape_errors::not_scalar("backward", loss.shape());
  const Vars& leaves = s.leaves;
  const Var one = Tensor::full(loss.shape(), 1, loss.dtype());
  Sweep sweep = s.sweep({&loss, 1}, {&one, 1}, leaves, options, true);

  // First whatever may throw, for every gradient; then all are handed over, which cannot.
  const auto gets = [&](std::size_t i) {  // it may have been frozen since it was recorded
    return sweep.has(leaves[i].slot_, Sweep::reached) && s.parameters[i]->requires_grad() &&
           sweep.grad(leaves[i].slot_).defined();  // its rules may have given nothing
  };
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!gets(i)) continue;
    TapeState::own(sweep.grad(leaves[i].slot_));
    s.parameters[i]->prepare_grad();
  }
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (gets(i)) s.parameters[i]->accept_grad(std::move(sweep.grad(leaves[i].slot_).value_));
  }
}

Vars Tape::gradient(const Var& y, const Vars& x, Options options, Var dy) {
  TapeState& s = *state_;
  for (const Var& v : x) s.check_own(v, "gradient", "x");
  s.check_own(y, "gradient", "y");
  if (!dy.defined()) {
    if (y.shape().numel() != 1) tape_errors::not_scalar("gradient", y.shape());
    dy = Tensor::full(y.shape(), 1, y.dtype());
  } else if (dy.value().shape() != y.shape() || dy.dtype() != y.dtype()) {
    tape_errors::not_alike("gradient", "dy", dy.value(), "y", y.shape(), y.dtype());
  }
  Sweep sweep = s.sweep({&y, 1}, {&dy, 1}, x, options);
  Vars result;
  for (const Var& v : x) {
    if (!sweep.has(v.slot_, Sweep::target) || !sweep.grad(v.slot_).defined()) {
      result.push_back(Tensor::zeros(v.shape(), v.dtype()));
      continue;
    }
    Var& d = sweep.grad(v.slot_);
    TapeState::own(d);  // dy, another result, or a Var that a hook kept may have its elements, too
    result.push_back(options.create_graph ? d : Var(d.value_));
  }
  return result;
}

}  // namespace tapegrad
