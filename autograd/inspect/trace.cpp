#include "trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "../tape_state-inl.h"

namespace tapegrad {

Trace::Trace(Tape& tape, Line line, std::size_t elements)
    : tape_(tape), line_(std::move(line)), elements_(elements) {
  tape_.observe(this);
}

Trace::~Trace() { tape_.observe(nullptr); }

Var Trace::name(const std::string& name, const Var& v) {
  if (v.recorded()) names_[TapeState::slot_of(v)] = name;
  return v;
}

std::string Trace::called(std::size_t number) const {
  if (number == NodeView::constant) return "constant";
  const auto found = names_.find(number);
  return found == names_.end() ? fmt::format("#{}", number) : found->second;
}

std::string Trace::numbers(const Var& v) const {
  const Tensor& values = v.value();
  std::vector<double> shown;
  for (std::size_t i = 0; i < std::min(values.numel(), elements_); ++i) {
    shown.push_back(values.at(i));
  }
  if (values.rank() == 0) return fmt::format("{:.6g}", values.item());
  const char* const more = shown.empty() ? "..." : ", ...";
  return fmt::format("[{:.6g}{}]", fmt::join(shown, ", "),
                     shown.size() < values.numel() ? more : "");
}

void Trace::on_value(const NodeView& node, std::size_t number, const Var& value) {
  std::vector<std::string> inputs;
  for (const std::size_t input : node.inputs) inputs.push_back(called(input));
  line_(
      fmt::format("#{} = {}({}) = {}", number, node.name, fmt::join(inputs, ", "), numbers(value)));
}

void Trace::on_gradient(const NodeView&, std::size_t number, const Var& gradient) {
  line_(fmt::format("d{} = {}", called(number), numbers(gradient)));
}

}  // namespace tapegrad
