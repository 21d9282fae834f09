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

/// Results of a step for some units; those that nobody reads are not computed.
template <class V>
struct LstmCell {
  V kept_i, kept_f, kept_g, kept_o, kept_tanh_c;
  V i, f, g, o, c, h;
};

/// n vectors, from a_t (bias included; i, f, g, o) and c_{t-1}.
template <std::size_t n, class D, class V = hn::Vec<D>>
HWY_INLINE void lstm_cells(D d, const V (&a)[n][4], const V (&c_before)[n],
                           LstmCell<V> (&cells)[n]) {
  constexpr bool twice[] = {false, false, true};
  Exponent<V> early[3 * n],
      late[2 * n];  // of i, f, g; of o and tanh c, which nothing waits for sooner
  Exponential<V> e[3 * n], e_late[2 * n];
  for (std::size_t k = 0; k < 3 * n; ++k) {
    const V& x = a[k / 3][k % 3];
    early[k] = twice[k % 3] ? tanh_exponent(d, x) : sigmoid_exponent(d, x);
  }
  exponentials(d, early, e);
  for (std::size_t k = 0; k < n; ++k) {
    LstmCell<V>& s = cells[k];
    const auto take = [&](V& y, V& kept, const Gate<V>& gate)
                          HWY_ATTR { y = gate.y, kept = gate.kept; };
    take(s.i, s.kept_i, sigmoid_gate(d, a[k][0], e[3 * k]));
    take(s.g, s.kept_g, tanh_gate(d, a[k][2], e[3 * k + 2]));
    take(s.f, s.kept_f, sigmoid_gate(d, a[k][1], e[3 * k + 1]));
    s.c = hn::MulAdd(s.f, c_before[k], hn::Mul(s.i, s.g));
    late[2 * k] = tanh_exponent(d, s.c);
    late[2 * k + 1] = sigmoid_exponent(d, a[k][3]);
  }
  exponentials(d, late, e_late);
  for (std::size_t k = 0; k < n; ++k) {
    LstmCell<V>& s = cells[k];
    const Gate<V> tanh_c = tanh_gate(d, s.c, e_late[2 * k]);
    const Gate<V> o = sigmoid_gate(d, a[k][3], e_late[2 * k + 1]);
    s.kept_tanh_c = tanh_c.kept;
    s.o = o.y, s.kept_o = o.kept;
    s.h = hn::Mul(o.y, tanh_c.y);
  }
}

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
