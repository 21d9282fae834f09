// Private: what the elements of a cell of cells.h are given and make. Highway compiles this once for each
// instruction set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_RECURRENT_CELL_ELEMENTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_RECURRENT_CELL_ELEMENTS_INL_H_
#undef TAPEGRAD_CORE_RECURRENT_CELL_ELEMENTS_INL_H_
#else
#define TAPEGRAD_CORE_RECURRENT_CELL_ELEMENTS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "kept_gate_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

/// Some units of one row after a step.
template <class V, std::size_t count>
struct CellStep {
  V gates[count];  // after their nonlinearity
  V kept[count];   // the same for backward
  V h;             // h~_t
};

/// Gradients of some units of one row.
template <class V, std::size_t count>
struct CellGradient {
  V da[count];
  V da_apart;   // of W_hh (m * h_{t-1}) + b_hh of the block that is apart
  V dh_before;  // of h_{t-1} past the matrix product, in a cell that carries
};

/// A gradient cut to [-limit, limit]; 0 is no limit. A NaN stays.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V clipped(D d, V x, hn::TFromD<D> limit) {
  if (!(limit > 0)) return x;
  const V high = hn::Set(d, limit), low = hn::Neg(high);
  return hn::IfThenElse(hn::Gt(x, high), high, hn::IfThenElse(hn::Lt(x, low), low, x));
}

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
