#pragma once

#include "../../core/kernels/gemm.h"
#include "../var.h"

namespace tapegrad {

/// Computes op(a) op(b): (M, K) (K, N) -> (M, N), where op transposes the last two axes if asked.
///
/// Of rank 3 or 4 with equal leading axes, it is one product for each matrix: (..., M, K)
/// (..., K, N) -> (..., M, N). If b alone is a matrix, (..., M, K) (K, N) -> (..., M, N), it is one
/// product with all rows of a (and a transposed a is copied first).
/// ShapeError if the Ks or the leading axes do not agree; DtypeError for int32.
Var matmul(const Var& a, const Var& b, Transpose ta = Transpose::no, Transpose tb = Transpose::no);

/// Computes y_ij = a_i b_j: (I) (J) -> (I, J). ShapeError unless ranks are 1.
Var outer(const Var& a, const Var& b);

/// Computes y = x W^T + b, for x (..., I), weight (O, I) and bias (O) -> (..., O). An undefined
/// bias is none. ShapeError if the Is or Os do not agree; DtypeError for int32 (ids are for
/// embedding()).
Var linear(const Var& x, const Var& weight, const Var& bias = {});

}  // namespace tapegrad
