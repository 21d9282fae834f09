#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/recurrent/lstm_step.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <concepts>
#include <cstddef>

#include "../simd/lanes-inl.h"
#include "kept_gate_vectors-inl.h"
#include "lstm_step-inl.h"

// Steps without variants: vectors over the columns of a row.

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

template <class T>
struct RowForward {
  const lstm::StepForward<T>& s;
  const GateSums<T>& sums;
  std::size_t row;  // of the sums

  template <class D, class Lanes>
  HWY_INLINE void operator()(D d, std::size_t j, Lanes lanes) const {
    const std::size_t H = s.hidden, unit = sums.unit + j;
    const auto a = [&](std::size_t gate) HWY_ATTR {
      const T* sum = sums.data + row * sums.row_stride + gate * sums.gate_stride + j;
      return hn::Add(load(d, sum, lanes), load(d, s.bias + gate * H + unit, lanes));
    };
    const std::size_t n = (sums.row + row) * H + unit;
    const auto c_before = load(d, s.c + n, lanes);

    const auto kept_i = keep_sigmoid(d, a(0)), i = kept_sigmoid(d, kept_i);
    const auto kept_f = keep_sigmoid(d, a(1)), f = kept_sigmoid(d, kept_f);
    const auto kept_g = keep_tanh(d, a(2)), g = kept_tanh(d, kept_g);
    const auto kept_o = keep_sigmoid(d, a(3)), o = kept_sigmoid(d, kept_o);
    const auto c = hn::MulAdd(f, c_before, hn::Mul(i, g));
    const auto kept_tanh_c = keep_tanh(d, c), tanh_c = kept_tanh(d, kept_tanh_c);

    store(d, c, s.c + n, lanes);
    store(d, hn::Mul(o, tanh_c), s.y + n, lanes);
    const auto store_gates = [&](T* gates, auto... value) HWY_ATTR {
      T* to = gates + (sums.row + row) * 4 * H + unit;
      ((store(d, value, to, lanes), to += H), ...);
    };
    if (s.gates != nullptr) {
      store_gates(s.gates, kept_i, kept_f, kept_g, kept_o);
      store(d, c_before, s.c_before + n, lanes);
      store(d, kept_tanh_c, s.tanh_c + n, lanes);
    }
    if (s.exported_gates != nullptr) store_gates(s.exported_gates, i, f, g, o);
    if (s.exported_c != nullptr) store(d, c, s.exported_c + n, lanes);
  }
};

template <class T>
struct RowBackward {
  const lstm::StepBackward<T>& s;
  std::size_t row;

  template <class D, class Lanes>
  HWY_INLINE void operator()(D d, std::size_t column, Lanes lanes) const {
    const std::size_t H = s.hidden, j = s.units.begin + column;
    const T* gates = s.gates + row * 4 * H + j;
    T* da = s.da + row * 4 * H + j;
    const std::size_t n = row * H + j;
    const auto kept_i = load(d, gates, lanes), i = kept_sigmoid(d, kept_i);
    const auto kept_f = load(d, gates + H, lanes), f = kept_sigmoid(d, kept_f);
    const auto kept_g = load(d, gates + 2 * H, lanes), g = kept_tanh(d, kept_g);
    const auto kept_o = load(d, gates + 3 * H, lanes), o = kept_sigmoid(d, kept_o);
    const auto c_before = load(d, s.c_before + n, lanes);
    const auto kept_tanh_c = load(d, s.tanh_c + n, lanes), tanh_c = kept_tanh(d, kept_tanh_c);
    auto dh = load(d, s.dh + n, lanes);
    if (s.dy != nullptr) dh = hn::Add(dh, load(d, s.dy + n, lanes));

    // h = o tanh c and c = f c_{t-1} + i g, derived.
    const auto d_o = hn::Mul(dh, tanh_c);
    const auto dc =
        hn::MulAdd(hn::Mul(dh, o), kept_tanh_slope(d, kept_tanh_c), load(d, s.dc + n, lanes));
    const auto di = hn::Mul(dc, g);
    const auto df = hn::Mul(dc, c_before);  // the forget gate's gradient
    const auto dg = hn::Mul(dc, i);

    // Through the nonlinearities: gradients of the pre-activations.
    store(d, hn::Mul(di, kept_sigmoid_slope(d, kept_i)), da, lanes);
    store(d, hn::Mul(df, kept_sigmoid_slope(d, kept_f)), da + H, lanes);
    store(d, hn::Mul(dg, kept_tanh_slope(d, kept_g)), da + 2 * H, lanes);
    store(d, hn::Mul(d_o, kept_sigmoid_slope(d, kept_o)), da + 3 * H, lanes);
    store(d, hn::Mul(dc, f), s.dc + n, lanes);  // the forget gate lets this much through to c_{t-1}
    if (s.whole_dh != nullptr) store(d, dh, s.whole_dh + n, lanes);
    if (s.whole_dc != nullptr) store(d, dc, s.whole_dc + n, lanes);
  }
};

template <class T>
HWY_INLINE void forward(const lstm::StepForward<T>& s, const GateSums<T>& sums) {
  for (std::size_t row = 0; row < sums.rows; ++row) {
    for_vectors<T>(sums.units, RowForward<T>{s, sums, row});
  }
}
template <class T>
HWY_INLINE void backward(const lstm::StepBackward<T>& s) {
  for (std::size_t row = 0; row < s.rows; ++row) {
    for_vectors<T>(s.units.end - s.units.begin, RowBackward<T>{s, row});
  }
}

void forward_float(const lstm::StepForward<float>& s, const GateSums<float>& sums) {
  forward(s, sums);
}
void forward_double(const lstm::StepForward<double>& s, const GateSums<double>& sums) {
  forward(s, sums);
}
void backward_float(const lstm::StepBackward<float>& s) { backward(s); }
void backward_double(const lstm::StepBackward<double>& s) { backward(s); }

const lstm::StepTable<float>& table_float() {
  static constexpr lstm::StepTable<float> table{forward_float, backward_float};
  return table;
}
const lstm::StepTable<double>& table_double() {
  static constexpr lstm::StepTable<double> table{forward_double, backward_double};
  return table;
}

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(table_float);
HWY_EXPORT(table_double);

namespace {

template <class T>
const lstm::StepTable<T>& table() {
  if constexpr (std::same_as<T, float>) {
    return HWY_DYNAMIC_DISPATCH(table_float)();
  } else {
    return HWY_DYNAMIC_DISPATCH(table_double)();
  }
}

}  // namespace

namespace lstm {

template <class T>
void step_forward(const StepForward<T>& step, const GateSums<T>& sums) {
  table<T>().forward(step, sums);
}
template <class T>
void step_backward(const StepBackward<T>& step) {
  table<T>().backward(step);
}

template void step_forward(const StepForward<float>&, const GateSums<float>&);
template void step_forward(const StepForward<double>&, const GateSums<double>&);
template void step_backward(const StepBackward<float>&);
template void step_backward(const StepBackward<double>&);

}  // namespace lstm
}  // namespace tapegrad::kernels
#endif
