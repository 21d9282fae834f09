#include "loss.h"

#include "../../core/kernels/softmax.h"
#include "../node.h"
#include "check.h"
#include "elementwise.h"
#include "reduce.h"

namespace tapegrad {
namespace {

void check_classes(const char* op, const Var& logits, const Tensor& ids, std::int32_t ignore) {
  const Shape& shape = logits.shape();
  if (shape.rank() == 0 || shape.without(shape.rank() - 1) != ids.shape()) {
    check::mismatch(op, {"logits", "(..., V)", shape}, {"ids", "(...)", ids.shape()},
                    "the leading axes must match");
  }
  check::real(op, "logits", logits.dtype());
  check::ids(op, ids, shape[shape.rank() - 1], &ignore);
}

}  // namespace

Var log_softmax(const Var& x) {  // dx = dy - softmax(x) sum(dy)
  if (x.shape().rank() == 0) check::wrong_shape("log_softmax", "x", x.shape(), "of rank 1 or more");
  check::real("log_softmax", "x", x.dtype());
  Node n("log_softmax", {x});
  Var y = n.out(kernels::log_softmax(x.value()));
  n.rule([y](Grads& g) {
    if (!g.graph()) return g.add(0, kernels::log_softmax_backward(y.value(), g.d().value()));
    const std::size_t last = y.shape().rank() - 1;
    g.add(0, g.d() - exp(y) * repeat(sum(g.d(), last), last, y.size(last)));
  });
  return y;
}

Var cross_entropy(const Var& logits, const Tensor& ids, CrossEntropyOptions options) {
  check_classes("cross_entropy", logits, ids, options.ignore_index);
  const Var classes = ids;
  Node n("cross_entropy", {logits, classes});
  const kernels::CrossEntropy result =
      kernels::cross_entropy(logits.value(), ids, options.ignore_index, n.recording());
  Var loss = n.out(result.loss);
  if (!n.recording()) return loss;
  const Var probabilities = result.probabilities;
  n.rule([logits, classes, options, probabilities, counted = result.counted](Grads& g) {
    if (g.graph()) {
      return g.through(
          [&](const Vars& in) {
            return Vars{cross_entropy_composed(in[0], in[1].value(), options)};
          },
          {logits, classes});
    }
    g.add(0, kernels::cross_entropy_backward(probabilities.value(), classes.value(),
                                             options.ignore_index, counted, g.d().item()));
  });
  return loss;
}

Var cross_entropy_composed(const Var& logits, const Tensor& ids, CrossEntropyOptions options) {
  check_classes("cross_entropy_composed", logits, ids, options.ignore_index);
  const Shape& shape = logits.shape();
  const std::size_t classes = shape[shape.rank() - 1];
  Tensor one_hot = Tensor::zeros(shape, DType::float64);
  std::size_t counted = 0;
  const std::span<const std::int32_t> id = ids.values<std::int32_t>();
  double* const weights = one_hot.mutable_data<double>();
  for (std::size_t row = 0; row < id.size(); ++row) {
    if (id[row] == options.ignore_index) continue;
    weights[row * classes + static_cast<std::size_t>(id[row])] = 1;
    ++counted;
  }
  const double count = counted == 0 ? 1.0 : static_cast<double>(counted);
  return -sum(log_softmax(logits) * Var(one_hot.to(logits.dtype()))) / count;
}

Var mse(const Var& prediction, const Var& target) {  // dprediction = 2 (prediction - target) dy / n
  check::equal_shapes("mse", "prediction", prediction.shape(), "target", target.shape());
  return mean(square(prediction - target));
}

}  // namespace tapegrad
