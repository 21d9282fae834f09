#include "loss.h"

#include <fmt/core.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "../../core/check-inl.h"
#include "../../core/fail-inl.h"
#include "../../core/kernels/elementwise.h"
#include "../../core/kernels/loss.h"
#include "../../core/kernels/reduce.h"
#include "../node.h"
#include "../tape_errors-inl.h"
#include "elementwise.h"
#include "loss_weights-inl.h"
#include "reduce.h"
#include "shape.h"

namespace tapegrad {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

struct Operand {
  const char* name;
  const Var& x;
};

void check_dtypes(const char* op, Operand a, Operand b) {
  check::real(op, a.name, a.x.dtype());
  check::real(op, b.name, b.x.dtype());
  if (a.x.dtype() != b.x.dtype()) {
    tape_errors::mixed_dtypes(op, a.name, a.x.dtype(), b.name, b.x.dtype());
  }
}

/// Broadcasting (N) against (N, 1) would give (N, N) and a loss that looks well.
void check_pair(const char* op, Operand a, Operand b) {
  if (a.x.shape() != b.x.shape()) {
    std::string rule = "the shapes must be equal, a loss never broadcasts";
    const bool swapped = check::looks_swapped(a.x.shape(), b.x.shape());  // reshape would scramble
    if (a.x.shape().numel() == b.x.shape().numel() && !swapped) {
      rule += fmt::format("; reshape({}, {}.shape()) makes them so", a.name, b.name);
    }
    check::mismatch(op, {a.name, "", a.x.shape()}, {b.name, "", b.x.shape()}, rule);
  }
  check_dtypes(op, a, b);
}

/// The first element for which `wrong` holds throws UsageError: "[op] what is v ...: rule".
template <class Wrong>
void check_elements(const char* op, const char* what, const Tensor& x, Wrong wrong,
                    const char* rule) {
  for (std::size_t i = 0; i < x.numel(); ++i) {
    if (!wrong(x.at(i))) continue;
    fail<UsageError>(op, "{} is {} at position {} of shape {}: {}", what, x.at(i), i, x.shape(),
                     rule);
  }
}

/// `parameter` as it meets the elements: 1e-60 is 0 in float32.
double rounded(double parameter, DType dtype) { return Tensor::scalar(parameter, dtype).item(); }

// What single elements cost.

Var huber_of(const Var& e, double delta) {  // de = dl clamp(e, -delta, delta)
  Node n("huber", {e});
  n.note("delta", delta);
  Var l = n.out(kernels::huber(e.value(), delta));
  n.rule([e, delta](Grads& g) { g.add(0, g.d() * clamp(e, -delta, delta)); });
  return l;
}

Var pinball_of(const Var& e, const Var& q) {  // de = dl (q - [e < 0])
  Node n("quantile_loss", {e});
  Var l = n.out(kernels::pinball(e.value(), q.value()));
  n.branch([&] { return kernels::pinball_slope(e.value(), q.value()); });
  n.rule([e, q](Grads& g) { g.add(0, g.d() * kernels::pinball_slope(e.value(), q.value())); });
  return l;
}

/// y = -p log sigmoid(x) + log sigmoid(-x);   dx = -dy (sigmoid(x) + p sigmoid(-x))
Var bce_target_slope(const Var& x, const Var& p) {
  Node n("bce_target_slope", {x});
  Var y = n.out(kernels::binary_cross_entropy_target_slope(x.value(), p.value()));
  n.rule([x, p](Grads& g) { g.add(0, neg(g.d()) * (sigmoid(x) + p * sigmoid(-x))); });
  return y;
}

/// dx = dl ((1 - t) sigmoid(x) - p t sigmoid(-x)), dt = dl (-p log sigmoid(x) + log sigmoid(-x))
Var bce_of(const Var& x, const Var& t, const Var& p) {
  Node n("bce_with_logits", {x, t});
  Var l = n.out(kernels::binary_cross_entropy(x.value(), t.value(), p.value()));
  n.rule([x, t, p](Grads& g) {
    if (g.needs(0)) {
      const Var slope = g.graph()
                            ? (1.0 - t) * sigmoid(x) - p * t * sigmoid(-x)
                            : kernels::binary_cross_entropy_slope(x.value(), t.value(), p.value());
      g.add(0, g.d() * slope);
    }
    if (g.needs(1)) g.add(1, g.d() * bce_target_slope(x, p));
  });
  return l;
}

/// v = max(variance, epsilon);   dvariance = dv, at the clamp too
Var clamp_variance(const Var& variance, double epsilon) {
  Node n("gaussian_nll", {variance});
  n.note("epsilon", epsilon);
  Var v = n.out(kernels::clamp(variance.value(), epsilon, inf));
  n.branch([&] { return kernels::beyond(variance.value(), epsilon, inf); });
  n.rule([](Grads& g) { g.add(0, g.d()); });
  return v;
}

void check_at_least_0(const char* op, const char* name, double value) {
  if (value >= 0 && std::isfinite(value)) return;
  fail<UsageError>(op, "{} is {}: it must be finite and at least 0", name, value);
}

/// y[t] = x[t] - a x[t - 1]
Var pre_emphasized(const Var& x, double a) {
  if (a == 0) return x;
  const std::size_t T = x.size(0);
  return x - a * pad(slice(x, 0, 0, T - 1), 0, 1, T);
}

}  // namespace

