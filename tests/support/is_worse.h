#pragma once

#include <cmath>

namespace tapegrad::testing {

/// Whether an error takes the place of the worst one so far. The first NaN does and keeps it:
/// std::max passes it over, and `!(error <= worst)` alone lets the next number take it away.
inline bool is_worse(double error, double worst) { return !(error <= worst) && !std::isnan(worst); }

}  // namespace tapegrad::testing
