#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/recurrent/lstm_step.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <concepts>
#include <cstddef>

#include "../simd/lanes-inl.h"
#include "kept_gate_vectors-inl.h"
#include "lstm_cell-inl.h"
#include "lstm_step-inl.h"

// Steps without variants: vectors over the columns of a row.

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

/// `rows` rows side by side, from row `row` of the sums on.
template <class T, std::size_t rows>
struct RowsForward {
  const lstm::StepForward<T>& s;
  const GateSums<T>& sums;
  std::size_t row;

  template <class D, class Lanes>
  HWY_INLINE void operator()(D d, std::size_t j, Lanes lanes) const {
    using V = hn::Vec<D>;
    const std::size_t H = s.hidden, unit = sums.unit + j;
    V a[rows][4], c_before[rows];
    for (std::size_t r = 0; r < rows; ++r) {
      const T* sum = sums.data + (row + r) * sums.row_stride + j;
      for (std::size_t gate = 0; gate < 4; ++gate, sum += sums.gate_stride) {
        a[r][gate] = hn::Add(load(d, sum, lanes), load(d, s.bias + gate * H + unit, lanes));
      }
      c_before[r] = load(d, s.c + (sums.row + row + r) * H + unit, lanes);
    }
    LstmCell<V> cells[rows];
    lstm_cells(d, a, c_before, cells);
    for (std::size_t r = 0; r < rows; ++r) {
      const LstmCell<V>& cell = cells[r];
      const std::size_t n = (sums.row + row + r) * H + unit;
      store(d, cell.c, s.c + n, lanes);
      store(d, cell.h, s.y + n, lanes);
      const auto store_gates = [&](T* gates, auto... value) HWY_ATTR {
        T* to = gates + (sums.row + row + r) * 4 * H + unit;
        ((store(d, value, to, lanes), to += H), ...);
      };
      if (s.gates != nullptr) {
        store_gates(s.gates, cell.kept_i, cell.kept_f, cell.kept_g, cell.kept_o);
        store(d, c_before[r], s.c_before + n, lanes);
        store(d, cell.kept_tanh_c, s.tanh_c + n, lanes);
      }
      if (s.exported_gates != nullptr) {
        store_gates(s.exported_gates, cell.i, cell.f, cell.g, cell.o);
      }
      if (s.exported_c != nullptr) store(d, cell.c, s.exported_c + n, lanes);
    }
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
  std::size_t row = 0;
  for (; row + 2 <= sums.rows; row += 2) {
    for_vectors<T>(sums.units, RowsForward<T, 2>{s, sums, row});
  }
  if (row < sums.rows) for_vectors<T>(sums.units, RowsForward<T, 1>{s, sums, row});
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
