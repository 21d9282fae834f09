#pragma once

#include <hwy/highway.h>
#include <hwy/targets.h>

#include <cstdint>
#include <string>

namespace tapegrad::testing {

/// Calls f(name) once for each instruction set that the library is compiled for and this machine
/// can run.
template <class F>
void for_targets(const F& f) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    f(std::string(hwy::TargetName(target)));
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace tapegrad::testing
