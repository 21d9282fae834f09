#include "loss.h"

#include <cmath>

#include "../dispatch-inl.h"
#include "maps-inl.h"
#include "parallel-inl.h"

namespace tapegrad::kernels {
namespace {

/// z[i] = f(x[i], y[i], p[i mod p's size]), for a shape of p that is a suffix of the others'.
template <class F>
Tensor zip_three(const Tensor& x, const Tensor& y, const Tensor& p, F f) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  if (result.numel() == 0) return result;
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* a = x.data<T>();
    const T* b = y.data<T>();
    const T* c = p.data<T>();
    T* to = result.mutable_data<T>();
    const std::size_t columns = p.numel();
    for_blocks(x.numel() / columns, rows_per_block(columns, costly_block),
               [&](std::size_t begin, std::size_t end) {
                 for (std::size_t row = begin * columns; row < end * columns; row += columns) {
                   for (std::size_t j = 0; j < columns; ++j) {
                     to[row + j] = f(a[row + j], b[row + j], c[j]);
                   }
                 }
               });
  });
  return result;
}

/// 1 / (1 + e^-x) without overflow.
template <class T>
T sigmoid(T x) {
  const T decay = std::exp(-std::abs(x));
  return (x < 0 ? decay : T{1}) / (1 + decay);
}

}  // namespace

Tensor select_weighted(const Tensor& x, const Tensor& weights, double other) {
  return zip(x, weights,
             [other]<class T>(T v, T weight) { return weight != 0 ? v : static_cast<T>(other); });
}

Tensor huber(const Tensor& e, double delta) {
  return map(e, [delta]<class T>(T v) {
    const T d = static_cast<T>(delta);
    const T a = std::abs(v);
    return a <= d ? v * (v / 2) : d * (a - d / 2);
  });
}

Tensor pinball(const Tensor& e, const Tensor& q) {
  return zip_repeated(
      e, q, []<class T>(T v, T quantile) { return (v < 0 ? quantile - 1 : quantile) * v; });
}
Tensor pinball_slope(const Tensor& e, const Tensor& q) {
  return zip_repeated(e, q, []<class T>(T v, T quantile) {
    return v > 0 ? quantile : v < 0 ? quantile - 1 : v;
  });
}

Tensor binary_cross_entropy(const Tensor& x, const Tensor& t, const Tensor& p) {
  return zip_three(x, t, p, []<class T>(T logit, T target, T positive) {
    const T yes = positive * target;
    const T no = 1 - target;
    if (std::isnan(logit)) return logit;
    return (yes != 0 ? yes * log1p_exp(-logit) : T{0}) + (no != 0 ? no * log1p_exp(logit) : T{0});
  });
}
Tensor binary_cross_entropy_slope(const Tensor& x, const Tensor& t, const Tensor& p) {
  return zip_three(x, t, p, []<class T>(T logit, T target, T positive) {
    return (1 - target) * sigmoid(logit) - positive * target * sigmoid(-logit);
  });
}
// With m = log(1 + e^-|x|), log sigmoid(x) is -m for x >= 0, else x - m.
Tensor binary_cross_entropy_target_slope(const Tensor& x, const Tensor& p) {
  return zip_repeated(
      x, p,
      []<class T>(T logit, T positive) {
        if (positive == 0) return -log1p_exp(logit);
        const T linear = logit >= 0 ? logit : positive * logit;
        return (positive - 1) * log1p_exp(-std::abs(logit)) - linear;
      },
      costly_block);
}

}  // namespace tapegrad::kernels