Var l1(const Var& prediction, const Var& target, const LossOptions& options) {
  check::defined("l1", {{"prediction", prediction}, {"target", target}});
  check_pair("l1", {"prediction", prediction}, {"target", target});
  const LossWeights w("l1", options.weights, "target", target);
  return w.mean(abs(w.select(prediction - target)));
}

Var mse(const Var& prediction, const Var& target, const LossOptions& options) {
  check::defined("mse", {{"prediction", prediction}, {"target", target}});
  check_pair("mse", {"prediction", prediction}, {"target", target});
  const LossWeights w("mse", options.weights, "target", target);
  return w.mean(square(w.select(prediction - target)));
}

Var huber(const Var& prediction, const Var& target, double delta, const LossOptions& options) {
  check::defined("huber", {{"prediction", prediction}, {"target", target}});
  check_pair("huber", {"prediction", prediction}, {"target", target});
  check::positive("huber", "delta in the inputs' dtype", rounded(delta, prediction.dtype()));
  const LossWeights w("huber", options.weights, "target", target);
  return w.mean(huber_of(w.select(prediction - target), delta));
}

Var bce_with_logits(const Var& logits, const Var& targets, const BCEOptions& options) {
  check::defined("bce_with_logits", {{"logits", logits}, {"targets", targets}});
  constexpr auto op = "bce_with_logits";
  check_pair(op, {"logits", logits}, {"targets", targets});
  const LossWeights w(op, options.weights, "logits", logits);
  const Var t = w.select(targets);
  check_elements(
      op, "target", t.value(), [](double v) { return v < 0 || v > 1; },
      "it must be in [0, 1]; a target of -1 or 1 becomes one by (t + 1) / 2");
  Tensor p = Tensor::scalar(1, logits.dtype());
  if (options.positive_weight.defined()) {
    p = options.positive_weight;
    const std::size_t rank = logits.shape().rank();
    if (p.rank() > 1 || p.rank() > rank || !p.shape().is_suffix_of(logits.shape())) {
      check::mismatch(op, {"positive_weight", "() or (C)", p.shape()},
                      {"logits", "(..., C)", logits.shape()}, "C must match");
    }
    check_finite_weights(op, "positive_weight", p);
    p = p.to(logits.dtype());
  }
  return w.mean(bce_of(w.select(logits), t, p));
}

