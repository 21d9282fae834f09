#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gradcheck.h"

#pragma GCC visibility push(hidden)

/// What can be wrong with blocks before anything is compared. Private to gradcheck/.
namespace tapegrad {

/// Why these blocks cannot be checked: none or only empty ones, a null pointer, overlapping values,
/// a value or gradient that is not finite or outside of its domain. Empty if all is well.
std::string check_blocks(std::span<const GradBlock> blocks);

/// Runs `backward` twice; why its results cannot be trusted, or empty.
std::string check_backward(std::span<const GradBlock> blocks,
                           const std::function<void()>& backward);

/// Position of a flat index on each axis.
std::vector<std::size_t> position(const GradBlock& block, std::size_t index);
/// And back.
std::size_t flat_index(const GradBlock& block, std::span<const std::size_t> position);

/// "3 entries", "1 entry".
std::string plural(std::size_t n, const char* one, const char* many);
/// As printf writes it.
std::string number(const char* format, double v);
std::string join(std::span<const std::size_t> numbers);

}  // namespace tapegrad

#pragma GCC visibility pop
