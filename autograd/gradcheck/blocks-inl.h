#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gradcheck.h"

#pragma GCC visibility push(hidden)

/// Checks of blocks, options, loss and `backward` before anything is compared, and the text helpers
/// of reports. Private to gradcheck/.
namespace tapegrad::detail {

/// Says why these blocks cannot be checked: none or only empty ones, a null pointer, overlapping values,
/// a value or gradient that is not finite or outside of its domain. Empty if all is well.
std::string check_blocks(std::span<const GradBlock> blocks);

/// Says what is wrong with options, or with two calls of the loss at the given values; or nothing.
std::string check_options(const GradcheckOptions& options);
std::string check_loss(double first, double second);
/// Says what is wrong with a call after all values were restored, or nothing.
std::string check_unchanged(double first, double last);

/// Runs `backward` once more; says why its results cannot be trusted, or nothing.
std::string check_backward(std::span<const GradBlock> blocks,
                           const std::function<void()>& backward);

/// Size up to which all gradients of a block are read before anything is compared, and directions
/// may go through it; of a larger block every read_stride-th gradient is read.
constexpr std::size_t most_read = std::size_t{1} << 23;
std::size_t read_stride(std::size_t size);

/// Returns the index on each axis of a flat index.
std::vector<std::size_t> position(const GradBlock& block, std::size_t index);
/// Returns the flat index of an index on each axis.
std::size_t flat_index(const GradBlock& block, std::span<const std::size_t> position);

/// Writes a number and its noun: "3 entries", "1 entry".
std::string plural(std::size_t n, const char* one, const char* many);
/// Writes a number as printf does in the C locale.
std::string formatted(const char* format, double v);
std::string join(std::span<const std::size_t> numbers);

}  // namespace tapegrad::detail

#pragma GCC visibility pop
