#include "clone.h"

#include <algorithm>

#include "../../core/fail-inl.h"

namespace tapegrad::detail {
namespace {

const Parameter* as_parameter(const Recorder::Member& m) {
  return m.type == typeid(Parameter) ? static_cast<const Parameter*>(m.value) : nullptr;
}

}  // namespace

void Recorder::parameter(const std::string& path, Parameter& parameter) {
  census_.met(parameter);
  members_.push_back({path, typeid(Parameter), &parameter});
}

void Recorder::setting(const std::string& path, const Setting& setting) {
  members_.push_back({path, setting.type, setting.value});
}

std::size_t Recorder::container(const std::string& path, std::size_t size) {
  members_.push_back({path, typeid(Walk), nullptr, size});
  return size;
}

void Recorder::module(VisitedModule module) {
  census_.add(module);
  if (module.polymorphic) return;  // the compiler's own bytes look like a gap
  for (const Gap& gap : gaps(module)) {
    if (gap.bytes < module.alignment) continue;
    fail<UsageError>(op_, "visit {}: name all members, or the copy would lose them", gap.where);
  }
}

Filler::Filler(const Recorder& original, std::optional<DType> dtype)
    : original_(original), dtype_(dtype) {
  if (dtype == DType::int32) {
    fail<DtypeError>(original.op(), "the dtype is int32: it must be float32 or float64");
  }
  const auto& members = original.members();
  // A module may well have no Parameter at all (Dropout), but not a place for one that is empty.
  const bool weights = std::ranges::any_of(members, [](const Recorder::Member& m) {
    const Parameter* p = as_parameter(m);
    return p != nullptr && p->defined();
  });
  const bool places = std::ranges::any_of(members, [](const Recorder::Member& m) {
    return as_parameter(m) != nullptr || (m.type == typeid(Walk) && m.size == 0);
  });
  if (weights || !places) return;
  fail<UsageError>(
      original.op(),
      "the model has no parameters: construct it first, and do not use it after a move");
}

void Filler::differs(const std::string& here) const {
  const auto& members = original_.members();
  const std::string there = position_ < members.size() ? members[position_].path : "nothing more";
  fail<UsageError>(
      original_.op(),
      "visit names {} in the model but {} in a default-constructed one: it must name the same "
      "members in the same order, a setting before the members that depend on it",
      there, here);
}

const Recorder::Member& Filler::next(const std::string& path, const std::type_info& type) {
  const auto& members = original_.members();
  if (position_ >= members.size() || members[position_].path != path) differs(path);
  if (members[position_].type != type) differs(path + " of another type");
  return members[position_++];
}

void Filler::parameter(const std::string& path, Parameter& parameter) {
  const Parameter* from = as_parameter(next(path, typeid(Parameter)));
  if (!from->defined()) {
    parameter = Parameter();
    return;
  }
  const auto known =
      std::ranges::find(copied_, from->data().get(), [](const auto& pair) { return pair.first; });
  if (known != copied_.end()) {
    parameter = known->second.share();
    return;
  }
  const Tensor& value = from->value();
  const bool convert = dtype_ && value.dtype() != DType::int32 && value.dtype() != *dtype_;
  parameter = Parameter(convert ? value.to(*dtype_) : value.clone());
  parameter.set_requires_grad(from->requires_grad());
  copied_.emplace_back(from->data().get(), parameter.share());
}

void Filler::setting(const std::string& path, const Setting& setting) {
  setting.assign(setting.value, next(path, setting.type).value);
}

std::size_t Filler::container(const std::string& path, std::size_t) {
  return next(path, typeid(Walk)).size;
}

void Filler::finish() const {
  if (position_ < original_.members().size()) differs("nothing more");
}

}  // namespace tapegrad::detail
