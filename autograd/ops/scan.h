#pragma once

#include "recurrent.h"

namespace tapegrad {

/// a and b of h_t = a_t * h_{t-1} + b_t: of all steps (T, B, H), or of one (B, H).
struct ScanCoefficients {
  Var a;
  Var b;
};

/// Runs the recurrence without a product
///
///     h_t = a_t * h_{t-1} + b_t
///
/// over a whole sequence as one node: a and b (T, B, H), of any values, h (B, H) -> y (T, B, H) and
/// the last h. It is the recurrence of minGRU and minLSTM (Feng et al. 2024), QRNN (Bradbury et al.
/// 2017), SRU and of diagonal linear RNNs. A fixed or learned a (H) is broadcast by the caller.
///
/// Throws ShapeError, for T = 0 and B = 0 too; DtypeError; UsageError for lengths out of range.
/// Gradients: core/recurrent/scan.h.
Unrolled<Var> scan(const Var& a, const Var& b, const Var& h, const Steps& steps = {});
/// Computes the same bits by a loop over the formula: the twin of scan().
Unrolled<Var> scan_composed(const Var& a, const Var& b, const Var& h, const Steps& steps = {});

}  // namespace tapegrad