Var gaussian_nll(const Var& mean, const Var& variance, const Var& target,
                 const GaussianNLLOptions& options) {
  check::defined("gaussian_nll", {{"mean", mean}, {"variance", variance}, {"target", target}});
  constexpr auto op = "gaussian_nll";
  check_pair(op, {"mean", mean}, {"target", target});
  check_pair(op, {"variance", variance}, {"target", target});
  check::positive(op, "epsilon in the inputs' dtype", rounded(options.epsilon, mean.dtype()));
  const LossWeights w(op, options.weights, "target", target);
  const Var counted = w.select(variance, 1);
  check_elements(
      op, "variance", counted.value(), [](double v) { return v < 0; },
      "it must be at least 0; exp() or a square of what the model gives makes it so");
  const Var v = clamp_variance(counted, options.epsilon);
  // Divided before it is squared, so that a square overflows only where the loss does.
  const Var twice = log(v) + square(w.select(mean - target) / sqrt(v));
  const double constant = options.full ? std::log(2 * std::numbers::pi) : 0;
  return 0.5 * w.mean(twice + constant);
}

Var quantile_loss(const Var& prediction, const Var& target, std::span<const double> quantiles,
                  const LossOptions& options) {
  check::defined("quantile_loss", {{"prediction", prediction}, {"target", target}});
  constexpr auto op = "quantile_loss";
  const Shape& shape = prediction.shape();
  const std::size_t rank = target.shape().rank();
  if (shape.rank() != rank + 1 || shape.without(rank) != target.shape() ||
      shape[rank] != quantiles.size()) {
    check::mismatch(op, {"prediction", "(..., Q)", shape}, {"target", "(...)", target.shape()},
                    fmt::format("prediction must have one more axis, of size Q = {}, the number of "
                                "quantiles",
                                quantiles.size()));
  }
  check_dtypes(op, {"prediction", prediction}, {"target", target});
  const Tensor q = Tensor::from({quantiles.size()}, quantiles);
  check_elements(
      op, "quantile", q, [](double v) { return !(v > 0 && v < 1); }, "it must be in (0, 1)");
  Tensor weights = options.weights;
  if (weights.defined()) {
    check_weights(op, weights, "target", target.shape());
    weights = kernels::repeat(weights.to(DType::float64), rank, quantiles.size());
  }
  const LossWeights w(op, weights, "prediction", prediction);
  const Var e = w.select(repeat(target, rank, quantiles.size()) - prediction);
  return w.mean(pinball_of(e, q.to(prediction.dtype())));
}

Var esr_loss(const Var& prediction, const Var& target, const ESRLossOptions& options) {
  check::defined("esr_loss", {{"prediction", prediction}, {"target", target}});
  constexpr auto op = "esr_loss";
  check_pair(op, {"prediction", prediction}, {"target", target});
  if (target.shape().rank() == 0) check::wrong_shape(op, "target", target.shape(), "(T, ...)");
  check::probability(op, "pre_emphasis", options.pre_emphasis);
  check_at_least_0(op, "dc", options.dc);
  check_at_least_0(op, "epsilon", options.epsilon);
  const LossWeights w(op, options.weights, "target", target);
  const Var e = w.select(prediction - target), y = w.select(target);
  const auto energy = [&](const Var& x) { return w.mean(square(x)); };
  const Var signal = energy(pre_emphasized(y, options.pre_emphasis));
  if (signal.item() == 0 && options.epsilon == 0 && !w.all_zero()) {
    fail<UsageError>(op,
                     "the target is silent, and a ratio to silence does not exist: leave the batch "
                     "out, or give epsilon");
  }
  const double added = w.all_zero() ? 1 : options.epsilon;
  Var ratio = energy(pre_emphasized(e, options.pre_emphasis)) / (signal + added);
  if (options.dc == 0) return ratio;
  const Var offset = repeat(w.mean(e, 0), 0, e.size(0));
  return ratio + options.dc * (energy(offset) / (energy(y) + added));
}

Var masked_mean(const Var& x, const Tensor& mask) {
  check::defined("masked_mean", {{"x", x}});
  check::real("masked_mean", "x", x.dtype());
  if (!mask.defined()) {
    fail<UsageError>("masked_mean",
                     "the mask is undefined: it must have the shape of x; mean() takes none");
  }
  const LossWeights w("masked_mean", mask, "x", x, "mask");
  return w.mean(w.select(x));
}

}  // namespace tapegrad
