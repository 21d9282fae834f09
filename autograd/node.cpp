#include "node.h"

#include "../core/error.h"
#include "../core/kernels/elementwise.h"
#include "ops/elementwise.h"
#include "tape_errors-inl.h"
#include "tape_state-inl.h"

namespace tapegrad {

Node::Node(const char* name, InputSpan inputs) : name_(name) {
  const Var* typed = nullptr;  // the first input that is not ids
  for (const Var& v : inputs) {
    if (v.dtype() != DType::int32) {
      if (typed == nullptr) typed = &v;
      if (v.dtype() != typed->dtype()) tape_errors::mixed_dtypes(name, typed->dtype(), v.dtype());
    }
    if (v.state_ == nullptr) continue;
    v.state_->check_current(v, name);
    if (state_ != nullptr && v.state_ != state_) tape_errors::two_tapes(name);
    state_ = v.state_;
  }
  if (state_ == nullptr) return;
  if (state_->paused > 0) {
    state_ = nullptr;
    return;
  }
  if (inputs.size() >= TapeState::constant - state_->edges.size()) tape_errors::tape_is_full();
  first_edge_ = static_cast<std::uint32_t>(state_->edges.size());
  edges_ = static_cast<std::uint32_t>(inputs.size());
  for (const Var& v : inputs) {
    state_->edges.push_back(v.recorded() ? v.slot_ : TapeState::constant);
  }
}

Var Node::out(Tensor value) {
  Var y(std::move(value));
  if (state_ == nullptr) return y;
  TapeState& s = *state_;
  if (s.slots.size() >= TapeState::constant - 1) tape_errors::tape_is_full();
  y.slot_ = static_cast<std::uint32_t>(s.slots.size());
  if (node_ == UINT32_MAX) {
    node_ = static_cast<std::uint32_t>(s.nodes.size());
    s.nodes.push_back(
        {name_, nullptr, first_edge_, edges_, y.slot_, 0, s.scope, NodeRecord::Kind::op});
  }
  NodeRecord& node = s.nodes[node_];
  if (node.first_slot + node.slots != y.slot_ || node.rule != nullptr) {
    tape_errors::outputs_out_of_order(name_);
  }
  s.slots.push_back({y.shape(), y.dtype()});
  ++node.slots;
  y.state_ = state_;
  y.pass_ = s.pass;
  y.node_ = node_;
  if (s.observer != nullptr) s.show_value(y);
  return y;
}

bool Node::observed() const { return state_ != nullptr && state_->observer != nullptr; }
void Node::show_branch(const Tensor& choice) { state_->observer->on_branch(node_, name_, choice); }

ClosureArena& Node::arena() {
  if (node_ == UINT32_MAX || state_->nodes[node_].rule != nullptr) {
    tape_errors::outputs_out_of_order(name_);
  }
  return state_->arena;
}
void Node::set_rule(Closure* closure) { state_->nodes[node_].rule = closure; }

bool Grads::graph() const { return sweep_.graph; }
bool Grads::retained() const { return sweep_.retain; }

std::uint32_t Grads::edge(std::size_t i) const {
  const NodeRecord& node = state_.nodes[node_];
  if (i >= node.edges) tape_errors::no_such_place(node.name, "input", i, node.edges);
  return state_.edges[node.first_edge + i];
}

std::uint32_t Grads::slot(std::size_t k) const {
  const NodeRecord& node = state_.nodes[node_];
  if (k >= node.slots) tape_errors::no_such_place(node.name, "output", k, node.slots);
  return node.first_slot + static_cast<std::uint32_t>(k);
}

bool Grads::needs(std::size_t i) const { return sweep_.has(edge(i), Sweep::wanted); }

bool Grads::has(std::size_t k) const { return sweep_.grad(slot(k)).defined(); }

Var Grads::d(std::size_t k) const {
  const std::uint32_t place = slot(k);
  if (!sweep_.grad(place).defined()) {
    return Tensor::zeros(state_.slots[place].shape, state_.slots[place].dtype);
  }
  return sweep_.current_grad(place);
}

void Grads::add(std::size_t i, const Var& gradient) {
  if (!needs(i)) return;
  const SlotRecord& slot = state_.slots[edge(i)];
  if (gradient.shape() != slot.shape || gradient.dtype() != slot.dtype) {
    tape_errors::wrong_gradient(state_.nodes[node_].name, i, gradient.value(), slot.shape,
                                slot.dtype);
  }
  Var& total = sweep_.grad(edge(i));
  if (!total.defined()) {
    total = gradient;
  } else if (sweep_.graph) {
    total = total + gradient;
  } else if (total.value_.unique()) {
    kernels::accumulate(total.value_, gradient.value());
  } else {
    total = kernels::add(total.value_, gradient.value());
  }
}

Grads::Into Grads::into(std::size_t i) {
  if (graph() || !needs(i)) tape_errors::into_unwanted(state_.nodes[node_].name, i);
  const SlotRecord& slot = state_.slots[edge(i)];
  Var& total = sweep_.grad(edge(i));
  if (!total.defined()) {
    total = Tensor::empty(slot.shape, slot.dtype);
    return {total.value_, 0.0};
  }
  if (!total.value_.unique()) total = total.value_.clone();
  return {total.value_, 1.0};
}

}  // namespace tapegrad
