#pragma once

#include <string>
#include <vector>

#include "../parameters.h"
#include "../tape.h"
#include "observer.h"

namespace tapegrad {

/// Returns all nodes recorded in this pass so far, in order.
std::vector<NodeView> nodes(const Tape& tape);

/// Returns the record as text, a line a node: its values' numbers and shapes, the op, what it was
/// made from, and the scope. Leaves of `parameters` are called by their names; what ops note (an
/// axis) is shown if an observer asked for notes when it was recorded.
///
///     #0 (3, 4)  leaf(embed.weight)
///     #7 (2)  sum(#6, axis=1)  decoder/lstm.1
std::string to_text(const Tape& tape, const Parameters& parameters = {});

/// Returns the record as a graph for Graphviz (`dot -Tsvg`): an arrow from each value to the ops
/// that use it, scopes as boxes around their nodes, names and notes as in to_text(). Constants are
/// not drawn.
std::string to_dot(const Tape& tape, const Parameters& parameters = {});

}  // namespace tapegrad
