#pragma once

#include "../core/cxx20.h"

#include <cstdint>

namespace tapegrad {

/// Kinds of events that an observer of a tape wants (inspect/observer.h); a set, joined with |.
enum class Interest : std::uint8_t {
  none = 0,
  values = 1,     // what is recorded
  gradients = 2,  // what a sweep has completed
  branches = 4,   // which way elements went in ops with kinks
  internals = 8,  // what a fused op keeps to itself: gates, cells
  notes = 16,     // what ops note: axis, factor
  everything = 31
};

constexpr Interest operator|(Interest a, Interest b) {
  return static_cast<Interest>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
constexpr bool overlap(Interest a, Interest b) {
  return (static_cast<std::uint8_t>(a) & static_cast<std::uint8_t>(b)) != 0;
}

}  // namespace tapegrad
