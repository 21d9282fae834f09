#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../../core/rng.h"

/// The formulas of core/recurrent/lstm.h in plain loops, with all options, forward and backward: what
/// the kernel is tested against. Padding does not exist here either: rows are packed.
namespace tapegrad::testing::naive {

using Complex = std::complex<double>;
template <class S>
using Values = std::vector<S>;

enum class Loss { y, h, c, all };

/// A problem for the kernel. `lengths` of the sequences, sorted; empty: all T.
struct Case {
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
  std::size_t offset(std::size_t t) const {
    const std::vector<std::size_t> rows = active();
    std::size_t sum = 0;
    for (std::size_t s = 0; s < t; ++s) sum += rows[s];
    return sum;
  }
  std::size_t rows() const { return offset(T); }
};

inline std::string describe(const Case& c) {
  std::string s = "T=" + std::to_string(c.T) + " B=" + std::to_string(c.B) +
                  " H=" + std::to_string(c.H) + " lengths=";
  for (const std::size_t l : c.lengths) s += std::to_string(l) + ",";
  const std::pair<const char*, bool> on[] = {
      {" reverse", c.reverse},     {" no-bias", !c.biases},
      {" null-state", !c.initial}, {" mask", c.mask},
      {" peephole", c.peephole},   {" zoneout", c.zoneout},
      {" clip", c.cell_clip > 0},  {" gradient-clip", c.gradient_clip > 0}};
  for (const auto& [name, is_on] : on) s += is_on ? name : "";
  const char* const losses[] = {" y", " h_T", " c_T", " all"};
  return s + " loss=" + losses[static_cast<std::size_t>(c.loss)];
}

/// The option sets; the last one has all of them.
inline std::vector<Case> option_sets() {
  return {
      {},
      {.biases = false, .initial = false},
      {.mask = true},
      {.peephole = true},
      {.zoneout = true},
      {.cell_clip = 0.5},
      {.gradient_clip = 0.2},
      {.peephole = true, .zoneout = true, .mask = true, .cell_clip = 0.7, .gradient_clip = 0.2}};
}

/// Full, packed, packed with an empty sequence, with steps that no sequence reaches; each both
/// ways.
inline std::vector<Case> layouts(Case c) {
  std::vector<std::vector<std::size_t>> lengths(4, std::vector<std::size_t>(c.B, c.T));
  for (std::size_t r = 0; r < c.B; ++r) {
    lengths[1][r] = c.T - c.T * r / (c.B + 1);
    lengths[2][r] = r == c.B - 1 ? 0 : lengths[1][r];
    lengths[3][r] = lengths[1][r] - 1;
  }
  lengths[0] = {};
  std::vector<Case> r;
  for (const auto& l : lengths) {
    for (const bool reverse : {false, true}) {
      c.lengths = l;
      c.reverse = reverse;
      r.push_back(c);
    }
  }
  return r;
}

/// What can be differentiated, in this order; S is a number or a complex one.
enum Input { X, H0, C0, W_IH, W_HH, B_IH, B_HH, PEEPHOLE, INPUTS };
inline const char* const input_names[] = {"x",    "h0",   "c0",   "w_ih",
                                          "w_hh", "b_ih", "b_hh", "peephole"};
template <class S>
using Inputs = std::vector<Values<S>>;

struct Data {
  Inputs<double> in;
  Values<double> mask, zoneout_h, zoneout_c;  // empty: off
  Values<double> dy, dh_last, dc_last;        // weights of the loss; empty: not in it

