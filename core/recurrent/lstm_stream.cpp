#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/recurrent/lstm_stream.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>

#include "../simd/lanes-inl.h"
#include "lstm_cell-inl.h"
#include "lstm_step-inl.h"
#include "lstm_stream-inl.h"

// Several rows are moved on by the product of tiles and by the elements of forward(). One row waits:
// each sum is a chain of additions, and the elements are one after the other. So as many units as
// there are registers for are summed side by side, and their elements are computed where the sums
// are.

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

/// The gates i, f, g, o of `groups` vectors of units.
template <class T, std::size_t groups>
using Gates = hn::Vec<hn::ScalableTag<T>>[groups][4];

/// sums = x B, or with `add` +=; x (k), B as Packed has it, from the first of the groups on.
template <class T, std::size_t groups>
HWY_INLINE void multiply(std::size_t k, const T* x, const T* b, bool add, Gates<T, groups>& sums) {
  const hn::ScalableTag<T> d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t depth = part_depth(k);
  for (std::size_t p0 = 0; p0 < k; p0 += depth) {
    Gates<T, groups> part;
    for (auto& group : part) {
      for (auto& gate : group) gate = hn::Zero(d);
    }
    for (std::size_t p = p0; p < std::min(k, p0 + depth); ++p) {
      const auto factor = hn::Set(d, x[p]);
      for (std::size_t v = 0; v < groups * 4; ++v) {
        const std::size_t vector = (v / max_vectors * k + p) * max_vectors + v % max_vectors;
        part[v / 4][v % 4] =
            hn::MulAdd(factor, hn::Load(d, b + vector * lanes), part[v / 4][v % 4]);
      }
    }
    for (std::size_t v = 0; v < groups * 4; ++v) {
      auto& sum = sums[v / 4][v % 4];
      sum = add || p0 > 0 ? hn::Add(sum, part[v / 4][v % 4]) : part[v / 4][v % 4];
    }
  }
}

/// Step t of `groups` vectors of units from the one numbered `first` on.
template <class T, std::size_t groups>
HWY_INLINE void move_units(const lstm::RowSteps<T>& s, std::size_t t, std::size_t first) {
  const hn::ScalableTag<T> d;
  const std::size_t unit = first * hn::Lanes(d);
  Gates<T, groups> sums;
  for (auto& group : sums) {
    for (auto& gate : group)
      gate = hn::Zero(d);  // g++ does not see that the first part overwrites them
  }
  if (s.projected != nullptr) {
    for (std::size_t v = 0; v < groups * 4; ++v) {
      sums[v / 4][v % 4] =
          hn::Load(d, s.projected + (t * 4 + v % 4) * s.row + unit + v / 4 * hn::Lanes(d));
    }
  } else {
    multiply<T, groups>(s.input, s.x + t * s.x_stride, s.weight_ih + unit * 4 * s.input, false,
                        sums);
  }
  const T* const h_before = s.h + t * s.row;
  multiply<T, groups>(s.hidden, h_before, s.weight_hh + unit * 4 * s.hidden, true, sums);
  hn::Vec<decltype(d)> c_before[groups];
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t j = unit + group * hn::Lanes(d);
    for (std::size_t gate = 0; gate < 4; ++gate) {
      sums[group][gate] = hn::Add(sums[group][gate], hn::Load(d, s.bias + gate * s.row + j));
    }
    c_before[group] = hn::Load(d, s.c + j);
  }
  LstmCell<hn::Vec<decltype(d)>> cells[groups];
  lstm_cells(d, sums, c_before, cells);
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t j = unit + group * hn::Lanes(d);
    hn::Store(cells[group].c, d, s.c + j);
    hn::Store(cells[group].h, d, s.h + (t + 1) * s.row + j);
  }
}

template <class T>
HWY_INLINE void move_row(const lstm::RowSteps<T>& s) {
  const std::size_t groups = s.row / hn::Lanes(hn::ScalableTag<T>());
  for (std::size_t t = 0; t < s.steps; ++t) {
    for (std::size_t first = 0; first < groups;) {
      const std::size_t left = groups - first;
      if (left == 1) {
        move_units<T, 1>(s, t, first);
        first += 1;
      } else if (left == 2 || left == 4) {
        move_units<T, 2>(s, t, first);
        first += 2;
      } else {
        move_units<T, 3>(s, t, first);
        first += 3;
      }
    }
  }
}

