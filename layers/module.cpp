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
  found.add(path, parameter);
}

}  // namespace tapegrad::detail
