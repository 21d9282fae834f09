#include "cross_entropy.h"

#include <algorithm>

#include "../dispatch-inl.h"
#include "cross_entropy_rows-inl.h"

namespace tapegrad::kernels {
namespace {

/// 1 - p_k. Near p_k = 1 the other elements' sum, because the difference would be lost.
template <class T>
double complement(const T* p, std::size_t n, std::size_t k) {
  if (!(p[k] > T{0.5})) return 1 - static_cast<double>(p[k]);
  return lane_sum_of<double>(
      n, [=](std::size_t j) { return j != k ? static_cast<double>(p[j]) : 0.0; });
}

}  // namespace

CrossEntropy cross_entropy(const Tensor& logits, const CrossEntropyTargets& targets,
                           bool with_probabilities) {
  const std::size_t n = columns_of(logits);
  const std::size_t rows = rows_of(logits);
  const TargetRows target(targets, n);

  CrossEntropy result{{}, {}, target.total_weight(rows)};
  if (with_probabilities) result.probabilities = Tensor::empty(logits.shape(), logits.dtype());
  Tensor costs = Tensor::zeros({rows}, DType::float64);
  double* cost = costs.mutable_data<double>();
  dispatch_float(logits.dtype(), [&]<class T>(T) {
    const T* x = logits.data<T>();
    T* probabilities = with_probabilities ? result.probabilities.mutable_data<T>() : nullptr;
    for_rows(logits, [&](std::size_t row, std::size_t first) {
      const double weight = target.weight(row);
      if (weight == 0) {
        if (with_probabilities) std::fill_n(probabilities + first, n, T{0});
        return;
      }
      const RowSums<T> sums = with_probabilities ? softmax_row(x + first, n, probabilities + first)
                                                 : exponentials<T>(x + first, n, nullptr);
      cost[row] = weight * cost_of_row(target, row, x + first, n, sums);
    });
  });
  result.loss = mean_of_rows(costs, result.total_weight, logits.dtype());
  return result;
}

Tensor cross_entropy_backward(const Tensor& probabilities, const CrossEntropyTargets& targets,
                              double total_weight, double dloss) {
  Tensor result = Tensor::empty(probabilities.shape(), probabilities.dtype());
  const std::size_t n = columns_of(probabilities);
  const TargetRows target(targets, n);
  dispatch_float(probabilities.dtype(), [&]<class T>(T) {
    const T* p = probabilities.data<T>();
    T* dx = result.mutable_data<T>();
    for_rows(probabilities, [&](std::size_t row, std::size_t first) {
      const double weight = target.weight(row);
      if (weight == 0 || total_weight == 0) {
        std::fill_n(dx + first, n, T{0});
        return;
      }
      const double scale = weight / total_weight * dloss;
      const double all = scale * target.sum_of_factors(row);
      const T* const of_row = p + first;
      const std::size_t k = target.id(row);
      if (!target.smoothed()) {
        for (std::size_t j = 0; j < n; ++j) dx[first + j] = of_row[j] * static_cast<T>(all);
        dx[first + k] = static_cast<T>(-all * complement(of_row, n, k));
        return;
      }
      for (std::size_t j = 0; j < n; ++j) {
        const double factor = scale * (target.at(j) + (j == k ? target.at_class(row) : 0));
        dx[first + j] =
            static_cast<T>(of_row[j] > T{0.5} ? (all - factor) - all * complement(of_row, n, j)
                                              : all * static_cast<double>(of_row[j]) - factor);
      }
    });
  });
  return result;
}

Tensor cross_entropy_factors(const Shape& logits, const CrossEntropyTargets& targets) {
  Tensor result = Tensor::zeros(logits, DType::float64);
  const std::size_t n = columns_of(result);
  const std::size_t rows = rows_of(result);
  const TargetRows target(targets, n);
  const double total_weight = target.total_weight(rows);
  double* m = result.mutable_data<double>();
  for (std::size_t row = 0; row < rows && total_weight != 0; ++row) {
    const double weight = target.weight(row);
    if (weight == 0) continue;
    const double share = weight / total_weight;
    double* const of_row = m + row * n;
    for (std::size_t j = 0; j < n; ++j) of_row[j] = share * target.at(j);
    of_row[target.id(row)] += share * target.at_class(row);
  }
  return result;
}

}  // namespace tapegrad::kernels
