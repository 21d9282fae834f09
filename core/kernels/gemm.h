#pragma once

#include <cstddef>

#include "../tensor.h"

namespace tapegrad {

/// Not in `kernels`: or a call of matmul() with Tensors and a Transpose would find the kernel,
/// which checks nothing.
enum class Transpose : bool { no, yes };

namespace kernels {

/// C = alpha op(A) op(B) + beta C, row-major: op(A) is (m, k), op(B) (k, n), C (m, n); `lda`,
/// `ldb`, `ldc` are the distances between rows as stored. With beta = 0, C need not be initialised.
/// T is float or double. OpenBLAS, one thread a block of rows; the blocks depend on the sizes
/// alone, so the bits do not depend on threads(). Subnormal numbers count as 0, in A, B, C and in
/// the result (FlushSubnormals). Sums of many float32 terms are made of runs that are added in
/// double (over 1024 terms, or 65536 for a C of more than 4096 elements), so that the relative error
/// does not grow with k.
template <class T>
void gemm(Transpose ta, Transpose tb, std::size_t m, std::size_t n, std::size_t k, T alpha,
          const T* a, std::size_t lda, const T* b, std::size_t ldb, T beta, T* c, std::size_t ldc);

/// The same for tensors: of rank 2, or of rank 3 and 4 with equal leading axes, one product for
/// each matrix. C is written. Shapes and dtypes have been checked by the caller.
void gemm(Transpose ta, Transpose tb, double alpha, const Tensor& a, const Tensor& b, double beta,
          Tensor& c);

/// op(a) op(b) as a new tensor.
Tensor matmul(const Tensor& a, const Tensor& b, Transpose ta = Transpose::no,
              Transpose tb = Transpose::no);

}  // namespace kernels
}  // namespace tapegrad
