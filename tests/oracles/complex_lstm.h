#pragma once

#include <complex>
#include <cstddef>
#include <vector>

#include "../support/lstm_cases.h"

/// An LSTM written a second time, in plain loops over std::complex<double>, for the complex step:
/// with one number moved by i 1e-30, the imaginary part of the loss is 1e-30 times its derivative,
/// without any cancellation (Squire and Trapp 1998).
namespace tapegrad::testing {

using Complex = std::complex<double>;
using Numbers = std::vector<Complex>;

struct ComplexLstm {
  LstmCase sizes;
  std::vector<Numbers>
      inputs;  // x, h0, c0, then (weight_ih, weight_hh, bias_ih, bias_hh) of each layer
  Numbers wy, wh, wc;

  static Numbers numbers(const Tensor& t) {
    Numbers n(t.numel());
    for (std::size_t i = 0; i < n.size(); ++i) n[i] = t.at(i);
    return n;
  }

  ComplexLstm(const LstmCase& c, LstmProblem& p) : sizes(c) {
    inputs = {numbers(p.x), numbers(p.h0), numbers(p.c0)};
    for (const NamedParameter& w : parameters(p.model)) inputs.push_back(numbers(w.value()));
    wy = numbers(p.wy), wh = numbers(p.wh), wc = numbers(p.wc);
  }

  static Complex sigmoid(Complex z) { return 1.0 / (1.0 + std::exp(-z)); }

  Complex loss() const {
    const auto [T, B, I, H, L] =
        std::tuple(sizes.steps, sizes.batch, sizes.input, sizes.hidden, sizes.layers);
    Complex total = 0;
    Numbers x = inputs[0];
    for (std::size_t l = 0; l < L; ++l) {
      const std::size_t width = l == 0 ? I : H;
      const Numbers& W = inputs[3 + 4 * l];
      const Numbers& U = inputs[4 + 4 * l];
      Numbers y(T * B * H);
      for (std::size_t b = 0; b < B; ++b) {
        const std::size_t own = (l * B + b) * H;
        Numbers h(inputs[1].begin() + static_cast<std::ptrdiff_t>(own),
                  inputs[1].begin() + static_cast<std::ptrdiff_t>(own + H));
        Numbers c(inputs[2].begin() + static_cast<std::ptrdiff_t>(own),
                  inputs[2].begin() + static_cast<std::ptrdiff_t>(own + H));
        for (std::size_t t = 0; t < T; ++t) {
          Numbers a(4 * H);
          for (std::size_t r = 0; r < 4 * H; ++r) {
            a[r] = inputs[5 + 4 * l][r] + inputs[6 + 4 * l][r];
            for (std::size_t k = 0; k < width; ++k)
              a[r] += W[r * width + k] * x[(t * B + b) * width + k];
            for (std::size_t k = 0; k < H; ++k) a[r] += U[r * H + k] * h[k];
          }
          for (std::size_t k = 0; k < H; ++k) {
            c[k] = sigmoid(a[H + k]) * c[k] + sigmoid(a[k]) * std::tanh(a[2 * H + k]);
            h[k] = sigmoid(a[3 * H + k]) * std::tanh(c[k]);
            y[(t * B + b) * H + k] = h[k];
          }
        }
        for (std::size_t k = 0; k < H; ++k) total += wh[own + k] * h[k] + wc[own + k] * c[k];
      }
      x = std::move(y);
    }
    for (std::size_t i = 0; i < x.size(); ++i) total += wy[i] * x[i];
    return total;
  }

  /// d loss / d inputs[which][index]
  double derivative(std::size_t which, std::size_t index) {
    constexpr double step = 1e-30;
    Complex& z = inputs[which][index];
    z += Complex(0, step);
    const double d = loss().imag() / step;
    z = z.real();
    return d;
  }
};

}  // namespace tapegrad::testing
