#include "softmax.h"

#include <cmath>

#include "../dispatch-inl.h"
#include "softmax-inl.h"

namespace tapegrad::kernels {

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
      const auto [shift, total] = softmax_row<T>(from + first, n, nullptr);
      const T log_total = total == 0 ? T{0} : std::log(total);  // 0: every x is -inf and stays
      for (std::size_t j = 0; j < n; ++j) to[first + j] = (from[first + j] - shift) - log_total;
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
      const T largest = row_shift(from + first, n);
      const T shift = std::isinf(largest) ? T{0} : largest;  // inf - inf would be NaN
      to[row] = shift + std::log(exponentials<T>(from + first, n, shift, nullptr));
    });
  });
  return result;
}

Tensor softmax_backward(const Tensor& y, const Tensor& dy) {
  Tensor result = Tensor::empty(y.shape(), y.dtype());
  if (result.numel() == 0) return result;
  const std::size_t n = columns_of(y);
  dispatch_float(y.dtype(), [&]<class T>(T) {
    const T* values = y.data<T>();
    const T* d = dy.data<T>();
    T* dx = result.mutable_data<T>();
    for_rows(y, [&](std::size_t, std::size_t first) {
      for (std::size_t j = first; j < first + n; ++j) dx[j] = d[j] * values[j];
      const T total = lane_sum<T>(dx + first, n, identity);
      for (std::size_t j = first; j < first + n; ++j) dx[j] = values[j] * (d[j] - total);
    });
  });
  return result;
}

Tensor log_softmax_backward(const Tensor& y, const Tensor& dy) {
  Tensor result = Tensor::empty(y.shape(), y.dtype());
  if (result.numel() == 0) return result;
  const std::size_t n = columns_of(y);
  dispatch_float(y.dtype(), [&]<class T>(T) {
    const T* values = y.data<T>();
    const T* d = dy.data<T>();
    T* dx = result.mutable_data<T>();
    for_rows(y, [&](std::size_t, std::size_t first) {
      const T total = lane_sum<T>(d + first, n, identity);
      vector_exp(values + first, dx + first, n);
      for (std::size_t j = first; j < first + n; ++j) dx[j] = d[j] - dx[j] * total;
    });
  });
  return result;
}

}  // namespace tapegrad::kernels
