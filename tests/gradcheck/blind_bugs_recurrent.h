#pragma once

#include <array>

#include "blind_bugs_base.h"

/// Recurrent models in plain loops, with a backward pass written by hand and mistakes in it.
namespace tapegrad::testing::blind {

/// LSTM with peepholes (the output gate sees the new cell) and a projection, r = V h; squares of
/// all steps. Sak, Senior and Beaufays 2014.
struct ProjectedLSTM : Model {
  static constexpr size_t T = 5, B = 2, I = 2, H = 3, P = 3;
  const std::vector<std::string> ifgo{"i", "f", "g", "o"};
  Block W{"W", {4 * H, I}, 1, 0.8, ifgo}, U{"U", {4 * H, P}, 2, 0.8, ifgo};
  Block b{"b", {4 * H}, 3, 0.5, ifgo}, peep{"peephole", {3 * H}, 4, 0.7, {"i", "f", "o"}};
  Block V{"V", {P, H}, 5, 0.9}, c0{"c0", {B, H}, 6, 0.6}, r0{"r0", {B, P}, 7, 0.6};
  Rows x{T * B, I}, target{T * B, P}, gate{T * B, 4 * H}, h{T * B, H}, c{(T + 1) * B, H},
      r{(T + 1) * B, P};

  ProjectedLSTM() {
    blocks = {&W, &U, &b, &peep, &V, &c0, &r0};
    sizes = {{"T", T}, {"B", B}};
    fill(x, 8, 1), fill(target, 9, 1);
  }
  double loss() override {
    std::copy(c0.value.v.begin(), c0.value.v.end(), c.v.begin());
    std::copy(r0.value.v.begin(), r0.value.v.end(), r.v.begin());
    const Const p = peep.value[0];
    double sum = 0;
    for (size_t n = 0; n < T * B; ++n) {  // n = t B + k, so n + B is the same row a step later
      const View a = gate[n], cell = c[n + B];
      std::copy(b.value.v.begin(), b.value.v.end(), a.begin());
      add_product(a, W.value, x[n]);
      add_product(a, U.value, r[n]);
      for (size_t j = 0; j < H; ++j) {
        a[j] = sigmoid(a[j] + p[j] * c[n][j]);
        a[H + j] = sigmoid(a[H + j] + p[H + j] * c[n][j]);
        a[2 * H + j] = std::tanh(a[2 * H + j]);
        cell[j] = a[H + j] * c[n][j] + a[j] * a[2 * H + j];
        a[3 * H + j] = sigmoid(a[3 * H + j] + p[2 * H + j] * cell[j]);
        h[n][j] = a[3 * H + j] * std::tanh(cell[j]);
      }
      std::fill(r[n + B].begin(), r[n + B].end(), 0.0);
      add_product(r[n + B], V.value, h[n]);
      sum += half_square(r[n + B], target[n]);
    }
    return sum / (T * B);
  }
  void backward() override {
    Rows dr{B, P}, dc{B, H};
    const Const p = peep.value[0];
    const View dp = peep.gradient[0];
    for (size_t n = T * B; n-- > 0;) {
      const size_t k = n % B;
      const Const a = gate[n], before = c[n], cell = c[n + B];
      for (size_t j = 0; j < P; ++j) dr[k][j] += (r[n + B][j] - target[n][j]) / (T * B);
      add_outer(V.gradient, dr[k], h[n]);
      Numbers dh(H), da(4 * H);
      add_transposed(dh, V.value, dr[k]);
      for (size_t j = 0; j < H; ++j) {
        const double i = a[j], f = a[H + j], g = a[2 * H + j], o = a[3 * H + j];
        const double tc = std::tanh(cell[j]);
        da[3 * H + j] = dh[j] * tc * o * (1 - o);
        double d = dc[k][j] + dh[j] * o * (1 - tc * tc);
        if (bug != "lstm: output peephole not followed into the cell") {
          d += da[3 * H + j] * p[2 * H + j];
        }
        da[j] = d * g * i * (1 - i);
        da[H + j] = d * before[j] * f * (1 - f);
        da[2 * H + j] = d * i * (1 - g * g);
        dp[j] += da[j] * before[j];
        dp[H + j] += da[H + j] * before[j];
        dp[2 * H + j] +=
            da[3 * H + j] * (bug == "lstm: output peephole on the old cell" ? before : cell)[j];
        dc[k][j] = d * f + da[j] * p[j] + da[H + j] * p[H + j];
        if (bug == "lstm: cell state detached") dc[k][j] = 0;
      }
      add_outer(W.gradient, da, x[n]);
      for (size_t q = 0; q < 4; ++q) {
        const Const part = Const(da).subspan(q * H, H);
        const bool turned = bug == "lstm: recurrent gradient turned in each gate";
        add_outer(U.gradient, turned ? r[n] : part, turned ? part : r[n], q * H);
      }
      add(b.gradient[0], da);
      std::fill(dr[k].begin(), dr[k].end(), 0.0);
      add_transposed(dr[k], U.value, da);
    }
    c0.gradient = dc, r0.gradient = dr;
    if (bug == "lstm: gates in the order of another library") {
      for (Block* block : {&W, &U, &b}) {
        const auto g = block->gradient.v.begin();
        const auto q = static_cast<std::ptrdiff_t>(block->gradient.v.size() / 4);
        std::swap_ranges(g + 2 * q, g + 3 * q, g + 3 * q);
      }
    }
  }
};

/// GRU, reset gate before the product (Cho et al. 2014); h stays past a row's length, where x is
/// padded with zeros; squares of the last h, mean over the batch.
struct ResetBeforeGRU : Model {
  static constexpr size_t T = 4, B = 3, I = 2, H = 3;
  static constexpr std::array<size_t, B> length{4, 2, 3};
  const std::vector<std::string> rzn{"r", "z", "n"};
  Block W{"W", {3 * H, I}, 11, 0.9, rzn}, U{"U", {3 * H, H}, 12, 0.9, rzn};
  Block b{"b", {3 * H}, 13, 0.5, rzn}, x{"x", {T, B, I}, 14, 1}, h0{"h0", {B, H}, 15, 0.8};
  Rows target{B, H}, gate{T * B, 3 * H}, rh{T * B, H}, h{(T + 1) * B, H};

