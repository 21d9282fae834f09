#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstddef>
#include <vector>

#include "../../core/recurrent/cells.h"

/// The cells of core/recurrent/cells.h as loops over rows, steps and units, in float64: forward for
/// real and complex numbers, so that a complex step gives derivatives; backward written out.
namespace tapegrad::testing::naive {

using kernels::cells::Cell;
template <class T>
using Numbers = std::vector<T>;

/// Inputs that have a gradient.
enum Input : std::size_t { x, h0, w_ih, w_hh, b_ih, b_hh, inputs };
inline constexpr const char* input_names[] = {"x",         "h0",      "weight_ih",
                                              "weight_hh", "bias_ih", "bias_hh"};

struct Case {
  Cell cell = Cell::gru;
  std::size_t T = 3, B = 2, I = 2, H = 3;
  Numbers<std::size_t> lengths;  // descending; empty: all T
  bool reverse = false, masked = false, zoneout = false;
  double gradient_clip = 0;  // 0: off

  std::size_t gates() const { return kernels::cells::gate_count(cell); }
  std::size_t length(std::size_t row) const { return lengths.empty() ? T : lengths[row]; }
  Numbers<std::size_t> active() const {
    Numbers<std::size_t> a(T, 0);
    for (std::size_t row = 0; row < B; ++row) {
      for (std::size_t t = 0; t < length(row); ++t) ++a[t];
    }
    return a;
  }
  /// Where step t begins among all rows; N for t = T.
  std::size_t offset(std::size_t t) const {
    const Numbers<std::size_t> a = active();
    std::size_t sum = 0;
    for (std::size_t k = 0; k < t; ++k) sum += a[k];
    return sum;
  }
};

/// Masks are empty where the case has none.
template <class N>
struct Data {
  std::array<Numbers<N>, inputs> in;
  Numbers<double> mask, zoneout, dy, dh_last;
};

template <class N>
struct Results {
  Numbers<N> y, h_last, gates;
};
struct Gradients {
  std::array<Numbers<double>, inputs> in;
  Numbers<double> dgates, dh;
};

/// One row at one step, from u = W_ih x + b_ih and s = W_hh (m * h) + b_hh: gates and h~.
template <class N>
N unit_forward(Cell cell, const N* u, const N* s, N h, N* gates) {
  const auto sigmoid = [](N a) { return N{1} / (N{1} + std::exp(-a)); };
  if (cell == Cell::rnn_tanh) return gates[0] = std::tanh(u[0] + s[0]);
  if (cell == Cell::rnn_relu) return gates[0] = std::real(u[0] + s[0]) > 0 ? u[0] + s[0] : N{0};
  gates[0] = sigmoid(u[0] + s[0]);
  gates[1] = sigmoid(u[1] + s[1]);
  gates[2] = std::tanh(u[2] + gates[0] * s[2]);
  return (N{1} - gates[1]) * gates[2] + gates[1] * h;
}

/// Gradients of u and s from that of h~; what reaches h past the product is returned.
inline double unit_backward(Cell cell, const double* gates, const double* s, double h, double dh,
                            double limit, double* du, double* ds) {
  const auto clip = [&](double v) { return limit > 0 ? std::clamp(v, -limit, limit) : v; };
  if (cell != Cell::gru) {
    const double slope = cell == Cell::rnn_tanh ? 1 - gates[0] * gates[0] : gates[0] > 0 ? 1 : 0;
    du[0] = ds[0] = clip(dh * slope);
    return 0;
  }
  const double r = gates[0], z = gates[1], n = gates[2];
  du[2] = clip(dh * (1 - z) * (1 - n * n));
  ds[2] = du[2] * r;
  du[1] = ds[1] = clip(dh * (h - n) * z * (1 - z));
  du[0] = ds[0] = clip(du[2] * s[2] * r * (1 - r));
  return dh * z;
}

/// All rows, forward; with `gradients` backward too (real numbers only).
template <class N>
Results<N> run(const Case& c, const Data<N>& d, Gradients* gradients = nullptr) {
  const std::size_t H = c.H, G = c.gates(), N_rows = c.offset(c.T);
  Results<N> r{Numbers<N>(N_rows * H), Numbers<N>(c.B * H), Numbers<N>(N_rows * G * H)};
  if (gradients != nullptr) {
    for (std::size_t i = 0; i < inputs; ++i) gradients->in[i].assign(d.in[i].size(), 0);
    gradients->dgates.assign(N_rows * G * H, 0), gradients->dh.assign(N_rows * H, 0);
  }
  for (std::size_t row = 0; row < c.B; ++row) {
    const std::size_t length = c.length(row);
    const auto place = [&](std::size_t k) {
      return c.offset(c.reverse ? length - 1 - k : k) + row;
    };
    const auto m = [&](std::size_t j) { return d.mask.empty() ? 1 : d.mask[row * H + j]; };
    const auto zone = [&](std::size_t n, std::size_t j) {
      return d.zoneout.empty() ? 0 : d.zoneout[n * H + j];
    };
    Numbers<Numbers<N>> h(length + 1, Numbers<N>(H)),
        s(length, Numbers<N>(G * H));  // s: [gate][unit]
    for (std::size_t j = 0; j < H; ++j) h[0][j] = d.in[h0][row * H + j];
    for (std::size_t k = 0; k < length; ++k) {
      const std::size_t n = place(k);
      for (std::size_t j = 0; j < H; ++j) {
        Numbers<N> u(G), own_s(G), gates(G);
        for (std::size_t g = 0; g < G; ++g) {
          const std::size_t column = g * H + j;
          u[g] = d.in[b_ih][column], own_s[g] = d.in[b_hh][column];
          for (std::size_t i = 0; i < c.I; ++i) {
            u[g] += d.in[w_ih][column * c.I + i] * d.in[x][n * c.I + i];
          }
          for (std::size_t i = 0; i < H; ++i)
            own_s[g] += d.in[w_hh][column * H + i] * m(i) * h[k][i];
          s[k][column] = own_s[g];
        }
        const N fresh = unit_forward(c.cell, u.data(), own_s.data(), h[k][j], gates.data());
        for (std::size_t g = 0; g < G; ++g) r.gates[(n * G + g) * H + j] = gates[g];
        r.y[n * H + j] = h[k + 1][j] = zone(n, j) * h[k][j] + (1 - zone(n, j)) * fresh;
      }
    }
    for (std::size_t j = 0; j < H; ++j) r.h_last[row * H + j] = h[length][j];
    if constexpr (std::is_same_v<N, double>) {
      if (gradients == nullptr) continue;
      Gradients& g = *gradients;
      Numbers<double> dh(d.dh_last.begin() + static_cast<std::ptrdiff_t>(row * H),
                         d.dh_last.begin() + static_cast<std::ptrdiff_t>((row + 1) * H));
      for (std::size_t k = length; k-- > 0;) {
        const std::size_t n = place(k);
        Numbers<double> before(H, 0);
        for (std::size_t j = 0; j < H; ++j) {
          Numbers<double> gates(G), own_s(G), du(G), ds(G);
          for (std::size_t e = 0; e < G; ++e) {
            gates[e] = r.gates[(n * G + e) * H + j], own_s[e] = s[k][e * H + j];
          }
          const double whole = g.dh[n * H + j] = dh[j] + d.dy[n * H + j], z = zone(n, j);
          before[j] +=
              z * whole + unit_backward(c.cell, gates.data(), own_s.data(), h[k][j],
                                        (1 - z) * whole, c.gradient_clip, du.data(), ds.data());
          for (std::size_t e = 0; e < G; ++e) {
            const std::size_t column = e * H + j;
            g.dgates[(n * G + e) * H + j] = du[e];
            g.in[b_ih][column] += du[e], g.in[b_hh][column] += ds[e];
            for (std::size_t i = 0; i < c.I; ++i) {
              g.in[x][n * c.I + i] += du[e] * d.in[w_ih][column * c.I + i];
              g.in[w_ih][column * c.I + i] += du[e] * d.in[x][n * c.I + i];
            }
            for (std::size_t i = 0; i < H; ++i) {
              before[i] += m(i) * ds[e] * d.in[w_hh][column * H + i];
              g.in[w_hh][column * H + i] += ds[e] * m(i) * h[k][i];
            }
          }
        }
        dh = before;
      }
      std::copy(dh.begin(), dh.end(), g.in[h0].begin() + static_cast<std::ptrdiff_t>(row * H));
    }
  }
  return r;
}

/// d loss / d in[which][index] by a complex step, for loss = sum(dy y) + sum(dh_last h_last).
inline double complex_step(const Case& c, const Data<double>& d, std::size_t which,
                           std::size_t index) {
  constexpr double step = 1e-100;
  Data<std::complex<double>> z;
  for (std::size_t i = 0; i < inputs; ++i) z.in[i].assign(d.in[i].begin(), d.in[i].end());
  z.mask = d.mask, z.zoneout = d.zoneout;
  z.in[which][index] += std::complex<double>(0, step);
  const Results<std::complex<double>> r = run(c, z);
  double derivative = 0;
  for (std::size_t i = 0; i < r.y.size(); ++i) derivative += d.dy[i] * r.y[i].imag() / step;
  for (std::size_t i = 0; i < r.h_last.size(); ++i) {
    derivative += d.dh_last[i] * r.h_last[i].imag() / step;
  }
  return derivative;
}

}  // namespace tapegrad::testing::naive
