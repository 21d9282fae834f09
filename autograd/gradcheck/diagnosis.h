#pragma once

#include <span>
#include <string>
#include <vector>

#include "gradcheck.h"

#pragma GCC visibility push(hidden)

/// Guesses at what a wrong gradient has in common with the right one. Private to gradcheck/.
namespace tapegrad {

/// What is wrong in a block that failed, as "class: words", the simplest explanation that fits all
/// of its checked `entries`; "other: ..." if none does. The classes are
///
///     zero       the analytic gradient is zero everywhere
///     factor     one factor: named if it is a size, 2, 1/2 or -1 (then: sign, doubled)
///     transpose  of the matrix, or of each gate's
///     gates      the parts of the first axis in another order
///     time       one step's share alone, or all but one step's; shifted or reversed in time
///     mask       nonzero where the loss does not depend on it, or the other way round
///     value      what is added is proportional to the value (weight decay), or constant
///     part       right but for some gates, rows, columns or steps, which are named
std::string diagnose(const GradBlock& block, std::span<const GradEntry> entries,
                     std::span<const NamedSize> sizes);

}  // namespace tapegrad

#pragma GCC visibility pop
