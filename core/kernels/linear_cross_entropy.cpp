#include "linear_cross_entropy.h"

#include <algorithm>
#include <optional>

#include "../dispatch-inl.h"
#include "../flush_subnormals-inl.h"
#include "../scratch-inl.h"
#include "../simd/product-inl.h"
#include "cross_entropy_rows-inl.h"
#include "gemm-inl.h"
#include "gemm.h"

namespace tapegrad::kernels {
namespace {

/// dx_j = scale (F p_j - f_j), where e has the exponentials of the row: p_j = e_j / their sum. e
/// and dx may be the same. Where p_j is near 1, 1 - p_j is made of the other exponentials.
template <class T>
void gradient_of_row(const TargetRows& target, std::size_t row, double scale, const T* e,
                     std::size_t n, const RowSums<T>& sums, T* dx) {
  const double all = scale * target.sum_of_factors(row);
  const double inverse = sums.total() != 0 ? 1 / sums.total() : 0;
  const double rest = all * sums.rest * inverse;
  const std::size_t k = target.id(row);
  if (!target.smoothed()) {
    const double at_k = k == sums.largest ? -rest : all * static_cast<double>(e[k]) * inverse - all;
    const T factor = static_cast<T>(all * inverse);
    for (std::size_t j = 0; j < n; ++j) dx[j] = e[j] * factor;
    dx[k] = static_cast<T>(at_k);
    return;
  }
  for (std::size_t j = 0; j < n; ++j) {
    const double factor = scale * (target.at(j) + (j == k ? target.at_class(row) : 0));
    dx[j] = static_cast<T>(j == sums.largest ? (all - factor) - rest
                                             : all * static_cast<double>(e[j]) * inverse - factor);
  }
}

/// Rows of logits that are made at a time: enough to be worth reading all of W for, and four blocks
/// or more for the threads. A function of the sizes alone.
std::size_t block_rows(std::size_t rows, std::size_t columns) {
  return std::max(std::clamp<std::size_t>((rows + 3) / 4, 48, 192),
                  rows_per_block(columns, costly_block));
}

}  // namespace

LinearCrossEntropy linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                        const CrossEntropyTargets& targets, bool with_gradient) {
  const std::size_t rows = targets.ids.numel();
  const std::size_t inputs = weight.size(1), n = weight.size(0);
  const TargetRows target(targets, n);
  const double total_weight = target.total_weight(rows);
  LinearCrossEntropy result;
  if (with_gradient) result.dlogits = Tensor::empty({rows, n}, x.dtype());
  Tensor costs = Tensor::zeros({rows}, DType::float64);
  double* cost = costs.mutable_data<double>();
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* b = bias.defined() ? bias.data<T>() : nullptr;
    T* dlogits = with_gradient ? result.dlogits.mutable_data<T>() : nullptr;
    const FlushSubnormals flush;
    const T* const w = weight.data<T>();
    std::optional<Packed<T>> packed;
    if (inputs <= most_terms<T>) packed.emplace(inputs, n, Strided<T>{w, 1, inputs});
    for_blocks(rows, block_rows(rows, n), [&](std::size_t begin, std::size_t end) {
      const Scratch<T> logits((end - begin) * n);
      const T* const from = x.data<T>() + begin * inputs;
      if (packed) {
        packed->multiply(end - begin, {from, inputs, 1}, false, logits.get(), n);
      } else {
        gemm<T>(Transpose::no, Transpose::yes, end - begin, n, inputs, 1, from, inputs, w, inputs,
                0, logits.get(), n);
      }
      for (std::size_t row = begin; row < end; ++row) {
        T* const a = logits.get() + (row - begin) * n;
        T* const d = with_gradient ? dlogits + row * n : nullptr;
        const double weight_of_row = target.weight(row);
        if (weight_of_row == 0 || total_weight == 0) {
          if (with_gradient) std::fill_n(d, n, T{0});
          continue;
        }
        for (std::size_t j = 0; b != nullptr && j < n; ++j) a[j] += b[j];
        const RowSums<T> sums = exponentials(a, n, d);
        cost[row] = weight_of_row * cost_of_row(target, row, a, n, sums);
        if (with_gradient) {
          gradient_of_row(target, row, weight_of_row / total_weight, d, n, sums, d);
        }
      }
    });
  });
  result.loss = mean_of_rows(costs, total_weight, x.dtype());
  return result;
}

}  // namespace tapegrad::kernels
