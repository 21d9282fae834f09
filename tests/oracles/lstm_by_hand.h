#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "naive_lstm.h"

/// Somebody's LSTM with its backward pass by hand, for checkers of gradients: it needs nothing but
/// the standard library.
namespace tapegrad::testing {

inline Values<double> wave(std::size_t n, double frequency, double amplitude) {
  Values<double> v(n);
  for (std::size_t i = 0; i < n; ++i) {
    v[i] = amplitude * std::sin(frequency * static_cast<double>(i + 1));
  }
  return v;
}

/// One layer over T steps; loss = mean of (h - target)^2 / 2. `wrong` plants a bug: the gradient of
/// weight_hh takes the state h(t) of its own step where it must take h(t-1).
struct LstmByHand {
  NaiveCase sizes;
  bool wrong;
  NaiveData data;
  Values<double> target;
  Inputs<double> gradients;

  /// An LSTM with one bias; `c` says the sizes, and whether there is an initial state.
  explicit LstmByHand(const NaiveCase& c, bool is_wrong = false) : sizes(c), wrong(is_wrong) {
    const std::size_t G = 4 * c.H, states = c.initial ? c.B * c.H : 0;
    data.in = {wave(c.rows() * c.I, 1.1, 1.0),
               wave(states, 0.6, 0.4),
               wave(states, 1.3, -0.4),
               wave(G * c.I, 1.7, 0.5),
               wave(G * c.H, 2.3, 0.5),
               wave(G, 0.9, 0.3),
               {},
               {}};
    target = wave(c.rows() * c.H, 0.7, 0.8);
    data.dy.resize(target.size());
    gradients = data.in;
    backward();
  }

  double loss() const {
    const Values<double> y = naive_forward(sizes, data, data.in).y;
    double sum = 0;
    for (std::size_t n = 0; n < y.size(); ++n) sum += (y[n] - target[n]) * (y[n] - target[n]) / 2;
    return sum / static_cast<double>(y.size());
  }

  /// Writes the gradients to where they are: a checker has their addresses.
  void backward() {
    const Values<double> y = naive_forward(sizes, data, data.in).y;
    for (std::size_t n = 0; n < y.size(); ++n) {
      data.dy[n] = (y[n] - target[n]) / static_cast<double>(y.size());
    }
    const NaiveGradients right = naive_backward(sizes, data);
    for (const Input i : {W_IH, W_HH, B_IH}) {
      std::copy(right.in[i].begin(), right.in[i].end(), gradients[i].begin());
    }
    if (!wrong) return;
    const std::size_t H = sizes.H, G = 4 * H;
    std::fill(gradients[W_HH].begin(), gradients[W_HH].end(), 0.0);
    for (std::size_t n = 0; n < sizes.rows(); ++n) {
      for (std::size_t e = 0; e < G * H; ++e) {
        gradients[W_HH][e] += right.dgates[n * G + e / H] * y[n * H + e % H];
      }
    }
  }
};

}  // namespace tapegrad::testing
