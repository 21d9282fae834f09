#include <mutex>
#include <string>
#include <utility>

#include "../tape_errors-inl.h"
#include "../tape_state-inl.h"

namespace tapegrad {

/// At the end of a pass: its records of nodes and scopes change places with those kept so far.
void TapeState::keep_makers() noexcept {
  if (!nodes.empty() && nodes.size() <= MakerNames::max_nodes) {
    nodes.swap(makers.nodes);
    std::swap(scopes, makers.scopes);
    makers.pass = pass - 1;
  }
  nodes.clear();
  scopes.clear();
}

void TapeState::pass_is_over(const Var& v, const char* op, std::string_view name) const {
  std::string maker, place;
  {
    const std::lock_guard lock(idle_mutex());
    if (makers.pass == v.pass_) {
      const NodeRecord& node = makers.nodes[v.node_];
      maker = node.name;
      place = makers.scopes.path(node.scope);
    }
  }
  tape_errors::pass_is_over(op, name, maker, place, v.pass_, pass);
}

}  // namespace tapegrad