  ResetBeforeGRU() {
    blocks = {&W, &U, &b, &x, &h0};
    sizes = {{"T", T}, {"B", B}};
    fill(target, 16, 1);
    for (size_t n = 0; n < T * B; ++n) {
      if (n / B >= length[n % B]) std::fill(x.value[n].begin(), x.value[n].end(), 0.0);
    }
  }
  double loss() override {
    std::copy(h0.value.v.begin(), h0.value.v.end(), h.v.begin());
    for (size_t n = 0; n < T * B; ++n) {
      const View next = h[n + B], a = gate[n];
      std::copy(h[n].begin(), h[n].end(), next.begin());
      if (n / B >= length[n % B]) continue;
      std::copy(b.value.v.begin(), b.value.v.end(), a.begin());
      add_product(a, W.value, x.value[n]);
      add_product(a.first(2 * H), U.value, h[n]);
      for (size_t j = 0; j < 2 * H; ++j) a[j] = sigmoid(a[j]);
      for (size_t j = 0; j < H; ++j) rh[n][j] = a[j] * h[n][j];
      add_product(a.last(H), U.value, rh[n], 2 * H);
      for (size_t j = 0; j < H; ++j) {
        a[2 * H + j] = std::tanh(a[2 * H + j]);
        next[j] = (1 - a[H + j]) * a[2 * H + j] + a[H + j] * h[n][j];
      }
    }
    double sum = 0;
    for (size_t k = 0; k < B; ++k) sum += half_square(h[T * B + k], target[k]);
    return sum / B;
  }
  void backward() override {
    Rows dh{B, H};
    const double weight = bug == "gru: mean over the batch forgotten" ? 1 : 1.0 / B;
    for (size_t k = 0; k < B; ++k) {
      for (size_t j = 0; j < H; ++j) dh[k][j] = weight * (h[T * B + k][j] - target[k][j]);
    }
    const bool stale = bug == "gru: padded rows keep the gates' gradient of the row before";
    Numbers da(3 * H);
    for (size_t t = T; t-- > 0;) {
      for (size_t k = 0; k < B; ++k) {
        const size_t n = t * B + k;
        const Const a = gate[n], before = h[n];
        const View d = dh[k];
        Numbers next(d.begin(), d.end());
        if (t < length[k]) {
          Numbers drh(H);
          for (size_t j = 0; j < H; ++j) {
            const double z = a[H + j], c = a[2 * H + j];
            da[2 * H + j] = d[j] * (1 - z) * (1 - c * c);
            const double dz = d[j] * (before[j] - c);
            da[H + j] = (bug == "gru: update gate the other way round" ? -dz : dz) * z * (1 - z);
            next[j] = d[j] * z;
          }
          add_transposed(drh, U.value, Const(da).last(H), 2 * H);
          for (size_t j = 0; j < H; ++j) {
            da[j] = drh[j] * before[j] * a[j] * (1 - a[j]);
            next[j] += drh[j] * a[j];
          }
          add_transposed(next, U.value, Const(da).first(2 * H));
        } else if (!stale) {
          std::fill(da.begin(), da.end(), 0.0);
        }
        add_outer(W.gradient, da, x.value[n]);
        add_outer(U.gradient, Const(da).first(2 * H), before);
        add_outer(U.gradient, Const(da).last(H),
                  bug == "gru: reset gate forgotten in dU" ? before : rh[n], 2 * H);
        add(b.gradient[0], da);
        add_transposed(x.gradient[n], W.value, da);
        std::copy(next.begin(), next.end(), d.begin());
      }
    }
    if (bug != "gru: initial state forgotten") h0.gradient = dh;
  }
};

/// Elman network in both directions with a linear output at each step; squares of all steps.
struct Bidirectional : Model {
  static constexpr size_t T = 5, B = 2, I = 2, H = 3, O = 2;
  Block x{"x", {T, B, I}, 21, 1};
  Block Wf{"W", {H, I}, 22, 0.9}, Uf{"U", {H, H}, 23, 0.9}, bf{"b", {H}, 24, 0.5};
  Block Wb{"W_reverse", {H, I}, 25, 0.9}, Ub{"U_reverse", {H, H}, 26, 0.9};
  Block bb{"b_reverse", {H}, 27, 0.5}, V{"V", {O, 2 * H}, 28, 0.9}, c{"c", {O}, 29, 0.5};
  Rows target{T * B, O}, y{T * B, O}, both{T * B, 2 * H}, zero{1, H};

