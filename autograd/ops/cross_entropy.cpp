#include "cross_entropy.h"

#include "../../core/check-inl.h"
#include "../../core/kernels/cross_entropy.h"
#include "../../core/kernels/linear_cross_entropy.h"
#include "../../core/kernels/reduce.h"
#include "../node.h"
#include "elementwise.h"
#include "loss_weights-inl.h"
#include "matrix-inl.h"
#include "reduce.h"
#include "softmax.h"

namespace tapegrad {
namespace {

/// Everything but the logits, checked and as kernels take it.
kernels::CrossEntropyTargets checked_targets(const char* op, const char* name, const Shape& shape,
                                             DType dtype, const Tensor& ids,
                                             const CrossEntropyOptions& options) {
  if (shape.rank() == 0 || shape.without(shape.rank() - 1) != ids.shape()) {
    check::mismatch(op, {name, "(..., V)", shape}, {"ids", "(...)", ids.shape()},
                    "the leading axes must match");
  }
  if (shape.numel() == 0) check::wrong_shape(op, name, shape, "of at least one element");
  const std::size_t classes = shape[shape.rank() - 1];
  check::real(op, name, dtype);
  check::ids(op, ids, classes, &options.ignore_index);
  check::probability(op, "label_smoothing", options.label_smoothing);
  check_weights(op, options.weights, "ids", ids.shape());
  check_finite_weights(op, "class_weights", options.class_weights);
  if (options.class_weights.defined() && options.class_weights.shape() != Shape{classes}) {
    check::mismatch(op, {"class_weights", "(V)", options.class_weights.shape()},
                    {name, "(..., V)", shape}, "V must match");
  }
  const auto in_double = [](const Tensor& w) { return w.defined() ? w.to(DType::float64) : w; };
  return {ids, options.ignore_index, in_double(options.weights), in_double(options.class_weights),
          options.label_smoothing};
}

/// Returns them as constants, that a rule may keep: a tensor overwritten in between is noticed.
struct SavedTargets {
  explicit SavedTargets(const kernels::CrossEntropyTargets& t)
      : ids(t.ids),
        weights(t.weights),
        class_weights(t.class_weights),
        ignore(t.ignore),
        smoothing(t.smoothing) {}
  kernels::CrossEntropyTargets targets() const {
    return {ids.value(), ignore, value(weights), value(class_weights), smoothing};
  }
  CrossEntropyOptions options() const {
    return {ignore, smoothing, value(class_weights), value(weights)};
  }
  static Tensor value(const Var& v) { return v.defined() ? v.value() : Tensor(); }

  Var ids, weights, class_weights;
  std::int32_t ignore;
  double smoothing;
};

/// m with loss = -sum(m log p).
Var factors_of(const Var& log_p, const kernels::CrossEntropyTargets& targets) {
  return kernels::cross_entropy_factors(log_p.shape(), targets).to(log_p.dtype());
}

}  // namespace

Var nll(const Var& log_probabilities, const Tensor& ids, const NLLOptions& options) {
  check::defined("nll", {{"log_probabilities", log_probabilities}, {"ids", ids}});
  const kernels::CrossEntropyTargets targets = checked_targets(
      "nll", "log_probabilities", log_probabilities.shape(), log_probabilities.dtype(), ids,
      {options.ignore_index, 0, options.class_weights, options.weights});
  const Var m = factors_of(log_probabilities, targets);
  // A log p of -inf must not meet a factor of 0.
  return -sum(m * select_counted(log_probabilities, m));
}

Var cross_entropy(const Var& logits, const Tensor& ids, const CrossEntropyOptions& options) {
  check::defined("cross_entropy", {{"logits", logits}, {"ids", ids}});
  const kernels::CrossEntropyTargets targets =
      checked_targets("cross_entropy", "logits", logits.shape(), logits.dtype(), ids, options);
  const SavedTargets saved(targets);
  Node n("cross_entropy", {logits, saved.ids});
  n.note("ignore_index", options.ignore_index);
  n.note("label_smoothing", options.label_smoothing);
  const kernels::CrossEntropy result =
      kernels::cross_entropy(logits.value(), targets, n.recording());
  Var loss = n.out(result.loss);
  if (!n.recording()) return loss;
  const Var probabilities = result.probabilities;
  n.rule([logits, saved, probabilities, total_weight = result.total_weight](Grads& g) {
    if (g.graph()) {
      return g.through(
          [&](const Vars& in) {
            return Vars{cross_entropy_composed(in[0], in[1].value(), saved.options())};
          },
          {logits, saved.ids});
    }
    g.add(0, kernels::cross_entropy_backward(probabilities.value(), saved.targets(), total_weight,
                                             g.d().item()));
  });
  return loss;
}

// Rows that do not count are left out before the softmax, so that a NaN there reaches nothing;
// classes that do not, after it, because 0 times a log p of -inf is NaN.
Var cross_entropy_composed(const Var& logits, const Tensor& ids,
                           const CrossEntropyOptions& options) {
  check::defined("cross_entropy_composed", {{"logits", logits}, {"ids", ids}});
  const kernels::CrossEntropyTargets targets = checked_targets(
      "cross_entropy_composed", "logits", logits.shape(), logits.dtype(), ids, options);
  const Var m = factors_of(logits, targets);
  const std::size_t last = logits.shape().rank() - 1;
  const Var rows = kernels::repeat(kernels::sum(m.value(), last), last, logits.size(last));
  return -sum(m * select_counted(log_softmax(select_counted(logits, rows)), m));
}

Var linear_cross_entropy(const Var& x, const Var& weight, const Var& bias, const Tensor& ids,
                         const CrossEntropyOptions& options) {
  const char* const op = "linear_cross_entropy";
  check::defined(op, {{"x", x}, {"weight", weight}, {"ids", ids}});
  check::linear(op, x, weight, bias);
  const Shape& shape = x.shape();
  const std::size_t last = shape.rank() - 1;
  if (shape.without(last) != ids.shape()) {
    check::mismatch(op, {"x", "(..., I)", shape}, {"ids", "(...)", ids.shape()},
                    "the leading axes must match");
  }
  if (shape.numel() == 0) check::wrong_shape(op, "x", shape, "of at least one element");
  const kernels::CrossEntropyTargets targets =
      checked_targets(op, "logits", shape.with(last, weight.size(0)), x.dtype(), ids, options);
  const SavedTargets saved(targets);
  Node n("linear_cross_entropy", {x, weight, bias, saved.ids});
  n.note("ignore_index", options.ignore_index);
  n.note("label_smoothing", options.label_smoothing);
  const kernels::LinearCrossEntropy result = kernels::linear_cross_entropy(
      x.value(), weight.value(), SavedTargets::value(bias), targets, n.recording());
  Var loss = n.out(result.loss);
  if (!n.recording()) return loss;
  const Var dlogits = result.dlogits;
  n.rule([x, weight, bias, saved, dlogits](Grads& g) {
    if (g.graph()) {
      return g.through(
          [&](const Vars& in) {
            return Vars{
                linear_cross_entropy_composed(in[0], in[1], in[2], in[3].value(), saved.options())};
          },
          {x, weight, bias, saved.ids});
    }
    const double dloss = g.d().item();
    add_linear_gradients(g, dloss == 1 ? dlogits : dlogits * dloss, x, weight);
  });
  return loss;
}

Var linear_cross_entropy_composed(const Var& x, const Var& weight, const Var& bias,
                                  const Tensor& ids, const CrossEntropyOptions& options) {
  return cross_entropy_composed(linear(x, weight, bias), ids, options);
}

}  // namespace tapegrad
