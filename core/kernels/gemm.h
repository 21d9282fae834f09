#pragma once

#include <cstddef>

#include "../tensor.h"

namespace tapegrad {

/// Not in `kernels`: or a call of matmul() with Tensors and a Transpose would find the kernel,
/// which checks nothing.
enum class Transpose : bool { no, yes };

namespace kernels {

/// Computes C = alpha op(A) op(B) + beta C, row-major: op(A) is (m, k), op(B) (k, n), C (m, n);
/// `lda`, `ldb`, `ldc` are the distances between rows as stored. With beta = 0, C need not be
/// initialised. T is float or double. Threads share blocks of rows or columns. The bits depend on
/// the instruction set alone: an element is the same sum in any block. Subnormal numbers count as
/// 0, in A, B, C and in the result (FlushSubnormals). Sums of many float32 terms (over 6144) are
/// made of runs that are added in double, so that the relative error does not grow with k.
template <class T>
void gemm(Transpose ta, Transpose tb, std::size_t m, std::size_t n, std::size_t k, T alpha,
          const T* a, std::size_t lda, const T* b, std::size_t ldb, T beta, T* c, std::size_t ldc);

/// Library that makes large products (2e9 operations and more).
enum class Large : bool { ours, openblas };

/// Multiplies tensors: of rank 2, or of rank 3 and 4 with equal leading axes, one product for
/// each matrix. C is written. Shapes and dtypes have been checked by the caller.
void gemm(Transpose ta, Transpose tb, double alpha, const Tensor& a, const Tensor& b, double beta,
          Tensor& c, Large large = Large::ours);

/// Computes op(a) op(b) as a new tensor; large products by OpenBLAS.
Tensor matmul(const Tensor& a, const Tensor& b, Transpose ta = Transpose::no,
              Transpose tb = Transpose::no);

}  // namespace kernels
}  // namespace tapegrad
