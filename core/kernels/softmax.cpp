#include "softmax.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "../dispatch-inl.h"
#include "loops-inl.h"
#include "vector_math.h"

namespace tapegrad::kernels {
namespace {

constexpr auto identity = [](auto v) { return v; };

std::size_t columns_of(const Tensor& x) { return x.size(x.rank() - 1); }
std::size_t rows_of(const Tensor& x) {
  return x.shape().with(x.rank() - 1, 1).numel();  // right without columns, too
}

/// Calls f(row, its first element's index) for every row of x; rows do not depend on each other.
template <class F>
void for_rows(const Tensor& x, F f) {
  const std::size_t columns = columns_of(x);
  for_blocks(rows_of(x), rows_per_block(columns, costly_block),
             [&](std::size_t begin, std::size_t end) {
               for (std::size_t row = begin; row < end; ++row) f(row, row * columns);
             });
}

/// The largest element. A NaN may be passed over: it makes the sum of exponentials NaN later.
template <class T>
T row_maximum(const T* x, std::size_t n) {
  constexpr std::size_t lanes = 16;
  std::array<T, lanes> largest;
  largest.fill(-std::numeric_limits<T>::infinity());
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (std::size_t l = 0; l < lanes; ++l)
      largest[l] = x[i + l] > largest[l] ? x[i + l] : largest[l];
  }
  for (; i < n; ++i) largest[0] = std::max(largest[0], x[i]);
  return *std::max_element(largest.begin(), largest.end());
}

constexpr std::size_t chunk = 256;

/// y = exp(x - maximum); returns the sum of y. In chunks, so that y is summed while it is in the
/// cache. With y = null only the sum is wanted.
template <class T>
T exponentials(const T* x, std::size_t n, T maximum, T* y) {
  std::array<T, chunk> scratch;
  T total = 0;
  for (std::size_t begin = 0; begin < n; begin += chunk) {
    const std::size_t size = std::min(chunk, n - begin);
    T* to = y != nullptr ? y + begin : scratch.data();
    for (std::size_t j = 0; j < size; ++j) to[j] = x[begin + j] - maximum;
    vector_exp(to, to, size);
    total += lane_sum<T>(to, size, identity);
  }
  return total;
}

/// y = softmax(x); returns what log softmax needs: max x and sum exp(x - max x).
template <class T>
struct RowSums {
  T maximum;
  T exponentials;
};
template <class T>
RowSums<T> softmax_row(const T* x, std::size_t n, T* y) {
  const T maximum = row_maximum(x, n);
  const T total = exponentials(x, n, maximum, y);
  if (y != nullptr) {
    for (std::size_t j = 0; j < n; ++j) y[j] /= total;
  }
  return {maximum, total};
}

}  // namespace

Tensor log_softmax(const Tensor& x) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  const std::size_t n = columns_of(x);
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for_rows(x, [&](std::size_t, std::size_t first) {
      const auto [maximum, total] = softmax_row<T>(from + first, n, nullptr);
      const T log_total = std::log(total);
      for (std::size_t j = 0; j < n; ++j) to[first + j] = (from[first + j] - maximum) - log_total;
    });
  });
  return result;
}

Tensor softmax(const Tensor& x) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for_rows(x, [&](std::size_t, std::size_t first) {
      softmax_row(from + first, columns_of(x), to + first);
    });
  });
  return result;
}

Tensor log_softmax_backward(const Tensor& y, const Tensor& dy) {
  Tensor result = Tensor::empty(y.shape(), y.dtype());
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

CrossEntropy cross_entropy(const Tensor& logits, const Tensor& ids, std::int32_t ignore,
                           bool with_probabilities) {
  const std::size_t n = columns_of(logits);
  const std::size_t rows = rows_of(logits);
  const std::int32_t* id = ids.data<std::int32_t>();
  const auto ignored = static_cast<std::size_t>(std::count(id, id + rows, ignore));

  CrossEntropy result{{}, {}, rows - ignored};
  if (with_probabilities) result.probabilities = Tensor::empty(logits.shape(), logits.dtype());
  // Each row's loss has a place of its own, so they are added in the same order by any threads.
  Tensor losses = Tensor::zeros({rows}, DType::float64);
  double* loss = losses.mutable_data<double>();
  dispatch_float(logits.dtype(), [&]<class T>(T) {
    const T* x = logits.data<T>();
    T* probabilities = with_probabilities ? result.probabilities.mutable_data<T>() : nullptr;
    for_rows(logits, [&](std::size_t row, std::size_t first) {
      if (id[row] == ignore && !with_probabilities) return;
      const auto [maximum, total] =
          softmax_row(x + first, n, with_probabilities ? probabilities + first : nullptr);
      if (id[row] == ignore) return;
      const T logit = x[first + static_cast<std::size_t>(id[row])];
      loss[row] = std::log(static_cast<double>(total)) -
                  (static_cast<double>(logit) - static_cast<double>(maximum));
    });
  });
  const double total = lane_sum<double>(loss, rows, identity);
  const double mean = result.counted > 0 ? total / static_cast<double>(result.counted) : 0;
  result.loss = Tensor::scalar(mean, logits.dtype());
  return result;
}

Tensor cross_entropy_backward(const Tensor& probabilities, const Tensor& ids, std::int32_t ignore,
                              std::size_t counted, double dloss) {
  Tensor result = Tensor::empty(probabilities.shape(), probabilities.dtype());
  const std::size_t n = columns_of(probabilities);
  const std::int32_t* id = ids.data<std::int32_t>();
  dispatch_float(probabilities.dtype(), [&]<class T>(T) {
    const T* p = probabilities.data<T>();
    T* dx = result.mutable_data<T>();
    const T factor = static_cast<T>(dloss / static_cast<double>(counted));  // unused if 0 are
    for_rows(probabilities, [&](std::size_t row, std::size_t first) {
      if (id[row] == ignore) {
        std::fill_n(dx + first, n, T{0});
        return;
      }
      for (std::size_t j = first; j < first + n; ++j) dx[j] = p[j] * factor;
      const std::size_t target = first + static_cast<std::size_t>(id[row]);
      dx[target] = (p[target] - 1) * factor;
    });
  });
  return result;
}

}  // namespace tapegrad::kernels
