#include "ctc.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "../dispatch-inl.h"
#include "../simd/log_sums-inl.h"
#include "../simd/vector_math.h"
#include "softmax-inl.h"

namespace tapegrad::kernels {
namespace {

constexpr double impossible = -std::numeric_limits<double>::infinity();  // log 0

/// Makes the largest of n logarithms 0, unless all are impossible; returns what was subtracted. So
/// steps do not lose the digits that their common factor has.
double normalize(double* x, std::size_t n) {
  const std::size_t at = first_largest(x, n);
  if (at == n) return 0;
  const double largest = x[at];
  for (std::size_t i = 0; i < n; ++i) x[i] -= largest;
  return largest;
}

/// Logarithms of probabilities (steps, states), with two impossible states before the first and two
/// behind the last, so that every state has neighbours.
class Lattice {
 public:
  Lattice(std::size_t steps, std::size_t states)
      : width_(states + 4), values_(steps * width_, impossible) {}
  double* operator[](std::size_t step) { return values_.data() + step * width_ + 2; }

 private:
  std::size_t width_;
  std::vector<double> values_;
};

/// One sequence: its logits, and the classes of its states.
template <class T>
struct Alignment {
  const T* logits;  // of step t at logits + t * stride
  std::size_t stride, classes, steps;
  std::vector<std::size_t> states;

