#include "loss.h"

#include <algorithm>
#include <cmath>

#include "../dispatch-inl.h"
#include "loops-inl.h"

namespace tapegrad::kernels {
namespace {

/// y[i] = f(x[i]).
template <class F>
Tensor map(const Tensor& x, F f) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for_blocks(x.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) to[i] = f(from[i]);
    });
  });
  return result;
}

/// z[i] = f(x[i], y[i], p[i mod p's size]), for a shape of p that is a suffix of the others', in
/// blocks of about `elements`.
template <class F>
Tensor zip(const Tensor& x, const Tensor& y, const Tensor& p, std::size_t elements, F f) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  if (result.numel() == 0) return result;
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* a = x.data<T>();
    const T* b = y.data<T>();
    const T* c = p.data<T>();
    T* to = result.mutable_data<T>();
    const std::size_t columns = p.numel();
    for_blocks(x.numel() / columns, rows_per_block(columns, elements),
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

/// e^-|x|, of which sigmoid and its logarithm are made without overflow.
template <class T>
T decay(T x) {
  return std::exp(-std::abs(x));
}
/// log(1 + e^x) = -log sigmoid(-x)
template <class T>
T softplus(T x) {
  return (x > 0 ? x : T{0}) + std::log1p(decay(x));
}
template <class T>
T sigmoid(T x) {
  const T d = decay(x);
  return (x < 0 ? d : T{1}) / (1 + d);
}

}  // namespace

Tensor keep(const Tensor& x, const Tensor& weights, double other) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    const T* weight = weights.data<T>();
    T* to = result.mutable_data<T>();
    for_blocks(x.numel(), cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        to[i] = weight[i] != 0 ? from[i] : static_cast<T>(other);
      }
    });
  });
  return result;
}

Tensor l1(const Tensor& e) {
  return map(e, [](auto v) { return std::abs(v); });
}
Tensor l1_slope(const Tensor& e) {
  return map(e, []<class T>(T v) { return v > 0 ? T{1} : v < 0 ? T{-1} : v == 0 ? T{0} : v; });
}

Tensor huber(const Tensor& e, double delta) {
  return map(e, [delta]<class T>(T v) {
    const T d = static_cast<T>(delta);
    const T a = std::abs(v);
    return a <= d ? v * v / 2 : d * (a - d / 2);
  });
}
Tensor huber_slope(const Tensor& e, double delta) {
  return map(e, [delta]<class T>(T v) {
    const T d = static_cast<T>(delta);
    return v > d ? d : v < -d ? -d : v;
  });
}
Tensor huber_curvature(const Tensor& e, double delta) {
  return map(e, [delta]<class T>(T v) {
    return std::abs(v) <= static_cast<T>(delta) ? T{1} : std::isnan(v) ? v : T{0};
  });
}

Tensor pinball(const Tensor& e, const Tensor& q) {
  return zip(e, e, q, cheap_block,
             []<class T>(T v, T, T quantile) { return (v < 0 ? quantile - 1 : quantile) * v; });
}
Tensor pinball_slope(const Tensor& e, const Tensor& q) {
  return zip(e, e, q, cheap_block, []<class T>(T v, T, T quantile) {
    return v > 0 ? quantile : v < 0 ? quantile - 1 : v;
  });
}

Tensor binary_cross_entropy(const Tensor& x, const Tensor& t, const Tensor& p) {
  return zip(x, t, p, costly_block, []<class T>(T logit, T target, T positive) {
    const T yes = positive * target;
    const T no = 1 - target;
    if (std::isnan(logit)) return logit;
    return (yes != 0 ? yes * softplus(-logit) : T{0}) + (no != 0 ? no * softplus(logit) : T{0});
  });
}
Tensor binary_cross_entropy_slope(const Tensor& x, const Tensor& t, const Tensor& p) {
  return zip(x, t, p, costly_block, []<class T>(T logit, T target, T positive) {
    return (1 - target) * sigmoid(logit) - positive * target * sigmoid(-logit);
  });
}

Tensor at_least(const Tensor& x, double minimum) {
  return map(x, [minimum]<class T>(T v) {
    const T least = static_cast<T>(minimum);
    return v < least ? least : v;  // so that NaN stays NaN
  });
}

}  // namespace tapegrad::kernels
