#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

/// The formulas of core/recurrent/lstm.h in plain loops, with all options: what kernel, op and
/// module are tested against. Padding does not exist here either: rows are packed. It needs nothing
/// but the standard library, so that a client of gradcheck.hpp can be compiled with it.
namespace tapegrad::testing {

using Complex = std::complex<double>;
template <class S>
using Values = std::vector<S>;

enum class Loss { y, h, c, all };

/// A problem. `lengths` of the sequences, sorted; empty: all T.
struct NaiveCase {
  std::size_t T = 3, B = 2, I = 2, H = 3;
  std::vector<std::size_t> lengths = {};
  bool reverse = false, biases = true, initial = true;
  bool peephole = false, zoneout = false, mask = false;
  double cell_clip = 0, gradient_clip = 0;
  Loss loss = Loss::all;
  std::uint64_t seed = 1;

  std::size_t length(std::size_t row) const { return lengths.empty() ? T : lengths[row]; }
  std::vector<std::size_t> active() const {
    std::vector<std::size_t> rows(T);
    for (std::size_t t = 0; t < T; ++t) {
      for (std::size_t r = 0; r < B; ++r) rows[t] += length(r) > t;
    }
    return rows;
  }
  /// The first row of each step, and the number of all rows.
  std::vector<std::size_t> offsets() const {
    std::vector<std::size_t> sums = {0};
    for (const std::size_t rows : active()) sums.push_back(sums.back() + rows);
    return sums;
  }
  std::size_t rows() const { return offsets().back(); }
};

/// What can be differentiated, in this order; S is float, double or Complex.
enum Input { X, H0, C0, W_IH, W_HH, B_IH, B_HH, PEEPHOLE, INPUTS };
template <class S>
using Inputs = std::vector<Values<S>>;

/// The numbers of one layer.
struct NaiveData {
  Inputs<double> in;
  Values<double> mask, zoneout_h, zoneout_c;  // empty: off
  Values<double> dy, dh_last, dc_last;        // weights of the loss; empty: not in it
};

// --- the formulas of lstm.h, a row, a step and an element at a time ------------------------------

/// The real part: what a complex number is compared by, since what is cut does not depend on the
/// imaginary one.
template <class R>
R real_part(R x) {
  return x;
}
template <class R>
R real_part(std::complex<R> x) {
  return x.real();
}
template <class S>
using Real = decltype(real_part(S()));

template <class S>
S clipped(S x, double limit) {
  const auto cut = static_cast<Real<S>>(limit);
  return cut > 0 && std::abs(real_part(x)) > cut ? S(std::copysign(cut, real_part(x))) : x;
}
template <class S>
S sigmoid(S x) {
  return Real<S>(1) / (Real<S>(1) + std::exp(-x));
}
template <class S>
S at(const Values<S>& v, std::size_t index) {
  return v.empty() ? S(0) : v[index];
}

template <class S>
struct NaiveForward {
  Values<S> y, h_last, c_last, gates, cells;
  Values<S> h_before, c_before, sum, new_c;  // (N, H): sum is c~ before it is clipped
};

template <class S>
NaiveForward<S> naive_forward(const NaiveCase& c, const NaiveData& d, const Inputs<S>& in) {
  const std::vector<std::size_t> offsets = c.offsets();
  const std::size_t H = c.H, N = offsets.back();
  const Values<S> none(N * H);
  NaiveForward<S> r{
      none, Values<S>(c.B * H), Values<S>(c.B * H), Values<S>(N * 4 * H), none, none, none, none,
      none};
  for (std::size_t row = 0; row < c.B; ++row) {
    Values<S> h(H), cell(H);
    for (std::size_t j = 0; j < H; ++j) {
      h[j] = at(in[H0], row * H + j);
      cell[j] = at(in[C0], row * H + j);
    }
    for (std::size_t k = 0; k < c.length(row); ++k) {
      const std::size_t n = offsets[c.reverse ? c.length(row) - 1 - k : k] + row;
      Values<S> a(4 * H);
      for (std::size_t q = 0; q < 4 * H; ++q) {
        a[q] = at(in[B_IH], q) + at(in[B_HH], q);
        for (std::size_t i = 0; i < c.I; ++i) a[q] += in[W_IH][q * c.I + i] * in[X][n * c.I + i];
        for (std::size_t j = 0; j < H; ++j) {
          const double m = d.mask.empty() ? 1 : d.mask[row * H + j];
          a[q] += in[W_HH][q * H + j] * (static_cast<Real<S>>(m) * h[j]);
        }
      }
      for (std::size_t j = 0; j < H; ++j) {
        const std::size_t e = n * H + j;
        const S i = sigmoid(a[j] + at(in[PEEPHOLE], j) * cell[j]);
        const S f = sigmoid(a[H + j] + at(in[PEEPHOLE], H + j) * cell[j]);
        const S g = std::tanh(a[2 * H + j]);
        r.h_before[e] = h[j];
        r.c_before[e] = cell[j];
        r.sum[e] = f * cell[j] + i * g;
        r.new_c[e] = clipped(r.sum[e], c.cell_clip);
        const S o = sigmoid(a[3 * H + j] + at(in[PEEPHOLE], 2 * H + j) * r.new_c[e]);
        const auto zc = static_cast<Real<S>>(at(d.zoneout_c, e));
        const auto zh = static_cast<Real<S>>(at(d.zoneout_h, e));
        cell[j] = zc * cell[j] + (1 - zc) * r.new_c[e];
        h[j] = zh * h[j] + (1 - zh) * o * std::tanh(r.new_c[e]);
        const S gates[] = {i, f, g, o};
        for (std::size_t q = 0; q < 4; ++q) r.gates[n * 4 * H + q * H + j] = gates[q];
        r.cells[e] = cell[j];
        r.y[e] = h[j];
      }
    }
    std::copy(h.begin(), h.end(), r.h_last.begin() + static_cast<std::ptrdiff_t>(row * H));
    std::copy(cell.begin(), cell.end(), r.c_last.begin() + static_cast<std::ptrdiff_t>(row * H));
  }
  return r;
}

/// Layers on one another: the x of all but the first is the y of the one below.
template <class S>
std::vector<NaiveForward<S>> naive_forward(NaiveCase c, std::span<const NaiveData> layers,
                                           std::vector<Inputs<S>> in) {
  std::vector<NaiveForward<S>> r;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    if (l > 0) in[l][X] = r.back().y, c.I = c.H;
    r.push_back(naive_forward(c, layers[l], in[l]));
  }
  return r;
}

