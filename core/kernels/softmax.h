#pragma once

#include <cstdint>

#include "../tensor.h"

/// Softmax over the last axis, and the losses made of it. Stable for any finite logits (the row's
/// maximum is subtracted). Shapes and dtypes have been checked by the caller.
namespace tapegrad::kernels {

/// y = x - log sum exp x, per row.
Tensor log_softmax(const Tensor& x);
Tensor softmax(const Tensor& x);
/// dx = dy - exp(y) sum(dy), per row, from the result y.
Tensor log_softmax_backward(const Tensor& y, const Tensor& dy);

/// Mean over the counted rows of -log softmax(logits)[id]. `logits` (..., V), `ids` (...) int32; a
/// row whose id is `ignore` does not count. `probabilities` (out, may be null): softmax of the
/// logits, for the backward.
struct CrossEntropy {
  Tensor loss;           // scalar; 0 if nothing counts
  Tensor probabilities;  // like logits; undefined if not asked for
  std::size_t counted;
};
CrossEntropy cross_entropy(const Tensor& logits, const Tensor& ids, std::int32_t ignore,
                           bool with_probabilities);
/// dlogits = (probabilities - one_hot(id)) dloss / counted, and 0 in ignored rows.
Tensor cross_entropy_backward(const Tensor& probabilities, const Tensor& ids, std::int32_t ignore,
                              std::size_t counted, double dloss);

}  // namespace tapegrad::kernels
