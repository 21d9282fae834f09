#pragma once

#include "../../core/kernels/gemm.h"
#include "../var.h"

namespace tapegrad {

using kernels::Transpose;

/// op(a) op(b): (M, K) (K, N) -> (M, N), where op transposes if asked. ShapeError unless ranks are
/// 2 and the Ks agree.
Var matmul(const Var& a, const Var& b, Transpose ta = Transpose::no, Transpose tb = Transpose::no);

/// y = x W^T + b, for x (..., I), weight (O, I) and bias (O) -> (..., O). An undefined bias is
/// none. ShapeError if the Is or Os do not agree.
Var linear(const Var& x, const Var& weight, const Var& bias = {});

}  // namespace tapegrad
