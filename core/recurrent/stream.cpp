#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/recurrent/stream.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <span>

#include "../simd/lanes-inl.h"
#include "cells_step-inl.h"
#include "gru_cell-inl.h"
#include "lstm_cell-inl.h"
#include "lstm_step-inl.h"
#include "rnn_cell-inl.h"
#include "stream-inl.h"

// Several rows are moved on by the product of tiles and by the elements of forward(). One row waits:
// each sum is a chain of additions, and the elements are one after the other. So as many units as
// there are registers for are summed side by side, and their elements are computed where the sums
// are. Few units are computed in half vectors, whose divisions are done sooner.

#ifndef TAPEGRAD_CORE_RECURRENT_STREAM_CPP_
#define TAPEGRAD_CORE_RECURRENT_STREAM_CPP_
namespace tapegrad::kernels::stream {

template <class T>
using MoveRow = void (*)(const RowSteps<T>&);

}  // namespace tapegrad::kernels::stream
#endif

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

/// The elements of `n` vectors of units, from a_t (bias included) and the state that the cell
/// carries past the products: c, which it moves on.
struct LstmUnits {
  static constexpr std::size_t gates = 4, apart = 0;
  static constexpr bool has_c = true;

  template <std::size_t n, class D, class V = hn::Vec<D>>
  static HWY_INLINE void forward(D d, const V (&a)[n][4], V (&c)[n], V (&h)[n]) {
    LstmCell<V> cells[n];
    lstm_cells(d, a, c, cells);
    for (std::size_t k = 0; k < n; ++k) c[k] = cells[k].c, h[k] = cells[k].h;
  }
};

/// Elements of `n` vectors of units of a cell of cells.h, which carries h.
template <class Cell>
struct HiddenUnits {
  static constexpr std::size_t gates = Cell::gates, apart = Cell::apart;
  static constexpr bool has_c = false;

  template <std::size_t n, class D, class V = hn::Vec<D>>
  static HWY_INLINE void forward(D d, const V (&a)[n][gates + apart], V (&h_before)[n], V (&h)[n]) {
    CellStep<V, gates> made[n];
    Cell::forward(d, a, h_before, made);
    for (std::size_t k = 0; k < n; ++k) h[k] = made[k].h;
  }
};

template <class T>
using Whole = hn::ScalableTag<T>;  // the vectors that Packed and the states have

/// The gates of `groups` vectors of units.
template <class D, std::size_t gates, std::size_t groups>
using Sums = hn::Vec<D>[groups][gates];

/// Place of a vector in Packed: in a panel of `width` behind `before` vectors, each of k terms.
struct Place {
  std::size_t before, width, index;
};

/// Places of the gates of `groups` vectors of units. Packed has the units of one gate side by side,
/// and otherwise the gates of one vector of units.
template <std::size_t gates, std::size_t groups>
constexpr auto places = [] {
  static_assert(gates == 1 ? groups <= max_vectors : 2 * gates > max_vectors);
  constexpr std::size_t together = gates == 1 ? groups : gates;
  std::array<Place, gates * groups> all{};
  for (std::size_t v = 0; v < all.size(); ++v) {
    const std::size_t index = v % together;
    const Parts panels(together, max_vectors);
    std::size_t panel = 0;
    while (panels.begin(panel + 1) <= index) ++panel;
    const std::size_t begin = panels.begin(panel);
    all[v] = {v - index + begin, panels.size(panel), index - begin};
  }
  return all;
}();

/// sums = x B, or with `add` +=; x (k), B as Packed has it, from the first of the groups on.
template <class D, std::size_t gates, std::size_t groups, class T = hn::TFromD<D>>
HWY_INLINE void multiply(std::size_t k, const T* x, const T* b, bool add,
                         Sums<D, gates, groups>& sums) {
  const D d;
  const std::size_t lanes = hn::Lanes(Whole<T>());
  const std::size_t depth = part_depth(k);
  for (std::size_t p0 = 0; p0 < k; p0 += depth) {
    Sums<D, gates, groups> part;
    for (auto& group : part) {
      for (auto& gate : group) gate = hn::Zero(d);
    }
    for (std::size_t p = p0; p < std::min(k, p0 + depth); ++p) {
      const auto factor = hn::Set(d, x[p]);
      for (std::size_t v = 0; v < groups * gates; ++v) {
        constexpr auto& place = places<gates, groups>;
        const std::size_t vector = place[v].before * k + p * place[v].width + place[v].index;
        auto& sum = part[v / gates][v % gates];
        sum = hn::MulAdd(factor, hn::Load(d, b + vector * lanes), sum);
      }
    }
    for (std::size_t v = 0; v < groups * gates; ++v) {
      auto& sum = sums[v / gates][v % gates];
      const auto& more = part[v / gates][v % gates];
      sum = add || p0 > 0 ? hn::Add(sum, more) : more;
    }
  }
}

