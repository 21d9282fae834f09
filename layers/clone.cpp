#include "clone.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "../core/error.h"

namespace tapegrad::detail {
namespace {

const Parameter* as_parameter(const Original::Member& m) {
  return m.type == typeid(Parameter) ? static_cast<const Parameter*>(m.value) : nullptr;
}

}  // namespace

void Original::parameter(const std::string& path, Parameter& parameter) {
  members_.push_back({path, typeid(Parameter), &parameter});
}

void Original::setting(const std::string& path, const Setting& setting) {
  members_.push_back({path, setting.type, setting.value});
}

std::size_t Original::container(const std::string& path, std::size_t size) {
  members_.push_back({path, typeid(Walk), nullptr, size});
  return size;
}

/// A gap between members that is too big for padding is a member that visit forgot.
void Original::module(const Extent& module, std::size_t padding,
                      const std::vector<Extent>& members) {
  const std::byte* const end = module.begin + module.bytes;
  std::vector<Extent> inside = members;
  std::erase_if(inside, [&](const Extent& m) {
    return std::less{}(m.begin, module.begin) || !std::less{}(m.begin, end);
  });
  std::ranges::sort(inside, {}, &Extent::begin);
  inside.push_back({end, 0, ""});
  const std::byte* covered = module.begin;
  std::string last;
  for (const Extent& m : inside) {
    if (m.begin > covered && static_cast<std::size_t>(m.begin - covered) > padding) {
      throw UsageError(fmt::format(
          "[{}] visit names no member for {} bytes of {} {}: name all members, or the copy would "
          "lose them",
          op_, m.begin - covered,
          module.name.empty() ? "the model" : module.name.substr(0, module.name.size() - 1),
          last.empty() ? "at its beginning" : "after " + last));
    }
    covered = std::max(covered, m.begin + m.bytes);
    last = m.name;
  }
}

Copy::Copy(const Original& original, std::optional<DType> dtype)
    : original_(original), dtype_(dtype) {
  if (dtype == DType::int32) {
    throw DtypeError(
        fmt::format("[{}] the dtype is int32: it must be float32 or float64", original.op()));
  }
  const auto& members = original.members();
  // A module may well have no Parameter at all (Dropout), but not a place for one that is empty.
  const bool weights = std::ranges::any_of(members, [](const Original::Member& m) {
    const Parameter* p = as_parameter(m);
    return p != nullptr && p->defined();
  });
  const bool places = std::ranges::any_of(members, [](const Original::Member& m) {
    return as_parameter(m) != nullptr || (m.type == typeid(Walk) && m.size == 0);
  });
  if (weights || !places) return;
  throw UsageError(fmt::format(
      "[{}] the model has no parameters: construct it first, and do not use it after a move",
      original.op()));
}

void Copy::differs(const std::string& here) const {
  const auto& members = original_.members();
  const std::string there = position_ < members.size() ? members[position_].path : "nothing more";
  throw UsageError(fmt::format(
      "[{}] visit names {} in the model but {} in a default-constructed one: it must name the same "
      "members in the same order, a setting before the members that depend on it",
      original_.op(), there, here));
}

const Original::Member& Copy::next(const std::string& path, const std::type_info& type) {
  const auto& members = original_.members();
  if (position_ >= members.size() || members[position_].path != path) differs(path);
  if (members[position_].type != type) differs(path + " of another type");
  return members[position_++];
}

void Copy::parameter(const std::string& path, Parameter& parameter) {
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

void Copy::setting(const std::string& path, const Setting& setting) {
  setting.assign(setting.value, next(path, setting.type).value);
}

std::size_t Copy::container(const std::string& path, std::size_t) {
  return next(path, typeid(Walk)).size;
}

void Copy::finish() const {
  if (position_ < original_.members().size()) differs("nothing more");
}

}  // namespace tapegrad::detail
