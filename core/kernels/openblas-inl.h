#pragma once

#include <cstddef>

#include "gemm.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::kernels {

/// gemm() by OpenBLAS on this thread, with alpha = 1. Sizes must fit in an int32: OpenBLAS would compute
/// with what is left of a larger one.
template <class T>
[[gnu::visibility("hidden")]] void openblas_product(Transpose ta, Transpose tb, std::size_t m,
                                                    std::size_t n, std::size_t k, const T* a,
                                                    std::size_t lda, const T* b, std::size_t ldb,
                                                    T beta, T* c, std::size_t ldc);

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
