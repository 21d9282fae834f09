#pragma once

#include <cstddef>
#include <string>

#include "gemm.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::kernels {

/// From how many operations on a product of matmul is left to OpenBLAS.
inline constexpr double least_openblas_operations = 2e9;

/// Makes OpenBLAS ready for products, before anything is written: std::bad_alloc if there is no
/// memory for the buffer of 128 MiB that it works in.
void prepare_openblas();

/// gemm() by OpenBLAS on this thread, with alpha = 1, after prepare_openblas(). Sizes must fit in an
/// int32: OpenBLAS would compute with what is left of a larger one.
template <class T>
[[gnu::visibility("hidden")]] void openblas_product(Transpose ta, Transpose tb, std::size_t m,
                                                    std::size_t n, std::size_t k, const T* a,
                                                    std::size_t lda, const T* b, std::size_t ldb,
                                                    T beta, T* c, std::size_t ldc);

/// The OpenBLAS that the program is linked with, and the processor that it takes this one for.
struct OpenblasBuild {
  std::string version, core;
};
OpenblasBuild openblas_build();

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
