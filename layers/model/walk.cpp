#include "walk.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#include "../../core/error.h"

namespace tapegrad::detail {
namespace {

std::string readable(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), std::free);
  return name != nullptr ? name.get() : type.name();
}

const Parameter* at(const std::vector<const Tracked*>& alive, const void* address) {
  const auto found =
      std::ranges::lower_bound(alive, static_cast<const Tracked*>(address), std::less{});
  return found != alive.end() && *found == address ? static_cast<const Parameter*>(*found)
                                                   : nullptr;
}

}  // namespace

std::vector<Gap> gaps(const VisitedModule& module) {
  const std::byte* const end = module.range.begin + module.range.bytes;
  std::vector<ByteRange> inside = module.members;
  std::erase_if(inside, [&](const ByteRange& m) {
    return std::less{}(m.begin, module.range.begin) || !std::less{}(m.begin, end);
  });
  std::ranges::sort(inside, {}, &ByteRange::begin);
  inside.push_back({end, 0, ""});
  std::vector<Gap> found;
  const std::byte* covered = module.range.begin;
  std::string last;
  for (const ByteRange& m : inside) {
    if (m.begin > covered) {
      const auto bytes = static_cast<std::size_t>(m.begin - covered);
      found.push_back({covered, bytes,
                       fmt::format("names no member for {} bytes of {} {}", bytes,
                                   module.range.name.empty() ? "the model" : module.range.name,
                                   last.empty() ? "at its beginning" : "after " + last)});
    }
    covered = std::max(covered, m.begin + m.bytes);
    last = m.name;
  }
  return found;
}

void Census::add(const VisitedModule& module) {
  for (Gap& gap : gaps(module)) {
    if (gap.bytes < sizeof(void*)) continue;
    gap.where = fmt::format("visit of {} {}", readable(module.type), gap.where);
    gaps_.push_back(std::move(gap));
  }
}

void Census::check(std::string_view op) {
  if (gaps_.empty()) return;
  std::ranges::sort(met_);
  const std::vector<const Tracked*> alive = Tracked::alive();
  for (const Gap& gap : gaps_) {
    const auto refuse_unless_met = [&](const Parameter* p, const char* how) {
      if (p == nullptr || !p->defined()) return;
      if (std::ranges::binary_search(met_, p->data().get())) return;
      throw UsageError(fmt::format(
          "[{}] {}, {} a Parameter of shape {}: it would be neither trained nor saved; name the "
          "member in visit, or say v.skip(\"name\", member) if that is meant",
          op, gap.where, how, to_string(p->value().shape())));
    };
    auto word = reinterpret_cast<std::uintptr_t>(gap.begin);
    const std::uintptr_t end = word + gap.bytes;
    word += -word % alignof(void*);
    for (; word + sizeof(void*) <= end; word += sizeof(void*)) {
      const auto* const place = reinterpret_cast<const void*>(word);
      refuse_unless_met(at(alive, place), "which hold");
      // A pointer is only compared, never followed: what it points to may be gone.
      const void* target = nullptr;
      std::memcpy(&target, place, sizeof target);
      refuse_unless_met(at(alive, target), "which point to");
    }
  }
}

void Lister::parameter(const std::string& path, Parameter& parameter) {
  if (!parameter.defined()) return;
  census_.met(parameter);
  for (const NamedParameter& p : found_) {
    if (p.name != path && std::ranges::find(p.ties, path) == p.ties.end()) continue;
    throw UsageError(fmt::format(
        "[parameters] visit names {} twice: each member must have a name of its own", path));
  }
  const auto same = std::ranges::find(found_, parameter.data(), &NamedParameter::data);
  if (same == found_.end()) {
    found_.push_back({path, parameter.data(), {}});
  } else {
    same->ties.push_back(path);
  }
}

Parameters Lister::list() {
  census_.check("parameters");
  return std::move(found_);
}

}  // namespace tapegrad::detail