/// Step t of `groups` vectors of units from the one numbered `first` on.
template <class Cell, class D, std::size_t groups, class T = hn::TFromD<D>>
HWY_INLINE void move_units(const stream::RowSteps<T>& s, std::size_t t, std::size_t first) {
  constexpr std::size_t gates = Cell::gates, apart = Cell::apart;
  const D d;
  using V = hn::Vec<D>;
  const std::size_t lanes = hn::Lanes(Whole<T>()), unit = first * lanes;
  Sums<D, gates, groups> inputs, sums;
  for (std::size_t v = 0; v < groups * gates; ++v) {
    // g++ does not see that the first part overwrites them.
    inputs[v / gates][v % gates] = sums[v / gates][v % gates] = hn::Zero(d);
  }
  auto& from_input = apart > 0 ? inputs : sums;
  if (s.projected != nullptr) {
    for (std::size_t v = 0; v < groups * gates; ++v) {
      const T* const at = s.projected + (t * gates + v % gates) * s.row + unit;
      from_input[v / gates][v % gates] = hn::Load(d, at + v / gates * lanes);
    }
  } else {
    multiply<D, gates, groups>(s.input, s.x + t * s.x_stride, s.weight_ih + unit * gates * s.input,
                               false, from_input);
  }
  const T* const h_before = s.h + t * s.row;
  multiply<D, gates, groups>(s.hidden, h_before, s.weight_hh + unit * gates * s.hidden, apart == 0,
                             sums);
  V a[groups][gates + apart], carried[groups], h[groups];
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t j = unit + group * lanes;
    for (std::size_t g = 0; g < gates + apart; ++g) {
      V& sum = a[group][g];
      sum = hn::Load(d, s.bias + g * s.row + j);
      if (apart > 0 && g < gates) sum = hn::Add(inputs[group][g], sum);
      if (apart == 0 || g + 1 != gates) sum = hn::Add(sums[group][std::min(g, gates - 1)], sum);
    }
    carried[group] = hn::Load(d, (Cell::has_c ? s.c : h_before) + j);
  }
  Cell::forward(d, a, carried, h);
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t j = unit + group * lanes;
    if (Cell::has_c) hn::Store(carried[group], d, s.c + j);
    hn::Store(h[group], d, s.h + (t + 1) * s.row + j);
  }
}

/// move_units() with `groups`, which is at most `most`.
template <class Cell, class D, std::size_t most, class T = hn::TFromD<D>>
HWY_INLINE void move_some(const stream::RowSteps<T>& s, std::size_t t, std::size_t first,
                          std::size_t groups) {
  if constexpr (most > 1) {
    if (groups < most) return move_some<Cell, D, most - 1>(s, t, first, groups);
  }
  move_units<Cell, D, most>(s, t, first);
}

template <class Cell, class T>
void move_row(const stream::RowSteps<T>& s) {
  const std::size_t lanes = hn::Lanes(Whole<T>());
  if (2 * s.hidden <= lanes) {
    for (std::size_t t = 0; t < s.steps; ++t) move_units<Cell, hn::Half<Whole<T>>, 1>(s, t, 0);
    return;
  }
  // As many sums as there are registers for; of one gate a panel.
  constexpr std::size_t most = Cell::gates == 1 ? max_vectors : 12 / Cell::gates;
  const Parts parts(s.row / lanes, most);
  const std::size_t least = parts.total / parts.count, more = parts.total % parts.count;
  for (std::size_t t = 0; t < s.steps; ++t) {
    // The parts' sizes, without their divisions.
    for (std::size_t first = 0, rest = 0; first < parts.total;) {
      rest += more;
      const bool larger = rest >= parts.count;
      if (larger) rest -= parts.count;
      const std::size_t groups = least + (larger ? 1 : 0);
      move_some<Cell, Whole<T>, most>(s, t, first, groups);
      first += groups;
    }
  }
}

