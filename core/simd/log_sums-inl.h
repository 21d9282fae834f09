#pragma once

#include <cstddef>

#pragma GCC visibility push(hidden)

namespace tapegrad::kernels {

/// y[i] = log(e^a[i] + e^b[i] + e^(c[i] + d[i])), in the machine's widest vectors: -inf where every
/// exponent is, NaN where one is. y may not be one of the others.
void log_sums(const double* a, const double* b, const double* c, const double* d, double* y,
              std::size_t n);

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
