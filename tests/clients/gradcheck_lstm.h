#pragma once

// Somebody's LSTM in plain arrays, C style, with its backward pass by hand: T steps, batch 1, gates
// i, f, g, o, loss = sum of h^2 / 2 over all steps. `wrong` plants a bug: the gradient of weight_hh
// takes the state h(t) of its own step where it must take h(t-1).

#include <cmath>
#include <cstddef>
#include <cstring>
#include <tapegrad/gradcheck.hpp>

struct Lstm {
  static constexpr std::size_t T = 5, I = 2, H = 3, G = 4 * H;
  double weight_ih[G * I], weight_hh[G * H], bias[G], x[T][I];
  double d_weight_ih[G * I], d_weight_hh[G * H], d_bias[G];
  double a[T][G], h[T + 1][H], c[T + 1][H];  // after each step; h[0] and c[0] are the initial state
  bool wrong = false;

  Lstm() {
    for (std::size_t k = 0; k < G * I; ++k) weight_ih[k] = 0.5 * std::sin(1.7 * double(k + 1));
    for (std::size_t k = 0; k < G * H; ++k) weight_hh[k] = 0.7 * std::sin(2.3 * double(k + 1));
    for (std::size_t k = 0; k < G; ++k) bias[k] = 0.3 * std::sin(0.9 * double(k + 1));
    for (std::size_t k = 0; k < T * I; ++k) x[k / I][k % I] = std::sin(1.1 * double(k + 1));
    for (std::size_t k = 0; k < H; ++k) h[0][k] = 0.4 - 0.3 * double(k), c[0][k] = -h[0][k];
  }

  double loss() {
    double sum = 0;
    for (std::size_t t = 0; t < T; ++t) {
      for (std::size_t r = 0; r < G; ++r) {
        double z = bias[r];
        for (std::size_t k = 0; k < I; ++k) z += weight_ih[r * I + k] * x[t][k];
        for (std::size_t k = 0; k < H; ++k) z += weight_hh[r * H + k] * h[t][k];
        a[t][r] = r / H == 2 ? std::tanh(z) : 1 / (1 + std::exp(-z));
      }
      for (std::size_t k = 0; k < H; ++k) {
        const double i = a[t][k], f = a[t][H + k], g = a[t][2 * H + k], o = a[t][3 * H + k];
        c[t + 1][k] = f * c[t][k] + i * g;
        h[t + 1][k] = o * std::tanh(c[t + 1][k]);
        sum += h[t + 1][k] * h[t + 1][k] / 2;
      }
    }
    return sum;
  }

  void backward() {
    loss();
    std::memset(d_weight_ih, 0, sizeof d_weight_ih);
    std::memset(d_weight_hh, 0, sizeof d_weight_hh);
    std::memset(d_bias, 0, sizeof d_bias);
    double dh[H] = {}, dc[H] = {}, dz[G];
    for (std::size_t t = T; t-- > 0;) {
      for (std::size_t k = 0; k < H; ++k) {
        const double i = a[t][k], f = a[t][H + k], g = a[t][2 * H + k], o = a[t][3 * H + k];
        const double u = std::tanh(c[t + 1][k]);
        dh[k] += h[t + 1][k];
        dc[k] += dh[k] * o * (1 - u * u);
        dz[k] = dc[k] * g * i * (1 - i);
        dz[H + k] = dc[k] * c[t][k] * f * (1 - f);
        dz[2 * H + k] = dc[k] * i * (1 - g * g);
        dz[3 * H + k] = dh[k] * u * o * (1 - o);
        dc[k] *= f;
        dh[k] = 0;
      }
      for (std::size_t r = 0; r < G; ++r) {
        d_bias[r] += dz[r];
        for (std::size_t k = 0; k < I; ++k) d_weight_ih[r * I + k] += dz[r] * x[t][k];
        for (std::size_t k = 0; k < H; ++k) {
          d_weight_hh[r * H + k] += dz[r] * h[wrong ? t + 1 : t][k];
          dh[k] += dz[r] * weight_hh[r * H + k];
        }
      }
    }
  }
};

inline tapegrad::GradcheckReport check(Lstm& net) {
  using tapegrad::grad_block;
  net.backward();
  return tapegrad::gradcheck(
      [&] { return net.loss(); },
      {grad_block("weight_ih", net.weight_ih, net.d_weight_ih, net.G * net.I, {net.G, net.I}),
       grad_block("weight_hh", net.weight_hh, net.d_weight_hh, net.G * net.H, {net.G, net.H}),
       grad_block("bias", net.bias, net.d_bias, net.G)},
      {.backward = [&] { net.backward(); }});
}
