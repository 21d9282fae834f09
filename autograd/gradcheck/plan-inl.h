#pragma once

#include <cstddef>
#include <vector>

#include "gradcheck.h"
#include "random-inl.h"

#pragma GCC visibility push(hidden)

/// The choice of the entries and directions to check in a block. Private to gradcheck/.
namespace tapegrad::detail {

/// The entries and directions to check in one block, with the analytic gradient as it was before the
/// first call of the loss, which may overwrite it.
struct Plan {
  std::vector<double> gradient;  ///< all of it, or nothing if the block is too large
  std::vector<std::size_t> entries;
  std::vector<double> analytic;  ///< of these entries
  std::size_t directions = 0;
  double scale = 0;
};

/// Chooses all entries if `in_full`, else a sample as the options want it.
Plan plan_for(const GradBlock& block, bool in_full, const GradcheckOptions& options,
              Random& random);

}  // namespace tapegrad::detail

#pragma GCC visibility pop
