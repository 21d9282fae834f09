#pragma once

#include <optional>
#include <string_view>

#include "../../core/rng.h"
#include "../tape.h"

namespace tapegrad {

/// Applies inverted dropout (Srivastava et al. 2014): each element is 0 with probability p, else
/// x / (1 - p). A dropped element is 0 and has gradient 0 whatever x or the gradient is there, an
/// infinity or a NaN too.
///
/// On in a training tape, off in an evaluating or inferring one; a plain `Tape` refuses to guess.
/// The mask is a function of (seed, pass, site, t, row, column), the last three read off x's last
/// axes: (t, row, column). Calls without a site are numbered in their order. Throws UsageError
/// unless p is in [0, 1), and if x was recorded on another tape.
Var dropout(Tape& tape, const Var& x, double p, std::string_view site = "");

/// Applies dropout with one mask (B, F) for all steps of x (T, B, F) (Gal and Ghahramani 2016):
/// variational dropout. Otherwise as dropout(). Throws ShapeError for another rank.
Var variational_dropout(Tape& tape, const Var& x, double p, std::string_view site = "");

/// Applies dropout to whole rows of a table x (R, F), for words that are not there in a pass
/// (Gal and Ghahramani 2016, section 4.1). The mask is a function of the row alone, and otherwise as
/// in dropout(). Throws ShapeError for another rank.
Var row_dropout(Tape& tape, const Var& x, double p, std::string_view site = "");

/// Applies dropout with the mask of a given key: for twins, which draw no random numbers.
Var dropout(const Var& x, double p, RandomKey key);

/// Returns the key of dropout at a site of this pass, or no key where dropout is off (or p is 0).
std::optional<RandomKey> dropout_key(Tape& tape, double p, std::string_view site = "");

}  // namespace tapegrad
