#include "softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../dispatch-inl.h"
#include "softmax-inl.h"

namespace tapegrad::kernels {
namespace {

/// inf, but NaN if there is one.
template <class T>
T infinite_sum(const T* x, std::size_t n) {
  const T* nan = std::find_if(x, x + n, [](T v) { return v != v; });
  return nan != x + n ? *nan : std::numeric_limits<T>::infinity();
}

/// f(0) + ... + f(n - 1) without f(k), in double.
template <class F>
double sum_without(std::size_t k, std::size_t n, F f) {
  return lane_sum_of<double>(n, [=](std::size_t j) { return j != k ? f(j) : 0.0; });
}

/// The terms of every element of x - mean, with k the most probable element:
///   x_j - sum_i p_i x_i = (x_j - x_k) - mean,   mean = sum_i p_i (x_i - x_k),
/// if p sums to 1. Where p_k is near 1, the difference on the left would be lost.
template <class T>
struct Centre {
  T at_most_probable;  // x_k
  T mean;
};
template <class T>
Centre<T> centre_of(const T* x, const T* p, std::size_t n) {
  const std::size_t k = first_largest(p, n);
  const T centre = k < n ? x[k] : T{0};
  const double mean = lane_sum_of<double>(n, [=](std::size_t j) {
    return static_cast<double>(p[j]) * static_cast<double>(x[j] - centre);
  });
  return {centre, static_cast<T>(mean)};
}

/// y = x - p sum(x). Where p_k is near 1,
///   y_k = x_k (1 - p_k) - p_k sum_{j != k} x_j,   1 - p_k = sum_{j != k} p_j.
template <class T>
void subtract_share(const T* x, const T* p, std::size_t n, T* y) {
  const auto x_at = [=](std::size_t j) { return static_cast<double>(x[j]); };
  const std::size_t k = first_largest(p, n);
  const bool likely = k < n && p[k] > T{0.5};
  const double others = sum_without(likely ? k : n, n, x_at);
  const double total = likely ? others + x_at(k) : others;
  double y_k = 0;
  if (likely) {
    const double rest = sum_without(k, n, [=](std::size_t j) { return static_cast<double>(p[j]); });
    y_k = x_at(k) * rest - static_cast<double>(p[k]) * others;
  }
  for (std::size_t j = 0; j < n; ++j) y[j] = x[j] - p[j] * static_cast<T>(total);
  if (likely) y[k] = static_cast<T>(y_k);
}

}  // namespace

Tensor softmax(const Tensor& x) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  if (result.numel() == 0) return result;
  const std::size_t n = columns_of(x);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for_rows(x, [&](std::size_t, std::size_t first) { softmax_row(from + first, n, to + first); });
  });
  return result;
}

Tensor log_softmax(const Tensor& x) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  if (result.numel() == 0) return result;
  const std::size_t n = columns_of(x);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for_rows(x, [&](std::size_t, std::size_t first) {
      const RowSums<T> sums = exponentials<T>(from + first, n, nullptr);
      // Without a possible class every x is -inf, and stays.
      const double log_total = sums.total() == 0 ? 0 : sums.log_total();
      const auto shift = static_cast<double>(sums.shift);
      for (std::size_t j = first; j < first + n; ++j) {
        to[j] = static_cast<T>((static_cast<double>(from[j]) - shift) - log_total);
      }
    });
  });
  return result;
}

Tensor logsumexp(const Tensor& x) {
  Tensor result = Tensor::empty(x.shape().without(x.rank() - 1), x.dtype());
  const std::size_t n = columns_of(x);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for_rows(x, [&](std::size_t row, std::size_t first) {
      const RowSums<T> sums = exponentials<T>(from + first, n, nullptr);
      // An element of inf is the sum, unless there is a NaN; inf - inf would be NaN in any case.
      const bool infinite = std::isinf(sums.shift) && sums.shift > 0;
      to[row] = infinite ? infinite_sum(from + first, n)
                         : static_cast<T>(static_cast<double>(sums.shift) + sums.log_total());
    });
  });
  return result;
}

Tensor minus_mean(const Tensor& x, const Tensor& p) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  if (result.numel() == 0) return result;
  const std::size_t n = columns_of(x);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T *from = x.data<T>(), *probabilities = p.data<T>();
    T* to = result.mutable_data<T>();
    for_rows(x, [&](std::size_t, std::size_t first) {
      const auto [centre, mean] = centre_of(from + first, probabilities + first, n);
      for (std::size_t j = first; j < first + n; ++j) to[j] = (from[j] - centre) - mean;
    });
  });
  return result;
}

Tensor minus_share(const Tensor& x, const Tensor& p) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  if (result.numel() == 0) return result;
  const std::size_t n = columns_of(x);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T *from = x.data<T>(), *probabilities = p.data<T>();
    T* to = result.mutable_data<T>();
    for_rows(x, [&](std::size_t, std::size_t first) {
      subtract_share(from + first, probabilities + first, n, to + first);
    });
  });
  return result;
}

Tensor softmax_backward(const Tensor& y, const Tensor& dy) {
  Tensor result = Tensor::empty(y.shape(), y.dtype());
  if (result.numel() == 0) return result;
  const std::size_t n = columns_of(y);
  dispatch_float(y.dtype(), [&]<class T>(T) {
    const T *values = y.data<T>(), *d = dy.data<T>();
    T* dx = result.mutable_data<T>();
    for_rows(y, [&](std::size_t, std::size_t first) {
      const auto [centre, mean] = centre_of(d + first, values + first, n);
      for (std::size_t j = first; j < first + n; ++j) dx[j] = values[j] * ((d[j] - centre) - mean);
    });
  });
  return result;
}

}  // namespace tapegrad::kernels