  Bidirectional() {
    blocks = {&x, &Wf, &Uf, &bf, &Wb, &Ub, &bb, &V, &c};
    sizes = {{"T", T}, {"B", B}};
    fill(target, 30, 1);
  }
  /// h of one direction in row n, zero outside of the sequence: row -1 wraps round to beyond it.
  Const state(size_t n, size_t side) const {
    return n < T * B ? both[n].subspan(side * H, H) : zero[0];
  }
  void step(size_t n, size_t side, size_t from) {
    const View h = both[n].subspan(side * H, H);
    std::copy_n((side == 0 ? bf : bb).value.v.begin(), H, h.begin());
    add_product(h, (side == 0 ? Wf : Wb).value, x.value[n]);
    add_product(h, (side == 0 ? Uf : Ub).value, state(from, side));
    for (double& v : h) v = std::tanh(v);
  }
  double loss() override {
    for (size_t n = 0; n < T * B; ++n) step(n, 0, n - B);
    for (size_t n = T * B; n-- > 0;) step(n, 1, n + B);
    double sum = 0;
    for (size_t n = 0; n < T * B; ++n) {
      std::copy(c.value.v.begin(), c.value.v.end(), y[n].begin());
      add_product(y[n], V.value, both[n]);
      sum += half_square(y[n], target[n]);
    }
    return sum / (T * B);
  }
  void backward() override {
    Rows dboth{T * B, 2 * H};
    for (size_t n = 0; n < T * B; ++n) {
      Numbers dy(y[n].begin(), y[n].end());
      for (size_t j = 0; j < O; ++j) dy[j] = (dy[j] - target[n][j]) / (T * B);
      if (bug == "birnn: output weights assigned at each step" && n % B == 0) {
        std::fill(V.gradient.v.begin(), V.gradient.v.end(), 0.0);
      }
      add_outer(V.gradient, dy, both[n]);
      add(c.gradient[0], dy);
      add_transposed(dboth[n], V.value, dy);
    }
    for (size_t side = 0; side < 2; ++side) {
      Rows dh{B, H};
      for (size_t s = 0; s < T; ++s) {
        if (bug == "birnn: forward loop ends before the first step" && side == 0 && s == T - 1) {
          continue;
        }
        for (size_t k = 0; k < B; ++k) {
          const size_t t = side == 0 ? T - 1 - s : s, n = t * B + k;
          size_t from = side == 0 ? n - B : n + B, to = n;
          Numbers da(dh[k].begin(), dh[k].end());
          add(da, Const(dboth[n]).subspan(side * H, H));
          for (size_t j = 0; j < H; ++j) da[j] *= 1 - state(n, side)[j] * state(n, side)[j];
          if (side == 1) {
            if (bug == "birnn: dx of the reverse direction not turned back")
              to = (T - 1 - t) * B + k;
            if (bug == "birnn: dU of the reverse direction with the step before") from = n - B;
          }
          add_outer((side == 0 ? Wf : Wb).gradient, da, x.value[n]);
          add_outer((side == 0 ? Uf : Ub).gradient, da, state(from, side));
          const bool copied = bug == "birnn: both directions add to the forward bias";
          add((side == 0 || copied ? bf : bb).gradient[0], da);
          add_transposed(x.gradient[to], (side == 0 ? Wf : Wb).value, da);
          std::fill(dh[k].begin(), dh[k].end(), 0.0);
          add_transposed(dh[k], (side == 0 ? Uf : Ub).value, da);
        }
      }
    }
  }
};

}  // namespace tapegrad::testing::blind
