// Private: the elements of a step of the LSTM for one Highway vector. Highway compiles this once for each
// instruction set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_RECURRENT_LSTM_CELL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_RECURRENT_LSTM_CELL_INL_H_
#undef TAPEGRAD_CORE_RECURRENT_LSTM_CELL_INL_H_
#else
#define TAPEGRAD_CORE_RECURRENT_LSTM_CELL_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>

#include "kept_gate_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

/// What a step makes of some units; what nobody reads of it is not computed.
template <class V>
struct LstmCell {
  V kept_i, kept_f, kept_g, kept_o, kept_tanh_c;
  V i, f, g, o, c, h;
};

/// n vectors, from a_t (bias included; i, f, g, o) and c_{t-1}.
template <std::size_t n, class D, class V = hn::Vec<D>>
HWY_INLINE void lstm_cells(D d, const V (&a)[n][4], const V (&c_before)[n],
                           LstmCell<V> (&cells)[n]) {
  Exponent<V> x[4 * n], x_c[n];
  Exponential<V> e[4 * n], e_c[n];
  for (std::size_t k = 0; k < 4 * n; ++k) {
    x[k] = k % 4 == 2 ? tanh_exponent(d, a[k / 4][k % 4]) : sigmoid_exponent(d, a[k / 4][k % 4]);
  }
  exponentials(d, x, e);
  for (std::size_t k = 0; k < n; ++k) {
    LstmCell<V>& s = cells[k];
    const auto take = [&](V& y, V& kept, const Gate<V>& gate)
                          HWY_ATTR { y = gate.y, kept = gate.kept; };
    take(s.i, s.kept_i, sigmoid_gate(d, a[k][0], e[4 * k]));
    take(s.f, s.kept_f, sigmoid_gate(d, a[k][1], e[4 * k + 1]));
    take(s.g, s.kept_g, tanh_gate(d, a[k][2], e[4 * k + 2]));
    take(s.o, s.kept_o, sigmoid_gate(d, a[k][3], e[4 * k + 3]));
    s.c = hn::MulAdd(s.f, c_before[k], hn::Mul(s.i, s.g));
    x_c[k] = tanh_exponent(d, s.c);
  }
  exponentials(d, x_c, e_c);
  for (std::size_t k = 0; k < n; ++k) {
    const Gate<V> tanh_c = tanh_gate(d, cells[k].c, e_c[k]);
    cells[k].kept_tanh_c = tanh_c.kept;
    cells[k].h = hn::Mul(cells[k].o, tanh_c.y);
  }
}

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