struct NaiveGradients {
  Inputs<double> in;  // of B_HH: the same as of B_IH, not repeated
  Values<double> dgates, dh, dc;
};

inline NaiveGradients naive_backward(const NaiveCase& c, const NaiveData& d) {
  const std::vector<std::size_t> offsets = c.offsets();
  const NaiveForward<double> fwd = naive_forward(c, d, d.in);
  const std::size_t H = c.H, N = offsets.back();
  const Values<double>&w_ih = d.in[W_IH], &w_hh = d.in[W_HH], &p = d.in[PEEPHOLE];
  NaiveGradients r{{Values<double>(N * c.I),
                    Values<double>(c.B * H),
                    Values<double>(c.B * H),
                    Values<double>(4 * H * c.I),
                    Values<double>(4 * H * H),
                    Values<double>(4 * H),
                    {},
                    Values<double>(3 * H)},
                   Values<double>(N * 4 * H),
                   Values<double>(N * H),
                   Values<double>(N * H)};
  for (std::size_t row = 0; row < c.B; ++row) {
    Values<double> dh(H), dc(H);
    for (std::size_t j = 0; j < H; ++j) {
      dh[j] = at(d.dh_last, row * H + j);
      dc[j] = at(d.dc_last, row * H + j);
    }
    for (std::size_t k = c.length(row); k-- > 0;) {
      const std::size_t n = offsets[c.reverse ? c.length(row) - 1 - k : k] + row;
      Values<double> dh_before(H), dc_before(H), da(4 * H);
      for (std::size_t j = 0; j < H; ++j) {
        const std::size_t e = n * H + j;
        const double* gates = fwd.gates.data() + n * 4 * H + j;
        const double i = gates[0], f = gates[H], g = gates[2 * H], o = gates[3 * H];
        const double zc = at(d.zoneout_c, e), zh = at(d.zoneout_h, e);
        dh[j] += at(d.dy, e);
        r.dh[e] = dh[j];
        r.dc[e] = dc[j];
        const double th = std::tanh(fwd.new_c[e]), dnew_h = (1 - zh) * dh[j];
        da[3 * H + j] = clipped(dnew_h * th * o * (1 - o), c.gradient_clip);
        double dnew_c = (1 - zc) * dc[j];
        dnew_c += dnew_h * o * (1 - th * th);
        dnew_c += at(p, 2 * H + j) * da[3 * H + j];
        if (!c.zoneout) r.dc[e] = dnew_c;  // c_t is c~_t
        if (fwd.sum[e] != fwd.new_c[e]) dnew_c = 0;
        da[j] = clipped(dnew_c * g * i * (1 - i), c.gradient_clip);
        da[H + j] = clipped(dnew_c * fwd.c_before[e] * f * (1 - f), c.gradient_clip);
        da[2 * H + j] = clipped(dnew_c * i * (1 - g * g), c.gradient_clip);
        dc_before[j] = zc * dc[j] + dnew_c * f + at(p, j) * da[j] + at(p, H + j) * da[H + j];
        dh_before[j] = zh * dh[j];
        r.in[PEEPHOLE][j] += da[j] * fwd.c_before[e];
        r.in[PEEPHOLE][H + j] += da[H + j] * fwd.c_before[e];
        r.in[PEEPHOLE][2 * H + j] += da[3 * H + j] * fwd.new_c[e];
      }
      for (std::size_t q = 0; q < 4 * H; ++q) {
        r.dgates[n * 4 * H + q] = da[q];
        r.in[B_IH][q] += da[q];
        for (std::size_t i = 0; i < c.I; ++i) {
          r.in[X][n * c.I + i] += da[q] * w_ih[q * c.I + i];
          r.in[W_IH][q * c.I + i] += da[q] * d.in[X][n * c.I + i];
        }
        for (std::size_t j = 0; j < H; ++j) {
          const double m = d.mask.empty() ? 1 : d.mask[row * H + j];
          dh_before[j] += m * da[q] * w_hh[q * H + j];
          r.in[W_HH][q * H + j] += da[q] * m * fwd.h_before[n * H + j];
        }
      }
      dh = dh_before;
      dc = dc_before;
    }
    for (std::size_t j = 0; j < H; ++j) {
      r.in[H0][row * H + j] = dh[j];
      r.in[C0][row * H + j] = dc[j];
    }
  }
  return r;
}