template <class T>
stream::MoveRow<T> choose(std::optional<cells::Cell> cell) {
  if (!cell) return move_row<LstmUnits, T>;
  switch (*cell) {
    case cells::Cell::rnn_tanh:
      return move_row<HiddenUnits<RnnCell<false>>, T>;
    case cells::Cell::rnn_relu:
      return move_row<HiddenUnits<RnnCell<true>>, T>;
    case cells::Cell::gru:
      break;
  }
  return move_row<HiddenUnits<GruCell>, T>;
}

stream::MoveRow<float> choose_float(std::optional<cells::Cell> cell) { return choose<float>(cell); }
stream::MoveRow<double> choose_double(std::optional<cells::Cell> cell) {
  return choose<double>(cell);
}

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(choose_float);
HWY_EXPORT(choose_double);

namespace stream {
namespace {

template <class T>
MoveRow<T> choose(std::optional<cells::Cell> cell) {
  if constexpr (std::same_as<T, float>) {
    return HWY_DYNAMIC_DISPATCH(choose_float)(cell);
  } else {
    return HWY_DYNAMIC_DISPATCH(choose_double)(cell);
  }
}

std::size_t gates_of(std::optional<cells::Cell> cell) {
  return cell ? cells::step_table<double>(*cell).gates : 4;
}

/// (rows, H), or zeros if there are none, to rows that are padded.
template <class T>
void copy_rows(const T* from, std::size_t rows, std::size_t hidden, std::size_t row, T* to) {
  std::fill_n(to, rows * row, T{0});
  for (std::size_t i = 0; i < rows && from != nullptr; ++i) {
    std::copy_n(from + i * hidden, hidden, to + i * row);
  }
}

}  // namespace

template <class T>
Stream<T>::Stream(std::optional<cells::Cell> cell, const Sizes& sizes, const Weights<T>& weights,
                  const Variant<T>& v)
    : cell_(cell),
      sizes_(sizes),
      apart_(cell ? cells::step_table<T>(*cell).apart : 0),
      with_variant_(weights.cell.peephole != nullptr || v.zoneout_h > 0 || v.zoneout_c > 0 ||
                    v.cell_clip > 0 || v.gradient_clip > 0),
      move_row_(sizes.batch == 1 && !with_variant_ ? choose<T>(cell) : nullptr),
      weight_ih_(sizes.input, sizes.hidden, {weights.cell.weight_ih, 1, sizes.input},
                 gates_of(cell)),
      weight_hh_(sizes.hidden, sizes.hidden, {weights.cell.weight_hh, 1, sizes.hidden},
                 gates_of(cell)),
      row_(weight_hh_.padded_units()),
      bias_((gates() + apart_) * row_),
      projected_(projected_rows() * gates() * row_),
      first_(2 * row_),
      y_((sizes.steps + 1) * sizes.batch * row_),
      c_(cell ? 0 : sizes.batch * row_),
      peephole_(weights.cell.peephole != nullptr ? 3 * row_ : 0),
      zoneout_h_(v.zoneout_h > 0 ? sizes.batch * row_ : 0),
      zoneout_c_(v.zoneout_c > 0 ? sizes.batch * row_ : 0),
      variant_{.zoneout_h = zoneout_h_.get(),
               .zoneout_c = zoneout_c_.get(),
               .cell_clip = v.cell_clip,
               .gradient_clip = v.gradient_clip} {
  if (v.zoneout_h > 0) std::fill_n(zoneout_h_.get(), sizes.batch * row_, v.zoneout_h);
  if (v.zoneout_c > 0) std::fill_n(zoneout_c_.get(), sizes.batch * row_, v.zoneout_c);
  load(weights);
  reset();
}

/// For how many rows W_ih x is computed together. Where it is apart, for all of a call; for a row
/// alone likewise, unless it has so few terms that they cost less than to write down their sums.
template <class T>
std::size_t Stream<T>::projected_rows() const {
  const auto [n, B, I, H] = sizes_;
  if (move_row_ != nullptr) return n > 1 && I > 4 ? n : 0;
  return apart_ > 0 ? n * B : 0;
}

template <class T>
void Stream<T>::load(const Weights<T>& weights) noexcept {
  const std::size_t I = sizes_.input, H = sizes_.hidden;
  weight_ih_.pack({weights.cell.weight_ih, 1, I});
  weight_hh_.pack({weights.cell.weight_hh, 1, H});
  copy_rows(weights.cell.bias_ih, gates(), H, row_, bias_.get());
  std::fill_n(bias_.get() + gates() * row_, apart_ * row_, T{0});
  for (std::size_t gate = 0; gate < gates() && weights.cell.bias_hh != nullptr; ++gate) {
    T* const bias = bias_.get() + (gate + 1 < gates() ? gate : gate + apart_) * row_;
    for (std::size_t j = 0; j < H; ++j) bias[j] += weights.cell.bias_hh[gate * H + j];
  }
  copy_rows(weights.h0, 1, H, row_, first_.get());
  copy_rows(weights.c0, 1, H, row_, first_.get() + row_);
  if (peephole_.get() != nullptr) copy_rows(weights.cell.peephole, 3, H, row_, peephole_.get());
}

template <class T>
void Stream<T>::reset() noexcept {
  for (std::size_t b = 0; b < sizes_.batch; ++b) {
    std::copy_n(first_.get(), row_, h() + b * row_);
    if (!cell_) std::copy_n(first_.get() + row_, row_, c() + b * row_);
  }
}

template <class T>
const T* Stream<T>::run(const Strided<T>& x) noexcept {
  const auto [n, B, I, H] = sizes_;
  project(x);
  if (move_row_ != nullptr) {
    move_row_({.steps = n,
               .input = I,
               .hidden = H,
               .row = row_,
               .x = x.data,
               .x_stride = x.row,
               .projected = projected_.get(),
               .weight_ih = weight_ih_.data(),
               .weight_hh = weight_hh_.data(),
               .bias = bias_.get(),
               .h = h(),
               .c = c()});
  } else {
    move_rows(x);
  }
  std::copy_n(h() + n * B * row_, B * row_, h());
  return h() + B * row_;
}

template <class T>
void Stream<T>::project(const Strided<T>& x) noexcept {
  if (projected_.get() == nullptr) return;
  const std::size_t G = gates();
  const typename GateProduct<T>::Term term{x, &weight_ih_};
  kernels::run<T>(projected_rows(), nullptr, {&term, 1}, [this, G](const GateSums<T>& sums) {
    for (std::size_t i = 0; i < sums.rows * G; ++i) {
      std::copy_n(sums.data + i / G * sums.row_stride + i % G * sums.gate_stride, sums.gate_stride,
                  projected_.get() + (sums.row * G + i) * row_ + sums.unit);
    }
  });
}

template <class T>
void Stream<T>::move_rows(Strided<T> x) noexcept {
  const auto [n, B, I, H] = sizes_;
  for (std::size_t t = 0; t < n; ++t) {
    const typename GateProduct<T>::Term terms[] = {{x, &weight_ih_},
                                                   {{h() + t * B * row_, row_, 1}, &weight_hh_}};
    kernels::run<T>(B, nullptr, std::span(terms).subspan(apart_), [this, t](GateSums<T> sums) {
      sums.units = sums.gate_stride;  // the zeros behind H, too
      move_elements(t, sums);
    });
    x = x.from(B, 0);
  }
}

template <class T>
void Stream<T>::move_elements(std::size_t t, const GateSums<T>& sums) noexcept {
  const std::size_t states = sizes_.batch * row_;
  T *const h_before = h() + t * states, *const y = h_before + states;
  if (cell_) {
    cells::step_table<T>(*cell_).forward(
        {.hidden = row_,
         .bias = bias_.get(),
         .inputs = apart_ > 0 ? projected_.get() + t * gates() * states : nullptr,
         .h_before = h_before,
         .zoneout = zoneout_h_.get(),
         .y = y},
        sums);
    return;
  }
  const lstm::StepForward<T> step{
      .hidden = row_, .bias = bias_.get(), .h_before = h_before, .c = c(), .y = y};
  if (with_variant_) {
    lstm::step_forward(step, sums, peephole_.get(), variant_, 0);
  } else {
    lstm::step_forward(step, sums);
  }
}

template class Stream<float>;
template class Stream<double>;

}  // namespace stream
}  // namespace tapegrad::kernels
#endif
