#pragma once

#include <string>
#include <vector>

#include "../tape.h"
#include "observer.h"

namespace tapegrad {

/// All nodes recorded in this pass so far, in order.
std::vector<NodeView> nodes(const Tape& tape);

/// The record as text, a line a node: its values' numbers and shapes, the op, what it was made
/// from.
///
///     #3 (2, 3)  tanh(#2)  decoder/lstm.1
std::string to_text(const Tape& tape);

/// The record as a graph for Graphviz (`dot -Tsvg`): an arrow from each value to the ops that use
/// it, scopes as boxes around their nodes. Constants are not drawn.
std::string to_dot(const Tape& tape);

}  // namespace tapegrad
