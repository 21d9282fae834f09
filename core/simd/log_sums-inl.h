#pragma once

#include <cstddef>

#pragma GCC visibility push(hidden)

namespace tapegrad::kernels {

/// y[i] = log(e^a[i] + e^b[i] + e^(c[i] + d[i])), in the machine's widest vectors; -inf if all are. A
/// NaN stays, of what is added up. y may not be one of the others.
[[gnu::visibility("hidden")]] void log_sums(const double* a, const double* b, const double* c,
                                            const double* d, double* y, std::size_t n);

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
