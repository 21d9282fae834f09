#include "walk.h"

#include <cxxabi.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#include "../../core/fail-inl.h"

namespace tapegrad::detail {
namespace {

std::string readable(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), std::free);
  return name != nullptr ? name.get() : type.name();
}

/// Looks for Parameters in the gaps of a module.
class Search {
 public:
  Search(const VisitedModule& module, const Gap& gap) : module_(module), gap_(gap) {}

  /// Finds the Parameters in fields of a plain struct, whatever holds them there.
  std::vector<const Parameter*> in_fields() const {
    struct Collector final : Visitor {
      std::vector<const Parameter*> found;
      void parameter(const std::string&, Parameter& p) override { found.push_back(&p); }
    } collector;
    for (const auto& [field, begin] : layout()) {
      if (field.show_parameters == nullptr || begin < gap_.begin ||
          begin + field.bytes > gap_.begin + gap_.bytes) {
        continue;
      }
      field.show_parameters(const_cast<std::byte*>(begin), collector);  // only reads
    }
    return std::move(collector.found);
  }

  /// Finds those in bytes of any class, and those that a pointer among these bytes points to. A
  /// pointer is compared, never followed: what it points to may be gone.
  std::vector<const Parameter*> in_bytes(const std::vector<const Tracked*>& alive) const {
    std::vector<const Parameter*> found;
    const auto add = [&](const void* address) {
      const auto* const wanted = static_cast<const Tracked*>(address);
      if (std::binary_search(alive.begin(), alive.end(), wanted, std::less{}))
        found.push_back(static_cast<const Parameter*>(wanted));
    };
    const std::size_t skipped = -reinterpret_cast<std::uintptr_t>(gap_.begin) % alignof(void*);
    for (std::size_t i = skipped; i + sizeof(void*) <= gap_.bytes; i += sizeof(void*)) {
      const void* target = nullptr;
      std::memcpy(&target, gap_.begin + i, sizeof target);
      add(gap_.begin + i);
      add(target);
    }
    return found;
  }

 private:
  /// The fields with their addresses, if they lie as they do without bit fields, alignas and
  /// [[no_unique_address]]: one after the other, each at the next multiple of its alignment.
  std::vector<std::pair<Field, const std::byte*>> layout() const {
    std::vector<std::pair<Field, const std::byte*>> placed;
    if (module_.fields == nullptr) return placed;
    const auto round_up = [](std::size_t n, std::size_t unit) {
      return (n + unit - 1) / unit * unit;
    };
    std::size_t end = 0, alignment = 1;
    for (const Field& field : module_.fields()) {
      const std::size_t begin = round_up(end, field.alignment);
      placed.emplace_back(field, module_.range.begin + begin);
      end = begin + field.bytes;
      alignment = std::max(alignment, field.alignment);
    }
    const bool as_expected =
        alignment == module_.alignment && round_up(end, alignment) == module_.range.bytes;
    return as_expected ? placed : decltype(placed)();
  }

  const VisitedModule& module_;
  const Gap& gap_;
};

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
  std::vector<Gap> wide = gaps(module);
  std::erase_if(wide, [](const Gap& gap) { return gap.bytes < sizeof(void*); });
  if (!wide.empty()) suspects_.push_back({module, std::move(wide)});
}

void Census::check(const char* op) {
  if (suspects_.empty()) return;
  std::ranges::sort(met_);
  const std::vector<const Tracked*> alive = Tracked::alive();
  for (const auto& [module, gaps] : suspects_) {
    for (const Gap& gap : gaps) {
      const Search search(module, gap);
      for (const auto& found : {search.in_bytes(alive), search.in_fields()}) {
        for (const Parameter* p : found) {
          if (!p->defined() || std::ranges::binary_search(met_, p->data().get())) continue;
          fail<UsageError>(op,
                           "visit of {} {}, which hold or point to a Parameter of shape {}: it "
                           "would be neither trained nor saved; name the member in visit, or say "
                           "v.skip(\"name\", member) if that is meant",
                           readable(module.type), gap.where, p->value().shape());
        }
      }
    }
  }
}

void Lister::parameter(const std::string& path, Parameter& parameter) {
  if (!parameter.defined()) return;
  census_.met(parameter);
  for (const NamedParameter& p : found_) {
    if (p.name != path && std::ranges::find(p.ties, path) == p.ties.end()) continue;
    fail<UsageError>("parameters", "visit names {} twice: each member must have a name of its own",
                     path);
  }
  found_.add(path, parameter);
}

Parameters Lister::list() {
  census_.check("parameters");
  return std::move(found_);
}

}  // namespace tapegrad::detail
