#include "trace.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "../../core/words-inl.h"
#include "../tape_state-inl.h"

namespace tapegrad {

Trace::Trace(Tape& tape, Line line, std::size_t elements)
    : Observer(Interest::values | Interest::gradients | Interest::notes),
      line_(std::move(line)),
      elements_(elements) {
  observe(tape, *this);
}

Var Trace::name(const std::string& name, const Var& v) {
  if (v.recorded()) names_[TapeState::slot_of(v)] = name;
  return v;
}

void Trace::name(const Parameters& parameters) {
  for (const NamedParameter& p : parameters) parameters_[p.data().get()] = p.name;
}

std::string Trace::called(std::size_t number) const {
  if (number == NodeView::constant) return "constant";
  const auto found = names_.find(number);
  return found == names_.end() ? fmt::format("#{}", number) : found->second;
}

std::string Trace::numbers(const Var& v) const {
  const Tensor& values = v.value();
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min(values.numel(), elements_); ++i) {
    shown.push_back(fmt::format("{:.6g}", values.at(i)));
  }
  if (values.rank() == 0) return fmt::format("{:.6g}", values.item());
  const char* const more = shown.empty() ? "..." : ", ...";
  return fmt::format("[{}{}]", joined(shown, ", "), shown.size() < values.numel() ? more : "");
}

void Trace::on_value(const NodeView& node, std::size_t number, const Var& value) {
  const auto known = parameters_.find(node.parameter);
  if (node.parameter != nullptr && known != parameters_.end()) names_[number] = known->second;
  std::vector<std::string> inputs;
  for (const std::size_t input : node.inputs) inputs.push_back(called(input));
  for (const Note& note : node.notes) {
    inputs.push_back(fmt::format("{}={}", note.name, note.value));
  }
  line_(fmt::format("#{} = {}({}) = {}", number, node.name, joined(inputs, ", "), numbers(value)));
}

void Trace::on_gradient(const NodeView&, std::size_t number, const Var& gradient) {
  line_(fmt::format("d{} = {}", called(number), numbers(gradient)));
}

}  // namespace tapegrad
