#include "cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../dispatch-inl.h"
#include "softmax-inl.h"

namespace tapegrad::kernels {
namespace {

/// The power of two that brings the largest of weight(0), ..., weight(n - 1) near 1, so that sums
/// and products of them neither overflow nor vanish. Only ratios matter, and it rounds nothing.
template <class Weight>
double normaliser(std::size_t n, Weight weight) {
  double largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, weight(i));
  return largest > 0 ? std::ldexp(1.0, std::clamp(-std::ilogb(largest), -1022, 1023)) : 1;
}

/// The targets as pointers, and what a row has to know of them.
class Rows {
 public:
  Rows(const CrossEntropyTargets& targets, std::size_t classes)
      : id_(targets.ids.data<std::int32_t>()),
        weights_(targets.weights.defined() ? targets.weights.data<double>() : nullptr),
        class_weights_(targets.class_weights.defined() ? targets.class_weights.data<double>()
                                                       : nullptr),
        ignore_(targets.ignore),
        share_(targets.smoothing == 0 ? 0 : targets.smoothing / static_cast<double>(classes)),
        rest_(1 - targets.smoothing) {
    if (class_weights_ != nullptr) {
      class_scale_ = normaliser(classes, [this](std::size_t j) { return class_weight(j); });
    }
    if (weights_ != nullptr) {
      scale_ = normaliser(targets.ids.numel(), [this](std::size_t row) { return weight(row); });
    }
    for (std::size_t j = 0; j < classes && smoothed(); ++j) total_ += class_weight(j);
  }

  std::size_t id(std::size_t row) const { return static_cast<std::size_t>(id_[row]); }
  double class_weight(std::size_t j) const {
    return class_weights_ != nullptr ? class_scale_ * class_weights_[j] : 1;
  }
  /// 0 if the row does not count.
  double weight(std::size_t row) const {
    if (id_[row] == ignore_ || (!smoothed() && class_weight(id(row)) == 0)) return 0;
    return weights_ != nullptr ? scale_ * weights_[row] : 1;
  }
  bool smoothed() const { return share_ != 0; }
  /// Factors of -log p at the row's class and at every class j, and all of them together.
  double at_class(std::size_t row) const { return rest_ * class_weight(id(row)); }
  double at(std::size_t j) const { return share_ * class_weight(j); }
  double sum_of_factors(std::size_t row) const { return at_class(row) + share_ * total_; }

  double total_weight(std::size_t rows) const {
    double total = 0;
    for (std::size_t row = 0; row < rows; ++row) {
      if (const double w = weight(row); w != 0) total += w * class_weight(id(row));
    }
    return total;
  }

 private:
  const std::int32_t* id_;
  const double* weights_;
  const double* class_weights_;
  std::int32_t ignore_;
  double share_;
  double rest_;
  double scale_ = 1;
  double class_scale_ = 1;
  double total_ = 0;  // sum of the class weights
};

/// -log p_j of the logit x_j, in double: a sum of two terms that are not negative.
struct Cost {
  template <class T>
  explicit Cost(const RowSums<T>& sums)
      : shift(static_cast<double>(sums.shift)),
        log_total(sums.total() == 0 ? std::numeric_limits<double>::infinity() : sums.log_total()) {}
  double operator()(double x) const { return log_total - (x - shift); }

  double shift;
  double log_total;
};

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
  const Rows target(targets, n);

  CrossEntropy result{{}, {}, target.total_weight(rows)};
  if (with_probabilities) result.probabilities = Tensor::empty(logits.shape(), logits.dtype());
  // Each row's loss has a place of its own, so they are added in the same order by any threads.
  Tensor losses = Tensor::zeros({rows}, DType::float64);
  double* loss = losses.mutable_data<double>();
  dispatch_float(logits.dtype(), [&]<class T>(T) {
    const T* x = logits.data<T>();
    T* probabilities = with_probabilities ? result.probabilities.mutable_data<T>() : nullptr;
    for_rows(logits, [&](std::size_t row, std::size_t first) {
      const double weight = target.weight(row);
      if (weight == 0) {
        if (with_probabilities) std::fill_n(probabilities + first, n, T{0});
        return;
      }
      const Cost cost(with_probabilities ? softmax_row(x + first, n, probabilities + first)
                                         : exponentials<T>(x + first, n, nullptr));
      double of_row = 0;
      const auto add = [&](double factor, std::size_t j) {
        if (factor != 0) of_row += factor * cost(static_cast<double>(x[first + j]));
      };
      add(target.at_class(row), target.id(row));
      if (target.smoothed()) {
        for (std::size_t j = 0; j < n; ++j) add(target.at(j), j);
      }
      loss[row] = weight * of_row;
    });
  });
  const double total = lane_sum<double>(loss, rows, identity);
  const double mean = result.total_weight > 0 ? total / result.total_weight : 0;
  result.loss = Tensor::scalar(mean, logits.dtype());
  return result;
}

Tensor cross_entropy_backward(const Tensor& probabilities, const CrossEntropyTargets& targets,
                              double total_weight, double dloss) {
  Tensor result = Tensor::empty(probabilities.shape(), probabilities.dtype());
  const std::size_t n = columns_of(probabilities);
  const Rows target(targets, n);
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
  const Rows target(targets, n);
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
