// Private: the elements of the RNN of cells.h for Highway vectors. Highway compiles this once for each
// instruction set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_RECURRENT_RNN_CELL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_RECURRENT_RNN_CELL_INL_H_
#undef TAPEGRAD_CORE_RECURRENT_RNN_CELL_INL_H_
#else
#define TAPEGRAD_CORE_RECURRENT_RNN_CELL_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "cell_elements-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

/// h~_t = phi(a_t), and da_t = phi'(a_t) dh_t.
template <bool relu>
struct RnnCell {
  static constexpr std::size_t gates = 1, apart = 0;
  static constexpr bool carries = false;

  /// n vectors of units, from a_t (bias included).
  template <std::size_t n, class D, class V = hn::Vec<D>>
  static HWY_INLINE void forward(D d, const V (&a)[n][1], const V (&)[n],
                                 CellStep<V, 1> (&made)[n]) {
    if constexpr (relu) {
      for (std::size_t k = 0; k < n; ++k) {
        const V y = hn::IfThenZeroElse(hn::Le(a[k][0], hn::Zero(d)), a[k][0]);
        made[k] = {{y}, {y}, y};
      }
    } else {
      Exponent<V> x[n];
      Exponential<V> e[n];
      for (std::size_t k = 0; k < n; ++k) x[k] = tanh_exponent(d, a[k][0]);
      exponentials(d, x, e);
      for (std::size_t k = 0; k < n; ++k) {
        const auto [y, kept] = tanh_gate(d, a[k][0], e[k]);
        made[k] = {{y}, {kept}, y};
      }
    }
  }

  template <class D, class V = hn::Vec<D>>
  static HWY_INLINE void backward(D d, const V (&kept)[1], V, V dh, hn::TFromD<D> clip,
                                  CellGradient<V, 1>& of) {
    if constexpr (relu) {
      of.da[0] = clipped(d, hn::IfThenZeroElse(hn::Le(kept[0], hn::Zero(d)), dh), clip);
    } else {
      of.da[0] = clipped(d, hn::Mul(dh, kept_tanh_slope(d, kept[0])), clip);
    }
    of.dh_before = hn::Zero(d);
  }
};

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