void move_row_float(const lstm::RowSteps<float>& s) { move_row(s); }
void move_row_double(const lstm::RowSteps<double>& s) { move_row(s); }

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(move_row_float);
HWY_EXPORT(move_row_double);

namespace lstm {
namespace {

template <class T>
void move_row(const RowSteps<T>& steps) {
  if constexpr (std::same_as<T, float>) {
    HWY_DYNAMIC_DISPATCH(move_row_float)(steps);
  } else {
    HWY_DYNAMIC_DISPATCH(move_row_double)(steps);
  }
}

/// Returns whether W_ih x is computed for all steps of a call together: for one row, and unless it
/// has so few terms that they cost less than to write down their sums.
template <class Sizes>
bool suits_merging(const Sizes& sizes) {
  return sizes.batch == 1 && sizes.steps > 1 && sizes.input > 4;
}

}  // namespace

template <class T>
Stream<T>::Stream(const Sizes& sizes, const Weights<T>& weights)
    : sizes_(sizes),
      weight_ih_(sizes.input, sizes.hidden, {weights.weight_ih, 1, sizes.input}, 4),
      weight_hh_(sizes.hidden, sizes.hidden, {weights.weight_hh, 1, sizes.hidden}, 4),
      row_(weight_hh_.padded_units()),
      bias_(4 * row_),
      projected_(suits_merging(sizes) ? sizes.steps * 4 * row_ : 0),
      y_((sizes.steps + 1) * sizes.batch * row_),
      c_(sizes.batch * row_) {
  load(weights);
  reset();
}

template <class T>
void Stream<T>::load(const Weights<T>& weights) noexcept {
  const std::size_t I = sizes_.input, H = sizes_.hidden;
  weight_ih_.pack({weights.weight_ih, 1, I});
  weight_hh_.pack({weights.weight_hh, 1, H});
  std::fill_n(bias_.get(), 4 * row_, T{0});
  for (std::size_t gate = 0; gate < 4; ++gate) {
    T* const bias = bias_.get() + gate * row_;
    if (weights.bias_ih != nullptr) std::copy_n(weights.bias_ih + gate * H, H, bias);
    if (weights.bias_hh == nullptr) continue;
    for (std::size_t j = 0; j < H; ++j) bias[j] += weights.bias_hh[gate * H + j];
  }
}

template <class T>
void Stream<T>::reset() noexcept {
  std::fill_n(h(), sizes_.batch * row_, T{0});
  std::fill_n(c(), sizes_.batch * row_, T{0});
}

template <class T>
const T* Stream<T>::run(const Strided<T>& x) noexcept {
  const auto [n, B, I, H] = sizes_;
  if (B == 1) {
    project(x);
    move_row<T>({.steps = n,
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
  const typename GateProduct<T>::Term term{x, &weight_ih_};
  kernels::run<T>(sizes_.steps, nullptr, {&term, 1}, [this](const GateSums<T>& sums) {
    for (std::size_t i = 0; i < sums.rows * 4; ++i) {
      std::copy_n(sums.data + i / 4 * sums.row_stride + i % 4 * sums.gate_stride, sums.gate_stride,
                  projected_.get() + (sums.row * 4 + i) * row_ + sums.unit);
    }
  });
}

template <class T>
void Stream<T>::move_rows(Strided<T> x) noexcept {
  const auto [n, B, I, H] = sizes_;
  StepForward<T> step{.hidden = row_, .bias = bias_.get(), .h_before = h(), .c = c()};
  for (std::size_t t = 0; t < n; ++t) {
    step.y = h() + (t + 1) * B * row_;
    const typename GateProduct<T>::Term terms[] = {{x, &weight_ih_},
                                                   {{step.h_before, row_, 1}, &weight_hh_}};
    kernels::run<T>(B, nullptr, terms, [&step](GateSums<T> sums) {
      sums.units = sums.gate_stride;  // the zeros behind H, too
      step_forward(step, sums);
    });
    step.h_before = step.y;
    x = x.from(B, 0);
  }
}

template class Stream<float>;
template class Stream<double>;

}  // namespace lstm
}  // namespace tapegrad::kernels
#endif
