#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/recurrent/cells_step.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <concepts>
#include <cstddef>

#include "../simd/lanes-inl.h"
#include "cells_step-inl.h"
#include "gru_cell-inl.h"
#include "rnn_cell-inl.h"

// Steps of any cell: vectors over the columns of a row. A cell is a type like RnnCell.

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

/// The product with a mask, which selects.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V through_mask(D d, V mask, V x) {
  return hn::Mul(mask, hn::IfThenZeroElse(hn::Eq(mask, hn::Zero(d)), x));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V rest_of(D d, V mask) {
  return hn::Sub(hn::Set(d, hn::TFromD<D>{1}), mask);
}

/// `rows` rows side by side, from row `row` of the sums on.
template <class Cell, class T, std::size_t rows>
struct RowsForward {
  const cells::StepForward<T>& s;
  const GateSums<T>& sums;
  std::size_t row;

  template <class D, class Lanes>
  HWY_INLINE void operator()(D d, std::size_t j, Lanes lanes) const {
    using V = hn::Vec<D>;
    constexpr std::size_t gates = Cell::gates, apart = Cell::apart;
    const std::size_t H = s.hidden, unit = sums.unit + j;
    V a[rows][gates + apart], h_before[rows];
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t in_step = sums.row + row + r;
      const T* sum = sums.data + (row + r) * sums.row_stride + j;
      for (std::size_t g = 0; g < gates + apart; ++g) {
        a[r][g] = load(d, s.bias + g * H + unit, lanes);
        const bool with_input = apart > 0 && g < gates, with_state = apart == 0 || g + 1 != gates;
        if (with_input) {
          a[r][g] = hn::Add(load(d, s.inputs + (in_step * gates + g) * H + unit, lanes), a[r][g]);
        }
        if (with_state) {
          a[r][g] =
              hn::Add(load(d, sum + (g < gates ? g : g - 1) * sums.gate_stride, lanes), a[r][g]);
        }
      }
      h_before[r] = load(d, s.h_before + in_step * H + unit, lanes);
    }
    CellStep<V, gates> made[rows];
    Cell::forward(d, a, h_before, made);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t in_step = sums.row + row + r, n = in_step * H + unit;
      V h = made[r].h;
      if (s.zoneout != nullptr) {
        const V z = load(d, s.zoneout + n, lanes);
        h = hn::Add(through_mask(d, z, h_before[r]), through_mask(d, rest_of(d, z), h));
      }
      store(d, h, s.y + n, lanes);
      for (std::size_t g = 0; g < gates; ++g) {
        const std::size_t at = (in_step * gates + g) * H + unit;
        if (s.gates != nullptr) store(d, made[r].kept[g], s.gates + at, lanes);
        if (s.exported_gates != nullptr) store(d, made[r].gates[g], s.exported_gates + at, lanes);
      }
      if (apart > 0 && s.apart != nullptr) store(d, a[r][gates], s.apart + n, lanes);
    }
  }
};

template <class Cell, class T>
struct RowBackward {
  const cells::StepBackward<T>& s;
  std::size_t row;

  template <class D, class Lanes>
  HWY_INLINE void operator()(D d, std::size_t column, Lanes lanes) const {
    using V = hn::Vec<D>;
    constexpr std::size_t gates = Cell::gates, apart = Cell::apart;
    const std::size_t H = s.hidden, j = s.units.begin + column, n = row * H + j;
    V kept[gates + apart];
    for (std::size_t g = 0; g < gates; ++g) {
      kept[g] = load(d, s.gates + (row * gates + g) * H + j, lanes);
    }
    if (apart > 0) kept[gates] = load(d, s.apart + n, lanes);
    V dh = load(d, s.dh + n, lanes);
    if (s.dy != nullptr) dh = hn::Add(dh, load(d, s.dy + n, lanes));
    if (s.whole_dh != nullptr) store(d, dh, s.whole_dh + n, lanes);

    const V zero = hn::Zero(d), z = s.zoneout != nullptr ? load(d, s.zoneout + n, lanes) : zero;
    const V one_minus_z = rest_of(d, z);  // what h~ has of h
    CellGradient<V, gates> of;
    Cell::backward(d, kept, load(d, s.h_before + n, lanes), through_mask(d, one_minus_z, dh),
                   s.gradient_clip, of);
    const auto left_out = hn::Eq(one_minus_z, zero);  // then 0, whatever it was multiplied by
    for (std::size_t g = 0; g < gates; ++g) {
      const std::size_t at = (row * gates + g) * H + j;
      store(d, hn::IfThenZeroElse(left_out, of.da[g]), s.da + at, lanes);
      if (apart == 0) continue;
      const V da_hidden = g + 1 == gates ? of.da_apart : of.da[g];
      store(d, hn::IfThenZeroElse(left_out, da_hidden), s.da_hidden + at, lanes);
    }
    if (!Cell::carries && s.zoneout == nullptr) return;
    const V past = hn::IfThenZeroElse(left_out, of.dh_before);
    store(d, hn::Add(through_mask(d, z, dh), past), s.dh + n, lanes);
  }
};

template <class Cell, class T>
void forward(const cells::StepForward<T>& s, const GateSums<T>& sums) {
  std::size_t row = 0;
  for (; row + 4 <= sums.rows; row += 4) {
    for_vectors<T>(sums.units, RowsForward<Cell, T, 4>{s, sums, row});
  }
  for (; row < sums.rows; ++row) {
    for_vectors<T>(sums.units, RowsForward<Cell, T, 1>{s, sums, row});
  }
}
template <class Cell, class T>
void backward(const cells::StepBackward<T>& s) {
  for (std::size_t row = 0; row < s.rows; ++row) {
    for_vectors<T>(s.units.end - s.units.begin, RowBackward<Cell, T>{s, row});
  }
}

template <class Cell, class T>
constexpr cells::StepTable<T> step_table_of{Cell::gates, Cell::apart, Cell::carries,
                                            forward<Cell, T>, backward<Cell, T>};

template <class T>
const cells::StepTable<T>& choose(cells::Cell cell) {
  switch (cell) {
    case cells::Cell::rnn_tanh:
      return step_table_of<RnnCell<false>, T>;
    case cells::Cell::rnn_relu:
      return step_table_of<RnnCell<true>, T>;
    case cells::Cell::gru:
      break;
  }
  return step_table_of<GruCell, T>;
}

const cells::StepTable<float>& step_table_float(cells::Cell cell) { return choose<float>(cell); }
const cells::StepTable<double>& step_table_double(cells::Cell cell) { return choose<double>(cell); }

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(step_table_float);
HWY_EXPORT(step_table_double);

template <>
const cells::StepTable<float>& cells::step_table<float>(Cell cell) {
  return HWY_DYNAMIC_DISPATCH(step_table_float)(cell);
}
template <>
const cells::StepTable<double>& cells::step_table<double>(Cell cell) {
  return HWY_DYNAMIC_DISPATCH(step_table_double)(cell);
}

}  // namespace tapegrad::kernels
#endif
