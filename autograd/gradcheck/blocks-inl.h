#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gradcheck.h"

#pragma GCC visibility push(hidden)

/// What can be wrong before anything is compared. Private to gradcheck/.
namespace tapegrad::detail {

/// Why these blocks cannot be checked: none or only empty ones, a null pointer, overlapping values,
/// a value or gradient that is not finite or outside of its domain. Empty if all is well.
std::string check_blocks(std::span<const GradBlock> blocks);

/// The same for options, and for two calls of the loss at the given values.
std::string check_options(const GradcheckOptions& options);
std::string check_loss(double first, double second);
/// And for a call after all values were restored.
std::string check_unchanged(double first, double last);

/// Runs `backward` once more; why its results cannot be trusted, or empty.
std::string check_backward(std::span<const GradBlock> blocks,
                           const std::function<void()>& backward);

/// Blocks up to this size are looked at in full before anything is compared, and may have
/// directions through them; of larger ones every look_stride-th entry is.
constexpr std::size_t most_looked_at = std::size_t{1} << 23;
std::size_t look_stride(std::size_t size);

/// Position of a flat index on each axis.
std::vector<std::size_t> position(const GradBlock& block, std::size_t index);
/// And back.
std::size_t flat_index(const GradBlock& block, std::span<const std::size_t> position);

/// "3 entries", "1 entry".
std::string plural(std::size_t n, const char* one, const char* many);
/// As printf writes it in the C locale.
std::string formatted(const char* format, double v);
std::string join(std::span<const std::size_t> numbers);

}  // namespace tapegrad::detail

#pragma GCC visibility pop
