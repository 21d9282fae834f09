#pragma once

#include <span>
#include <string>
#include <vector>

#include "gradcheck.h"

#pragma GCC visibility push(hidden)

/// Relations of a wrong gradient to the right one. Private to gradcheck/.
namespace tapegrad::detail {

/// Says what is wrong in a block that failed, as "class: words": the first sentence of the table
/// in diagnosis.cpp whose pattern fits all of the block's checked `entries`; "other: ..." if none
/// does, or if the error is too near to its bound to tell.
///
///     rounding   right to five digits of the largest entry
///     zero       the analytic gradient is zero everywhere
///     sign       -numeric, everywhere or in some entries
///     doubled    2 x numeric
///     factor     another factor, named if a size makes it; or one of its own for each row
///     transpose  axes in another order, of the block or of some of its square parts
///     mask       nonzero where the loss does not depend on it, or zero in scattered places
///     gates      the parts of the first axis in each other's place
///     order      rows (columns, ...) in each other's place, off by one, reversed
///     time       the same for steps; right from one step on or up to it only; summed over steps;
///                of weights: one step's share, by the rank
///     sum        summed over an axis, the same all along it
///     value      a constant, or a multiple of the value, is added everywhere
///     term       the mean or variance term of a normalisation is wrong
///     clip       numeric, clipped
///     part       right but for some gates, rows, columns, steps or entries, which are named
std::string diagnose(const GradBlock& block, std::span<const GradEntry> entries,
                     std::span<const NamedSize> sizes);

}  // namespace tapegrad::detail

#pragma GCC visibility pop
