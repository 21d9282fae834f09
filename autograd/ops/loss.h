#pragma once

#include <initializer_list>
#include <span>

#include "../var.h"
#include "cross_entropy.h"
#include "softmax.h"

/// Losses: scalars, means over what is counted, differentiable in targets as in predictions. None
/// of them ever broadcasts: ShapeError unless shapes are equal, and for no elements at all;
/// DtypeError for ids or mixed dtypes.
///
/// Weights, one for each element (or sample, or step), turn the mean into sum(w l) / sum(w), so
/// that only their ratios matter. They have the shape of what they weigh and never broadcast:
/// weights (B) of samples over steps become (T, B) by
///
///     mse(y, target, {.weights = repeat(weights, 0, steps).value()})
///
/// Their dtype does not matter, and nothing differentiates them; UsageError unless they are finite
/// and at least 0. An element of weight 0 contributes nothing to the loss or to any gradient, even
/// if its loss is NaN or infinite. If all weights are 0 the loss and its gradients are 0.
///
/// A NaN in an element of non-zero weight makes the loss NaN; an infinite element loss makes it
/// infinite.
namespace tapegrad {

struct LossOptions {
  Tensor weights = {};  // undefined: 1
};

/// Returns the mean of |prediction - target|; gradient 0 where they are equal.
Var l1(const Var& prediction, const Var& target, const LossOptions& options = {});
/// Returns the mean of (prediction - target)^2.
Var mse(const Var& prediction, const Var& target, const LossOptions& options = {});
/// Returns the mean of e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), of e = prediction
/// - target (Huber 1964). Throws UsageError unless delta, rounded to the inputs' dtype, is finite
/// and above 0.
Var huber(const Var& prediction, const Var& target, double delta, const LossOptions& options = {});

struct BCEOptions {
  Tensor weights = {};     // undefined: 1
  Tensor positive_weight;  // () or (C), a class an element of the last axis; undefined: 1
};

/// Computes the binary cross entropy of sigmoid(logits), in nats: the mean of -p t log sigmoid(x)
/// - (1 - t) log(1 - sigmoid(x)), p the positive weight; stable, and exact in the tails. Throws
/// UsageError for a target outside [0, 1] or a positive weight that is not finite or below 0.
Var bce_with_logits(const Var& logits, const Var& targets, const BCEOptions& options = {});

struct GaussianNLLOptions {
  Tensor weights = {};    // undefined: 1
  double epsilon = 1e-6;  // smaller variances are treated as this one
  bool full = false;      // with the constant log(2 pi) / 2
};

/// Computes the negative log likelihood under a normal distribution with v = max(variance,
/// epsilon), the mean of
///   (log v + (target - mean)^2 / v) / 2,
/// as torch's GaussianNLLLoss. No square overflows unless the loss does.
/// At the clamp the gradient passes unchanged, as that of v, so that a variance that has become too
/// small can grow again. Throws UsageError for a negative variance, and unless epsilon, rounded
/// to the inputs' dtype, is finite and above 0.
Var gaussian_nll(const Var& mean, const Var& variance, const Var& target,
                 const GaussianNLLOptions& options = {});

/// Computes the pinball loss of several quantiles (Koenker and Bassett 1978): the mean of max(q e,
/// (q - 1) e) with e = target - prediction, gradient 0 at e = 0. prediction (..., Q), target and
/// weights (...), quantiles Q numbers in (0, 1), else UsageError.
Var quantile_loss(const Var& prediction, const Var& target, std::span<const double> quantiles,
                  const LossOptions& options = {});
inline Var quantile_loss(const Var& prediction, const Var& target,
                         std::initializer_list<double> quantiles, const LossOptions& options = {}) {
  return quantile_loss(prediction, target, std::span(quantiles.begin(), quantiles.size()), options);
}

struct ESRLossOptions {
  Tensor weights = {};      // undefined: 1
  double pre_emphasis = 0;  // a of the filter 1 - a z^-1, in [0, 1); 0.85 and 0.95 are usual
  double dc = 0;            // weight of the DC term, finite, >= 0; 1 is usual
  double epsilon = 0;       // added to the mean energy of the target, finite, >= 0
};

/// Computes the error-to-signal ratio of audio (T, ...), of all sequences together:
///
///   loss = mean(f(e)^2) / mean(f(target)^2) + dc mean(m^2) / mean(target^2),
///
/// e = prediction - target, f(x)[t] = x[t] - a x[t - 1] the pre-emphasis filter, x[-1] = 0, and m
/// the mean of e over the steps of a sequence (Wright et al. 2019). What has weight 0 is 0 to the
/// filter. Throws UsageError for a silent target unless epsilon > 0, and for an option out of
/// range.
Var esr_loss(const Var& prediction, const Var& target, const ESRLossOptions& options = {});

/// Computes sum(mask x) / sum(mask), mask of x's shape and any dtype: the mean of what a mask of 0
/// and 1 leaves; UsageError for an undefined one. What x was made of needs finite derivatives even
/// where the mask is 0: there they are multiplied by a gradient of 0. The losses above take the
/// mask as their weights, and do not need that of their inputs.
Var masked_mean(const Var& x, const Tensor& mask);

}  // namespace tapegrad
