#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kept_gate-inl.h"
#include "lstm_step-inl.h"
#include "products-inl.h"

// Steps with variants: the formulas of lstm.h, one element at a time.

namespace tapegrad::kernels::lstm {
namespace {

/// 0 is no limit; a NaN stays.
template <class T>
T clip(T x, T limit) {
  return limit > 0 ? std::clamp(x, -limit, limit) : x;
}

/// A variant that may be absent, and then stands for zeros.
template <class T>
T at(const T* p, std::size_t index) {
  return p != nullptr ? p[index] : T{0};
}

/// p[index] x, a peephole; 0 if there is none, also where x is infinite.
template <class T>
T through_peephole(const T* p, std::size_t index, T x) {
  return p != nullptr ? p[index] * x : T{0};
}

/// z old + (1 - z) fresh: zoneout, a mask on both ways.
template <class T>
T zone_out(T z, T old, T fresh) {
  return masked(z, old) + masked(1 - z, fresh);
}

}  // namespace

template <class T>
void step_forward(const StepForward<T>& s, const GateSums<T>& sums, const T* p,
                  const Variant<T>& variant, std::size_t first) {
  const std::size_t H = s.hidden;
  for (std::size_t r = 0; r < sums.rows; ++r) {
    for (std::size_t u = 0; u < sums.units; ++u) {
      const std::size_t row = sums.row + r, j = sums.unit + u, n = row * H + j;
      const T* sum = sums.data + r * sums.row_stride + u;
      const auto a = [&](std::size_t gate) {
        return sum[gate * sums.gate_stride] + s.bias[gate * H + j];
      };
      const T c_before = s.c[n];

      const T kept_i = keep_sigmoid(a(0) + through_peephole(p, j, c_before)),
              i = kept_sigmoid(kept_i);
      const T kept_f = keep_sigmoid(a(1) + through_peephole(p, H + j, c_before)),
              f = kept_sigmoid(kept_f);
      const T kept_g = keep_tanh(a(2)), g = kept_tanh(kept_g);
      const T new_c = clip(f * c_before + i * g, variant.cell_clip);  // c~_t
      const T kept_o = keep_sigmoid(a(3) + through_peephole(p, 2 * H + j, new_c)),
              o = kept_sigmoid(kept_o);
      const T kept_tanh_c = keep_tanh(new_c), tanh_c = kept_tanh(kept_tanh_c);

      s.c[n] = zone_out(at(variant.zoneout_c, first * H + n), c_before, new_c);
      s.y[n] = zone_out(at(variant.zoneout_h, first * H + n), s.h_before[n], o * tanh_c);
      const auto store_gates = [&](T* gates, auto... value) {
        T* to = gates + row * 4 * H + j;
        ((*to = value, to += H), ...);
      };
      if (s.gates != nullptr) {
        store_gates(s.gates, kept_i, kept_f, kept_g, kept_o);
        s.c_before[n] = c_before;
        s.tanh_c[n] = kept_tanh_c;
      }
      if (s.exported_gates != nullptr) store_gates(s.exported_gates, i, f, g, o);
      if (s.exported_c != nullptr) s.exported_c[n] = s.c[n];
    }
  }
}

template <class T>
void step_backward(const StepBackward<T>& s, const T* p, const Variant<T>& variant,
                   std::size_t first, double* dpeephole) {
  const std::size_t H = s.hidden;
  for (std::size_t row = 0; row < s.rows; ++row) {
    for (std::size_t j = s.units.begin; j < s.units.end; ++j) {
      const T* gates = s.gates + row * 4 * H + j;
      T* da = s.da + row * 4 * H + j;
      const std::size_t n = row * H + j;
      const T kept_i = gates[0], i = kept_sigmoid(kept_i);
      const T kept_f = gates[H], f = kept_sigmoid(kept_f);
      const T kept_g = gates[2 * H], g = kept_tanh(kept_g);
      const T kept_o = gates[3 * H], o = kept_sigmoid(kept_o);
      const T kept_tanh_c = s.tanh_c[n], tanh_c = kept_tanh(kept_tanh_c);
      const T c_before = s.c_before[n];
      const T unclipped = f * c_before + i * g;
      const T new_c = clip(unclipped, variant.cell_clip);  // c~_t
      const T z_c = at(variant.zoneout_c, first * H + n);
      const T z_h = at(variant.zoneout_h, first * H + n);

      const T dh = s.dh[n] + at(s.dy, n);
      const T dc = s.dc[n];
      // What a mask or the clip leaves out is 0, whatever it would be multiplied by.
      const T fresh = 1 - z_h;
      const T da_o =
          clip(masked(fresh, dh * tanh_c * kept_sigmoid_slope(kept_o)), variant.gradient_clip);
      const T dnew_c = masked(1 - z_c, dc) + masked(fresh, dh * o * kept_tanh_slope(kept_tanh_c)) +
                       through_peephole(p, 2 * H + j, da_o);
      const bool cut = variant.cell_clip > 0 && std::abs(unclipped) > variant.cell_clip;
      const bool reached = !cut && !(z_h == 1 && z_c == 1);  // f_t c_{t-1} + i_t g_t
      const auto through = [&](T factor) { return reached ? dnew_c * factor : T{0}; };
      const T da_i = clip(through(g * kept_sigmoid_slope(kept_i)), variant.gradient_clip);
      const T da_f = clip(through(c_before * kept_sigmoid_slope(kept_f)), variant.gradient_clip);
      const T da_g = clip(through(i * kept_tanh_slope(kept_g)), variant.gradient_clip);

      s.dh[n] = masked(z_h, dh);
      s.dc[n] = masked(z_c, dc) + through(f) + through_peephole(p, j, da_i) +
                through_peephole(p, H + j, da_f);
      da[0] = da_i;
      da[H] = da_f;
      da[2 * H] = da_g;
      da[3 * H] = da_o;
      if (dpeephole != nullptr) {
        double* own = dpeephole + row * 3 * H;
        const double before = c_before;
        own[j] += masked<double>(da_i, before);
        own[H + j] += masked<double>(da_f, before);
        own[2 * H + j] += masked<double>(da_o, new_c);
      }
      if (s.whole_dh != nullptr) s.whole_dh[n] = dh;
      // Without zoneout c_t is c~_t; with it, what reaches c~_t through h~_t does not pass c_t.
      if (s.whole_dc != nullptr) s.whole_dc[n] = variant.zoneout_c != nullptr ? dc : dnew_c;
    }
  }
}

template void step_forward(const StepForward<float>&, const GateSums<float>&, const float*,
                           const Variant<float>&, std::size_t);
template void step_forward(const StepForward<double>&, const GateSums<double>&, const double*,
                           const Variant<double>&, std::size_t);
template void step_backward(const StepBackward<float>&, const float*, const Variant<float>&,
                            std::size_t, double*);
template void step_backward(const StepBackward<double>&, const double*, const Variant<double>&,
                            std::size_t, double*);

}  // namespace tapegrad::kernels::lstm
