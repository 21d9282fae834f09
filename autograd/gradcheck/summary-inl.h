#pragma once

#include "gradcheck.h"

#pragma GCC visibility push(hidden)

/// The verdict that follows from the entries. Private to gradcheck/.
namespace tapegrad::detail {

/// Counts the entries, over all and in each block, sorts them, the worst first, and gives the
/// verdict that follows from them and from `reason`.
void summarize(GradcheckReport& report, const GradcheckOptions& options);

/// Returns a bound of the probability that no entry and no direction of block `b` shows a single
/// entry that is wrong by a hundredth of the block's scale. The report is summarized.
double missed(const GradcheckReport& report, std::size_t b, const GradcheckOptions& options);

/// Returns max(|analytic|, |numeric|).
double magnitude(const GradEntry& entry);

}  // namespace tapegrad::detail

#pragma GCC visibility pop
