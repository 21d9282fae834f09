// Private: the elements of the GRU of cells.h for Highway vectors. Highway compiles this once for each
// instruction set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_RECURRENT_GRU_CELL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_RECURRENT_GRU_CELL_INL_H_
#undef TAPEGRAD_CORE_RECURRENT_GRU_CELL_INL_H_
#else
#define TAPEGRAD_CORE_RECURRENT_GRU_CELL_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "cell_elements-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

/// The last block is apart: n_t takes u_n and s_n with a factor between them.
struct GruCell {
  static constexpr std::size_t gates = 3, apart = 1;
  static constexpr bool carries = true;

  /// n vectors of units, from u_r + s_r, u_z + s_z, u_n and s_n (bias included).
  template <std::size_t n, class D, class V = hn::Vec<D>>
  static HWY_INLINE void forward(D d, const V (&a)[n][4], const V (&h_before)[n],
                                 CellStep<V, 3> (&made)[n]) {
    Exponent<V> early[n], late[2 * n];  // of r; of n, which waits for r, and z
    Exponential<V> e[n], e_late[2 * n];
    V a_n[n];
    for (std::size_t k = 0; k < n; ++k) early[k] = sigmoid_exponent(d, a[k][0]);
    exponentials(d, early, e);
    for (std::size_t k = 0; k < n; ++k) {
      const auto [r, kept_r] = sigmoid_gate(d, a[k][0], e[k]);
      made[k].gates[0] = r, made[k].kept[0] = kept_r;
      a_n[k] = hn::MulAdd(r, a[k][3], a[k][2]);
      late[2 * k] = tanh_exponent(d, a_n[k]);
      late[2 * k + 1] = sigmoid_exponent(d, a[k][1]);
    }
    exponentials(d, late, e_late);
    for (std::size_t k = 0; k < n; ++k) {
      const auto [candidate, kept_n] = tanh_gate(d, a_n[k], e_late[2 * k]);
      const auto [z, kept_z] = sigmoid_gate(d, a[k][1], e_late[2 * k + 1]);
      made[k].gates[1] = z, made[k].kept[1] = kept_z;
      made[k].gates[2] = candidate, made[k].kept[2] = kept_n;
      const V one_minus_z = kept_sigmoid(d, hn::Neg(kept_z));
      made[k].h = hn::MulAdd(one_minus_z, candidate, hn::Mul(z, h_before[k]));
    }
  }

  /// From r, z, n (kept) and s_n.
  template <class D, class V = hn::Vec<D>>
  static HWY_INLINE void backward(D d, const V (&kept)[4], V h_before, V dh, hn::TFromD<D> clip,
                                  CellGradient<V, 3>& of) {
    const V r = kept_sigmoid(d, kept[0]), z = kept_sigmoid(d, kept[1]), n = kept_tanh(d, kept[2]);
    const V one_minus_z = kept_sigmoid(d, hn::Neg(kept[1]));
    // h = (1 - z) n + z h_before and n = tanh(u_n + r s_n), derived.
    const V dn = hn::Mul(dh, one_minus_z), dz = hn::Mul(dh, hn::Sub(h_before, n));
    of.da[2] = clipped(d, hn::Mul(dn, kept_tanh_slope(d, kept[2])), clip);
    of.da[1] = clipped(d, hn::Mul(dz, kept_sigmoid_slope(d, kept[1])), clip);
    const V dr = hn::Mul(of.da[2], kept[3]);
    of.da[0] = clipped(d, hn::Mul(dr, kept_sigmoid_slope(d, kept[0])), clip);
    of.da_apart = hn::Mul(of.da[2], r);
    of.dh_before = hn::Mul(dh, z);
  }
};

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
