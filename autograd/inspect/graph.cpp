#include "graph.h"

#include <fmt/core.h>

#include <algorithm>

#include "../../core/words-inl.h"
#include "../tape_state-inl.h"

namespace tapegrad {

std::vector<NodeView> nodes(const Tape& tape) {
  const TapeState& state = TapeState::of(tape);
  std::vector<NodeView> result;
  result.reserve(state.nodes.size());
  for (std::uint32_t i = 0; i < state.nodes.size(); ++i) result.push_back(state.view(i));
  return result;
}

namespace {

/// The name of the Parameter that the node is the leaf of, if it is known.
std::string name_of(const NodeView& node, const Parameters& parameters) {
  for (const NamedParameter& p : parameters) {
    if (node.parameter != nullptr && p.data().get() == node.parameter) return p.name;
  }
  return "";
}

}  // namespace

std::string to_text(const Tape& tape, const Parameters& parameters) {
  std::string text;
  for (const NodeView& node : nodes(tape)) {
    std::vector<std::string> inputs, outputs;
    if (std::string name = name_of(node, parameters); !name.empty()) inputs.push_back(name);
    for (const std::size_t number : node.inputs) {
      inputs.push_back(number == NodeView::constant ? "constant" : fmt::format("#{}", number));
    }
    for (const Note& note : node.notes) {
      inputs.push_back(fmt::format("{}={}", note.name, note.value));
    }
    for (std::size_t k = 0; k < node.outputs.size(); ++k) {
      outputs.push_back(fmt::format("#{} {}", node.first_output + k, to_string(node.outputs[k])));
    }
    text += fmt::format("{}  {}({})", joined(outputs, ", "), node.name, joined(inputs, ", "));
    if (!node.scope.empty()) text += "  " + node.scope;
    text += '\n';
  }
  return text;
}

namespace {

/// A word as DOT writes it.
std::string dot_quoted(std::string_view word) {
  std::string result = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

/// Opens and closes the boxes on the way from one scope to another; boxes that are both around the
/// old and the new scope stay open. A scope that is entered again gets a box of its own.
class Boxes {
 public:
  explicit Boxes(std::string& text) : text_(text) {}

  void enter(const std::string& scope) {
    const std::vector<std::string> wanted = parts(scope);
    std::size_t common = 0;
    while (common < std::min(open_.size(), wanted.size()) && open_[common] == wanted[common]) {
      ++common;
    }
    for (; open_.size() > common; open_.pop_back()) text_ += "}\n";
    for (; open_.size() < wanted.size(); open_.push_back(wanted[open_.size()])) {
      text_ += fmt::format("subgraph cluster_{} {{\nlabel={};\n", count_++,
                           dot_quoted(wanted[open_.size()]));
    }
  }

 private:
  static std::vector<std::string> parts(const std::string& scope) {
    std::vector<std::string> result;
    for (std::size_t begin = 0; begin < scope.size();) {
      const std::size_t end = std::min(scope.find('/', begin), scope.size());
      result.push_back(scope.substr(begin, end - begin));
      begin = end + 1;
    }
    return result;
  }

  std::string& text_;
  std::vector<std::string> open_;
  std::size_t count_ = 0;
};

}  // namespace

std::string to_dot(const Tape& tape, const Parameters& parameters) {
  std::string text = "digraph tape {\nrankdir=LR;\nnode [shape=box, fontname=\"sans-serif\"];\n";
  std::string arrows;
  std::vector<std::size_t> maker;  // of each value: its node
  Boxes boxes(text);
  for (const NodeView& node : nodes(tape)) {
    boxes.enter(node.scope);
    std::string label = node.name;
    if (const std::string name = name_of(node, parameters); !name.empty()) label += " " + name;
    for (const Note& note : node.notes) label += fmt::format(" {}={}", note.name, note.value);
    for (const Shape& shape : node.outputs) label += " " + to_string(shape);
    text += fmt::format("n{} [label={}{}];\n", node.index, dot_quoted(label),
                        node.inputs.empty() ? ", style=rounded" : "");
    maker.resize(node.first_output + node.outputs.size(), node.index);
    for (const std::size_t number : node.inputs) {
      if (number == NodeView::constant) continue;
      arrows += fmt::format("n{} -> n{} [label=\"#{}\"];\n", maker[number], node.index, number);
    }
  }
  boxes.enter("");
  return text + arrows + "}\n";
}

}  // namespace tapegrad
