#include "node.h"
#include "tape_state-inl.h"

/// Second derivatives of a fused node: by its composed twin.
///
/// The twin is run on aliases of the inputs, a sweep of its own goes from its outputs down to these
/// aliases, and what arrives there is the gradient of the inputs, recorded and so differentiable
/// again. Without aliases the sweep would run on into the history of the inputs, and a path from
/// one input to another would count twice.
namespace tapegrad {
namespace {

Var identity(const Var& x) {
  Node n("identity", {x});
  Var y = n.out(x.value());
  n.rule([](Grads& g) { g.add(0, g.d()); });
  return y;
}

}  // namespace

void Grads::run_twin(Vars (*call)(const void*, const Vars&), const void* twin, const Vars& inputs) {
  const Pauses none(state_.paused, 0 - state_.paused);  // recorded even where gradients are not
  Vars aliases, y, dy, x;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    aliases.push_back(needs(i) ? identity(inputs[i]) : inputs[i]);
    if (needs(i)) x.push_back(aliases[i]);
  }
  const Vars outputs = call(twin, aliases);
  state_.require_tape(state_.nodes[node_].name);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    if (!has(k) || !outputs[k].recorded()) continue;
    y.push_back(outputs[k]);
    dy.push_back(d(k));
  }
  Sweep inner = state_.sweep(y, dy, x, {.create_graph = graph()});
  for (std::size_t i = 0; i < aliases.size(); ++i) {
    if (!needs(i) || !inner.has(aliases[i].slot_, Sweep::target)) continue;
    const Var gradient = inner.grad(aliases[i].slot_);
    if (gradient.defined()) add(i, gradient);
  }
}

}  // namespace tapegrad