  explicit Data(const Case& c) {
    Rng rng(c.seed, "lstm kernel");
    const auto normal = [&](std::size_t n, double deviation, bool on = true) {
      Values<double> v(on ? n : 0);  // rounded, so that float problems are the same problems
      for (double& x : v) x = static_cast<double>(static_cast<float>(deviation * rng.normal()));
      return v;
    };
    const double scale = 0.7 / std::sqrt(static_cast<double>(c.H));
    const std::size_t N = c.rows(), BH = c.B * c.H;
    in = {normal(N * c.I, 1),
          normal(BH, 0.5, c.initial),
          normal(BH, 1, c.initial),
          normal(4 * c.H * c.I, 0.7),
          normal(4 * c.H * c.H, scale),
          normal(4 * c.H, 0.5, c.biases),
          normal(4 * c.H, 0.5, c.biases),
          normal(3 * c.H, 0.5, c.peephole)};
    mask = normal(BH, 1, c.mask);
    for (double& m : mask) m = m > -0.3 ? 1.5 : 0;
    zoneout_h = normal(N * c.H, 1, c.zoneout);
    zoneout_c = normal(N * c.H, 1, c.zoneout);
    for (auto* zoneout : {&zoneout_h, &zoneout_c}) {  // kept, updated, and inference's mixture
      for (double& z : *zoneout) z = z > 0.7 ? 1 : z > -0.3 ? 0 : 0.25;
    }
    dy = normal(N * c.H, 1, c.loss == Loss::y || c.loss == Loss::all);
    dh_last = normal(BH, 1, c.loss == Loss::h || c.loss == Loss::all);
    dc_last = normal(BH, 1, c.loss == Loss::c || c.loss == Loss::all);
  }
};

// --- the formulas of lstm.h, a row, a step and an element at a time ------------------------------

inline double clipped(double x, double limit) {
  return limit > 0 ? std::min(limit, std::max(-limit, x)) : x;
}
inline Complex clipped(Complex x, double limit) {  // what is cut does not depend on its input
  return limit > 0 && std::abs(x.real()) > limit ? clipped(x.real(), limit) : x;
}
template <class S>
S sigmoid(S x) {
  return 1.0 / (1.0 + std::exp(-x));
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
NaiveForward<S> naive_forward(const Case& c, const Data& d, const Inputs<S>& in) {
  const std::size_t H = c.H, N = c.rows();
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
      const std::size_t n = c.offset(c.reverse ? c.length(row) - 1 - k : k) + row;
      Values<S> a(4 * H);
      for (std::size_t q = 0; q < 4 * H; ++q) {
        a[q] = at(in[B_IH], q) + at(in[B_HH], q);
        for (std::size_t i = 0; i < c.I; ++i) a[q] += in[W_IH][q * c.I + i] * in[X][n * c.I + i];
        for (std::size_t j = 0; j < H; ++j) {
          const double m = d.mask.empty() ? 1 : d.mask[row * H + j];
          a[q] += in[W_HH][q * H + j] * (m * h[j]);
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
        const double zc = at(d.zoneout_c, e), zh = at(d.zoneout_h, e);
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

struct Gradients {
  Inputs<double> in;  // of B_HH: the same as of B_IH, not repeated
  Values<double> dgates, dh, dc;
};

inline Gradients naive_backward(const Case& c, const Data& d) {
  const NaiveForward<double> fwd = naive_forward(c, d, d.in);
  const std::size_t H = c.H, N = c.rows();
  const Values<double>&w_ih = d.in[W_IH], &w_hh = d.in[W_HH], &p = d.in[PEEPHOLE];
  Gradients r{{Values<double>(N * c.I),
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
      const std::size_t n = c.offset(c.reverse ? c.length(row) - 1 - k : k) + row;
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

/// The derivative of the loss by one input number, by the complex step.
inline double complex_step(const Case& c, const Data& d, Input which, std::size_t index) {
  constexpr double step = 1e-30;  // nothing is subtracted, so it may be as small as one likes
  Inputs<Complex> in;
  for (const Values<double>& v : d.in) in.emplace_back(v.begin(), v.end());
  in[which][index] += Complex(0, step);
  const NaiveForward<Complex> r = naive_forward(c, d, in);
  Complex loss = 0;
  for (std::size_t n = 0; n < d.dy.size(); ++n) loss += d.dy[n] * r.y[n];
  for (std::size_t n = 0; n < d.dh_last.size(); ++n) loss += d.dh_last[n] * r.h_last[n];
  for (std::size_t n = 0; n < d.dc_last.size(); ++n) loss += d.dc_last[n] * r.c_last[n];
  return loss.imag() / step;
}

}  // namespace tapegrad::testing::naive
