#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "comparison-inl.h"

#pragma GCC visibility push(hidden)

/// The tests of the patterns in diagnosis.cpp. Each returns what fills the blanks of its sentence, or
/// nothing if the gradient does not have that pattern. Private to gradcheck/.
namespace tapegrad::detail::patterns {

using Blanks = std::optional<std::vector<std::string>>;
inline Blanks fill(std::initializer_list<std::string> words) {
  return std::vector<std::string>(words);
}

// One relation for all entries (pattern_values.cpp).
Blanks rounding_error(const Comparison& c);
Blanks all_zero(const Comparison& c);
Blanks negated(const Comparison& c);
Blanks doubled(const Comparison& c);
Blanks scaled(const Comparison& c);
Blanks clipped(const Comparison& c);
Blanks constant_added(const Comparison& c);
Blanks value_added(const Comparison& c);
Blanks wrong_signs(const Comparison& c);

// Numbers in other places (pattern_places.cpp).
Blanks transposed(const Comparison& c);
Blanks axes_permuted(const Comparison& c);
Blanks parts_transposed(const Comparison& c);
Blanks shifted(const Comparison& c);
Blanks reversed(const Comparison& c);
Blanks exchanged(const Comparison& c);
Blanks mask_missing(const Comparison& c);
Blanks other_mask(const Comparison& c);
Blanks mask_superfluous(const Comparison& c);

// Some parts, or along an axis (pattern_parts.cpp).
Blanks summed(const Comparison& c);
Blanks scaled_by_part(const Comparison& c);
Blanks mean_term(const Comparison& c);
Blanks variance_term(const Comparison& c);
Blanks wrong_parts(const Comparison& c);
Blanks wrong_entries(const Comparison& c);

// Steps (pattern_time.cpp).
Blanks accumulated_over_time(const Comparison& c);
Blanks right_from_a_step(const Comparison& c);
Blanks only_last_step(const Comparison& c);
Blanks right_at_last_step(const Comparison& c);
Blanks right_up_to_a_step(const Comparison& c);
Blanks one_step_alone(const Comparison& c);
Blanks one_step_missing(const Comparison& c);

}  // namespace tapegrad::detail::patterns

#pragma GCC visibility pop
