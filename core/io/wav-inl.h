#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "../tensor.h"

#pragma GCC visibility push(hidden)

/// Parts of both reading and writing WAV files.
namespace tapegrad::wav {

inline constexpr std::uint16_t pcm = 1, ieee_float = 3;  // wFormatTag

/// Returns the place of the first sample that is not finite: "frame 3 of channel 0 is nan"; "" if
/// all are finite.
inline std::string non_finite(const Tensor& samples) {
  const std::span<const float> values = samples.values<float>();
  const auto found = std::ranges::find_if_not(values, [](float x) { return std::isfinite(x); });
  if (found == values.end()) return "";
  const auto k = static_cast<std::size_t>(found - values.begin()), channels = samples.size(1);
  return fmt::format("frame {} of channel {} is {}", k / channels, k % channels, *found);
}

}  // namespace tapegrad::wav

#pragma GCC visibility pop
