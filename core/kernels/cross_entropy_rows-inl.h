#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "cross_entropy.h"
#include "softmax-inl.h"

#pragma GCC visibility push(hidden)

/// Common parts of the forms of cross entropy: the target of a row of logits, and its loss.
namespace tapegrad::kernels {

/// The power of two that brings the largest of weight(0), ..., weight(n - 1) near 1, so that sums
/// and products of them neither overflow nor vanish. Only ratios matter, and it rounds nothing.
template <class Weight>
double normaliser(std::size_t n, Weight weight) {
  double largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, weight(i));
  return largest > 0 ? std::ldexp(1.0, std::clamp(-std::ilogb(largest), -1022, 1023)) : 1;
}

/// The targets as pointers, and what a row has to know of them.
class TargetRows {
 public:
  TargetRows(const CrossEntropyTargets& targets, std::size_t classes)
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

/// Returns the loss of a row of n logits, whose exponentials have been summed, without its weight.
template <class T>
double cost_of_row(const TargetRows& target, std::size_t row, const T* x, std::size_t n,
                   const RowSums<T>& sums) {
  const Cost cost(sums);
  double total = 0;
  const auto add = [&](double factor, std::size_t j) {
    if (factor != 0) total += factor * cost(static_cast<double>(x[j]));
  };
  add(target.at_class(row), target.id(row));
  if (target.smoothed()) {
    for (std::size_t j = 0; j < n; ++j) add(target.at(j), j);
  }
  return total;
}

/// The loss of rows whose weighted costs are given. Each row has a place of its own, so they are
/// added in the same order by any threads.
inline Tensor mean_of_rows(const Tensor& costs, double total_weight, DType dtype) {
  const double total = sum_in_double(costs.data<double>(), costs.numel());
  return Tensor::scalar(total_weight > 0 ? total / total_weight : 0, dtype);
}

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