/// The derivative of the loss by one input number of one layer, by the complex step: with the number
/// moved by i 1e-30, the imaginary part of the loss is 1e-30 times its derivative, without any
/// cancellation (Squire and Trapp 1998).
inline double complex_step(const NaiveCase& c, std::span<const NaiveData> layers, std::size_t layer,
                           std::size_t which, std::size_t index) {
  constexpr double step = 1e-30;  // nothing is subtracted, so it may be as small as one likes
  std::vector<Inputs<Complex>> in(layers.size());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    for (const Values<double>& v : layers[l].in) in[l].emplace_back(v.begin(), v.end());
  }
  in[layer][which][index] += Complex(0, step);
  const std::vector<NaiveForward<Complex>> r = naive_forward(c, layers, std::move(in));
  Complex loss = 0;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const NaiveData& d = layers[l];
    for (std::size_t n = 0; n < d.dy.size(); ++n) loss += d.dy[n] * r[l].y[n];
    for (std::size_t n = 0; n < d.dh_last.size(); ++n) loss += d.dh_last[n] * r[l].h_last[n];
    for (std::size_t n = 0; n < d.dc_last.size(); ++n) loss += d.dc_last[n] * r[l].c_last[n];
  }
  return loss.imag() / step;
}

}  // namespace tapegrad::testing
