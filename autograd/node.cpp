#include "node.h"

#include <optional>
#include <string>

#include "../core/error.h"
#include "../core/kernels/elementwise.h"
#include "tape_errors-inl.h"
#include "tape_state-inl.h"

namespace tapegrad {

Node::Node(const char* name, InputSpan inputs) : name_(name) {
  const auto name_of = [](std::size_t i) { return "input " + std::to_string(i); };
  std::optional<std::size_t> typed;  // the first input that is not ids
  std::size_t recorded = 0;          // the input that state_ is from
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Var& v = inputs[i];
    if (!v.defined()) continue;
    if (v.dtype() != DType::int32) {
      if (!typed) typed = i;
      const DType first = inputs[*typed].get().dtype();
      if (v.dtype() != first) {
        tape_errors::mixed_dtypes(name, name_of(*typed), first, name_of(i), v.dtype());
      }
    }
    if (v.state_ == nullptr) continue;
    if (v.pass_ != v.state_->pass) v.state_->pass_is_over(v, name, name_of(i));
    v.state_->check_thread(name);
    if (state_ == nullptr) state_ = v.state_, recorded = i;
    if (v.state_ != state_) tape_errors::two_tapes(name, name_of(i), name_of(recorded));
  }
  if (state_ == nullptr) return;
  if (state_->paused > 0) {
    state_ = nullptr;
    return;
  }
  if (inputs.size() >= TapeState::constant - state_->edges.size()) tape_errors::tape_is_full();
  pass_ = state_->pass;
  interests_ = state_->interests;
  first_edge_ = static_cast<std::uint32_t>(state_->edges.size());
  edges_ = static_cast<std::uint32_t>(inputs.size());
  for (const Var& v : inputs) {
    state_->edges.push_back(v.recorded() ? v.slot_ : TapeState::constant);
  }
}

Var Node::out(Tensor value) {
  Var y(std::move(value));
  if (state_ == nullptr) return y;
  require_pass();
  TapeState& s = *state_;
  if (s.slots.size() >= TapeState::constant - 1) tape_errors::tape_is_full();
  y.slot_ = static_cast<std::uint32_t>(s.slots.size());
  if (node_ == UINT32_MAX) {
    node_ = static_cast<std::uint32_t>(s.nodes.size());
    s.nodes.push_back(
        {name_, nullptr, first_edge_, edges_, y.slot_, 0, s.scope, NodeRecord::Kind::op});
    if (first_note_ != UINT32_MAX) s.give_notes(first_note_, node_);
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
  if (wants(Interest::values)) s.show_value(y);
  return y;
}

void Node::require_pass() const {
  if (state_->pass != pass_) tape_errors::tape_destroyed(name_);
}

ClosureArena& Node::arena() {
  require_pass();
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

const Var& Grads::d(std::size_t k) const {
  const std::uint32_t place = slot(k);
  Var& gradient = sweep_.grad(place);
  if (!gradient.defined()) {
    gradient = Tensor::zeros(state_.slots[place].shape, state_.slots[place].dtype);
  }
  return gradient;
}

/// The gradient that has reached the slot of an input so far.
inline Var& Grads::gradient_of(std::uint32_t input) {
  if (wrote_ && sweep_.has(input, Sweep::written)) sweep_.accept(input);
  sweep_.count_term(input);
  return sweep_.grad(input);
}

void Grads::add(std::size_t i, const Var& gradient) {
  const std::uint32_t input = edge(i);
  if (!sweep_.has(input, Sweep::wanted)) return;
  const SlotRecord& slot = state_.slots[input];
  if (gradient.shape() != slot.shape || gradient.dtype() != slot.dtype) {
    tape_errors::wrong_gradient(state_.nodes[node_].name, i, gradient.value(), slot.shape,
                                slot.dtype);
  }
  // Gradients are linear in those that come in, and these are recorded: what is constant and not 0
  // was computed aside.
  if (sweep_.graph && !gradient.recorded() && !TapeState::is_zero(gradient)) {
    tape_errors::rule_of_numbers(state_.nodes[node_].name, i);
  }
  Var& total = gradient_of(input);
  if (!total.defined()) {
    total = gradient;
  } else if (sweep_.graph) {
    total = sum_of(total, gradient);
  } else if (total.value().unique()) {
    kernels::accumulate(total.value_, gradient.value());
    sweep_.accept(input);
  } else {
    total = kernels::add(total.value(), gradient.value());
  }
}

Grads::Into Grads::into(std::size_t i) {
  if (graph() || !needs(i)) tape_errors::into_unwanted(state_.nodes[node_].name, i);
  const std::uint32_t input = edge(i);
  Var& total = gradient_of(input);
  const double beta = total.defined() ? 1.0 : 0.0;
  if (total.defined()) {
    TapeState::own(total);
  } else {
    total = state_.gradient_memory(sweep_, input);
  }
  sweep_.set(input, Sweep::written);
  wrote_ = true;
  return {total.value_, beta};
}

void Grads::run(Closure& rule) {
  state_.differentiated = true;
  rule.run(rule, *this);
  state_.require_tape(state_.nodes[node_].name);
  for (std::size_t i = 0; wrote_ && i < state_.nodes[node_].edges; ++i) {
    if (sweep_.has(edge(i), Sweep::written)) sweep_.accept(edge(i));
  }
}

}  // namespace tapegrad
