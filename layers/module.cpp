#include "module.h"

#include <fmt/format.h>

#include <algorithm>

#include "../core/error.h"

namespace tapegrad::detail {

void ParameterList::parameter(const std::string& path, Parameter& parameter) {
  if (!parameter.defined()) return;
  for (const NamedParameter& p : found) {
    if (p.name != path && std::ranges::find(p.ties, path) == p.ties.end()) continue;
    throw UsageError(fmt::format(
        "[parameters] visit names {} twice: each member must have a name of its own", path));
  }
  const auto same = std::ranges::find(found, parameter.data(), &NamedParameter::data);
  if (same == found.end()) {
    found.push_back({path, parameter.data(), {}});
  } else {
    same->ties.push_back(path);
  }
}

}  // namespace tapegrad::detail