  /// For each state, and two behind the last: 0 if the state before it may be left out, a blank
  /// between ids that differ; else -inf.
  std::vector<double> log_skips() const {
    std::vector<double> result(states.size() + 2, impossible);
    for (std::size_t s = 2; s < states.size(); ++s)
      if (states[s] != states[0] && states[s] != states[s - 2]) result[s] = 0;
    return result;
  }
};

/// log y_t of each state; y itself too, of the logits' layout, unless it is null.
template <class T>
Lattice log_probabilities(const Alignment<T>& x, T* y) {
  Lattice result(x.steps, x.states.size());
  for (std::size_t t = 0; t < x.steps; ++t) {
    const T* row = x.logits + t * x.stride;
    const RowSums<T> sums = y != nullptr ? softmax_row(row, x.classes, y + t * x.stride)
                                         : exponentials<T>(row, x.classes, nullptr);
    const double log_total = sums.total() == 0 ? 0 : sums.log_total();  // without a possible class
    for (std::size_t s = 0; s < x.states.size(); ++s) {
      result[t][s] =
          (static_cast<double>(row[x.states[s]]) - static_cast<double>(sums.shift)) - log_total;
    }
  }
  return result;
}

/// log a_t, normalized, for t = -1, 0, ...: row t + 1 of the lattice.
struct Forward {
  Lattice a;
  double log_p = 0;
};
template <class T>
Forward forward(const Alignment<T>& x, Lattice& log_y) {
  const std::size_t states = x.states.size();
  Forward result{Lattice(x.steps + 1, states)};
  Lattice& a = result.a;
  a[0][0] = 0;  // from here the first blank and the first id are reached
  const std::vector<double> skips = x.log_skips();
  for (std::size_t t = 0; t < x.steps; ++t) {
    const double* const from = a[t];
    double* const to = a[t + 1];
    log_sums(from, from - 1, from - 2, skips.data(), to, states);
    for (std::size_t s = 0; s < states; ++s) to[s] += log_y[t][s];
    result.log_p += normalize(to, states);
  }
  const double* last = a[x.steps] + states - 1;
  double ends;
  log_sums(last, last - 1, &impossible, &impossible, &ends, 1);
  result.log_p += ends;
  return result;
}

/// y, of the logits' layout, becomes the gradient of the loss. The elements of a step sum to 0, so
/// that the most probable one, which is lost in a difference where both are near 1, is made of all
/// others.
template <class T>
void backward(const Alignment<T>& x, Lattice& log_y, Lattice& a, T* y) {
  const std::size_t states = x.states.size();
  Lattice b(2, states);  // log of b_t y_t one step later, log b_t, normalized
  b[1][states - 1] = 0;
  if (states > 1) b[1][states - 2] = 0;
  const std::vector<double> skips = x.log_skips();
  std::vector<double> d(x.classes), posterior(states);
  for (std::size_t t = x.steps; t-- > 0;) {
    T* const row = y + t * x.stride;
    for (std::size_t s = 0; s < states; ++s) {
      posterior[s] = a[t + 1][s] + b[1][s];
      b[0][s] = b[1][s] + log_y[t][s];
    }
    normalize(posterior.data(), states);
    vector_exp(posterior.data(), posterior.data(), states);
    const double total = std::accumulate(posterior.begin(), posterior.end(), 0.0);
    std::copy_n(row, x.classes, d.begin());
    for (std::size_t s = 0; s < states; ++s) d[x.states[s]] -= posterior[s] / total;
    const std::size_t k = first_largest(row, x.classes);
    d[k] = -lane_sum_of<double>(x.classes, [&](std::size_t j) { return j != k ? d[j] : 0.0; });
    std::ranges::transform(d, row, [](double v) { return static_cast<T>(v); });
    log_sums(b[0], b[0] + 1, b[0] + 2, skips.data() + 2, b[1], states);
    normalize(b[1], states);
  }
}

/// Returns the loss; writes the gradient, of the logits' layout, unless it is null.
template <class T>
double align(const Alignment<T>& x, T* gradient) {
  Lattice log_y = log_probabilities(x, gradient);
  auto [a, log_p] = forward(x, log_y);
  if (gradient != nullptr && std::isfinite(log_p)) {
    backward(x, log_y, a, gradient);
  } else if (gradient != nullptr) {
    const T all = std::isnan(log_p) ? std::numeric_limits<T>::quiet_NaN() : T{0};
    for (std::size_t t = 0; t < x.steps; ++t) std::fill_n(gradient + t * x.stride, x.classes, all);
  }
  return std::max(-log_p, 0.0);  // NaN stays NaN
}

}  // namespace

Tensor ctc_states(const CTCTargets& targets) {
  const std::size_t S = targets.ids.size(0), B = targets.ids.size(1), n = 2 * S + 1;
  Tensor states = Tensor::full({B, n}, targets.blank, DType::int32);
  const std::int32_t* ids = targets.ids.data<std::int32_t>();
  for (std::size_t b = 0; b < B; ++b) {
    const auto length = static_cast<std::size_t>(targets.lengths.data<std::int32_t>()[b]);
    std::int32_t* to = states.mutable_data<std::int32_t>() + b * n;
    for (std::size_t s = 0; s < length; ++s) to[2 * s + 1] = ids[s * B + b];
  }
  return states;
}

CTC ctc(const Tensor& logits, const CTCTargets& targets, bool with_gradient) {
  const std::size_t B = logits.size(1), C = logits.size(2);
  CTC result{Tensor::empty({B}, logits.dtype()), {}};
  if (with_gradient) result.dlogits = Tensor::zeros(logits.shape(), logits.dtype());
  const Tensor states = ctc_states(targets);
  const auto number = [](const Tensor& of, std::size_t b) {
    return static_cast<std::size_t>(of.data<std::int32_t>()[b]);
  };
  dispatch_float(logits.dtype(), [&]<class T>(T) {
    T* const losses = result.losses.mutable_data<T>();
    T* const dlogits = with_gradient ? result.dlogits.mutable_data<T>() : nullptr;
    const std::size_t work = logits.size(0) * (C + 4 * states.size(1));  // exponentials a sequence
    for_blocks(B, rows_per_block(work, costly_block), [&](std::size_t begin, std::size_t end) {
      for (std::size_t b = begin; b < end; ++b) {
        const std::int32_t* first = states.data<std::int32_t>() + b * states.size(1);
        const Alignment<T> x{logits.data<T>() + b * C,
                             B * C,
                             C,
                             number(targets.steps, b),
                             {first, first + 2 * number(targets.lengths, b) + 1}};
        losses[b] = static_cast<T>(align(x, with_gradient ? dlogits + b * C : nullptr));
      }
    });
  });
  return result;
}

Tensor ctc_backward(const Tensor& dlogits, const Tensor& dlosses) {
  Tensor result = Tensor::empty(dlogits.shape(), dlogits.dtype());
  const std::size_t B = dlogits.size(1), C = dlogits.size(2);
  dispatch_float(dlogits.dtype(), [&]<class T>(T) {
    const T *from = dlogits.data<T>(), *factors = dlosses.data<T>();
    T* to = result.mutable_data<T>();
    for_blocks(dlogits.size(0) * B, rows_per_block(C, cheap_block),
               [&](std::size_t begin, std::size_t end) {
                 for (std::size_t row = begin; row < end; ++row) {
                   const T factor = factors[row % B];
                   for (std::size_t k = row * C; k < (row + 1) * C; ++k) to[k] = from[k] * factor;
                 }
               });
  });
  return result;
}

}  // namespace tapegrad::kernels
