#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>

#include "../../autograd/ops/ctc.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/gather.h"
#include "../../autograd/ops/layer_norm.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/ops/softmax.h"
#include "../../autograd/tape.h"
#include "../../core/data/sequences.h"
#include "../fixtures/torch_ops.h"
#include "../support/filled.h"
#include "../support/is_worse.h"

TEST_SUITE_BEGIN("goldens");

// Every op and loss against PyTorch 2.13 in float64, values and gradients:
// fixtures/make_torch_ops.py says how its numbers were made. Left out are "dropout", whose random
// numbers are others; "lstm", "gru" and "rnn", which have test_torch_parity.cpp; "scan" and "clip_gradient",
// which torch does not have; "cast", which does
// nothing in float64; "identity", "masked", "select_weighted", "huber_slope", "sigmoid_slope", "tanh_slope",
// "minus_mean", "minus_share" and "bce_target_slope", of which rules of ops are made.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using In = const Vars&;

Tensor ids(const Shape& shape, std::initializer_list<double> values) {
  return Tensor::of(shape, values, DType::int32);
}

const Tensor table_rows = ids({2, 4}, {0, 3, 3, 1, 0, 3, 2, 0});
const Tensor classes = ids({5}, {2, 0, -100, 1, 4});
const Tensor counted = ids({5}, {2, 0, 3, 1, 4});
const Tensor places = ids({2, 4}, {2, 0, 0, 1, 2, 2, 1, 1});
const Tensor class_weights = Tensor::of({5}, {0.5, 1, 2, 0.25, 1.5}, DType::float64);
const Tensor row_weights = Tensor::of({5}, {1, 0.5, 0, 2, 0.25}, DType::float64);

const Tensor ctc_ids = ids({3, 4}, {1, 9, 3, 2, 1, 9, 4, 9, 2, 9, 4, 9});
const Tensor ctc_lengths = ids({4}, {3, 0, 3, 1}), ctc_steps = ids({4}, {8, 5, 4, 1});

Tensor condition() {
  Tensor result = Tensor::zeros({3, 4}, DType::int32);
  const Tensor numbers = filled({3, 4}, 40);
  for (std::size_t i = 0; i < 12; ++i) result.mutable_data<std::int32_t>()[i] = numbers.at(i) > 0;
  return result;
}

/// part 0 x 1, part 1 x 2, ..., so that no two parts can be confused.
Vars numbered(Vars parts) {
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i] = parts[i] * static_cast<double>(i + 1);
  return parts;
}

constexpr Transpose yes = Transpose::yes;

const std::map<std::string, std::function<Var(In)>> our_ops = {
    {"neg", [](In x) { return -x[0]; }},
    {"scale", [](In x) { return -1.5 * x[0]; }},
    {"add_scalar", [](In x) { return 1.5 - x[0]; }},
    {"exp", [](In x) { return exp(x[0]); }},
    {"expm1", [](In x) { return expm1(x[0]); }},
    {"log", [](In x) { return log(x[0]); }},
    {"log1p", [](In x) { return log1p(x[0]); }},
    {"sqrt", [](In x) { return sqrt(x[0]); }},
    {"square", [](In x) { return square(x[0]); }},
    {"sigmoid", [](In x) { return sigmoid(x[0]); }},
    {"tanh", [](In x) { return tanh(x[0]); }},
    {"relu", [](In x) { return relu(x[0]); }},
    {"abs", [](In x) { return abs(x[0]); }},
    {"softplus", [](In x) { return softplus(x[0]); }},
    {"pow 3", [](In x) { return pow(x[0], 3); }},
    {"pow -1.5", [](In x) { return pow(x[0], -1.5); }},
    {"pow", [](In x) { return pow(x[0], x[1]); }},
    {"clamp", [](In x) { return clamp(x[0], -0.75, 1.25); }},
    {"relu at 0", [](In x) { return relu(x[0]); }},
    {"abs at 0", [](In x) { return abs(x[0]); }},
    {"clamp at its bounds", [](In x) { return clamp(x[0], -0.75, 1.25); }},
    {"maximum of equals", [](In x) { return maximum(x[0], x[1]); }},
    {"add", [](In x) { return x[0] + x[1]; }},
    {"sub", [](In x) { return x[0] - x[1]; }},
    {"mul", [](In x) { return x[0] * x[1]; }},
    {"div", [](In x) { return x[0] / x[1]; }},
    {"maximum", [](In x) { return maximum(x[0], x[1]); }},
    {"minimum", [](In x) { return minimum(x[0], x[1]); }},
    {"where", [](In x) { return where(condition(), x[0], x[1]); }},
    {"sum", [](In x) { return sum(x[0]); }},
    {"sum of an axis", [](In x) { return sum(x[0], 1); }},
    {"mean", [](In x) { return mean(x[0]); }},
    {"mean of an axis", [](In x) { return mean(x[0], 2); }},
    {"max", [](In x) { return max(x[0]); }},
    {"max of an axis", [](In x) { return max(x[0], 1); }},
    {"min of an axis", [](In x) { return min(x[0], 2); }},
    {"norm", [](In x) { return norm(x[0]); }},
    {"norm of an axis", [](In x) { return norm(x[0], -2); }},
    {"norm at 0", [](In x) { return norm(x[0]); }},
    {"cumsum", [](In x) { return cumsum(x[0], 1); }},
    {"sum_to", [](In x) { return sum_to(x[0], {4}); }},
    {"broadcast_to",
     [](In x) {
       return broadcast_to(x[0], {2, 3, 4});
     }},
    {"repeat", [](In x) { return repeat(x[0], 1, 3); }},
    {"softmax", [](In x) { return softmax(x[0]); }},
    {"log_softmax", [](In x) { return log_softmax(x[0]); }},
    {"logsumexp", [](In x) { return logsumexp(x[0]); }},
    {"reshape",
     [](In x) {
       return reshape(x[0], {2, 6});
     }},
    {"transpose", [](In x) { return transpose(x[0], 0, 2); }},
    {"slice", [](In x) { return slice(x[0], 1, 1, 3); }},
    {"pad", [](In x) { return pad(x[0], 1, 1, 7); }},
    {"concat",
     [](In x) {
       return concat({x[0], x[1], x[0]}, 1);
     }},
    {"stack",
     [](In x) {
       return stack({x[0], x[1]}, 1);
     }},
    {"unbind", [](In x) { return stack(numbered(unbind(x[0]))); }},
    {"split",
     [](In x) {
       return concat(numbered(split(x[0], {1, 2, 1}, 1)), 1);
     }},
    {"topk", [](In x) { return topk(x[0], 2, 1).values; }},
    {"topk, smallest", [](In x) { return topk(x[0], 2, 0, false).values; }},
    {"index_select",
     [](In x) {
       return index_select(x[0], 1, ids({4}, {2, 0, 2, 1}));
     }},
    {"gather", [](In x) { return gather(x[0], 0, places); }},
    {"scatter_add", [](In x) { return scatter_add(x[0], 0, places, 3); }},
    {"embedding", [](In x) { return embedding(x[0], table_rows); }},
    {"scatter_rows", [](In x) { return scatter_rows(x[0], table_rows, 5); }},
    {"matmul", [](In x) { return matmul(x[0], x[1]); }},
    {"matmul transposed", [](In x) { return matmul(x[0], x[1], yes, yes); }},
    {"matmul in batches", [](In x) { return matmul(x[0], x[1]); }},
    {"outer", [](In x) { return outer(x[0], x[1]); }},
    {"linear", [](In x) { return linear(x[0], x[1], x[2]); }},
    {"layer_norm", [](In x) { return layer_norm(x[0], x[1], x[2]); }},
    {"mse", [](In x) { return mse(x[0], x[1]); }},
    {"l1", [](In x) { return l1(x[0], x[1]); }},
    {"huber", [](In x) { return huber(x[0], x[1], 0.75); }},
    {"bce_with_logits", [](In x) { return bce_with_logits(x[0], x[1]); }},
    {"bce_with_logits, positive weight",
     [](In x) {
       return bce_with_logits(x[0], x[1], {.positive_weight = Tensor::scalar(2.5, DType::float64)});
     }},
    {"nll", [](In x) { return nll(log_softmax(x[0]), classes); }},
    {"gaussian_nll", [](In x) { return gaussian_nll(x[0], x[1], x[2]); }},
    {"quantile_loss",
     [](In x) {
       return quantile_loss(x[0], x[1], {0.1, 0.5, 0.9});
     }},
    {"cross_entropy", [](In x) { return cross_entropy(x[0], classes); }},
    {"cross_entropy, label smoothing",
     [](In x) { return cross_entropy(x[0], classes, {.label_smoothing = 0.125}); }},
    {"cross_entropy, class weights",
     [](In x) { return cross_entropy(x[0], classes, {.class_weights = class_weights}); }},
    {"cross_entropy, both",
     [](In x) {
       return cross_entropy(x[0], classes,
                            {.label_smoothing = 0.125, .class_weights = class_weights});
     }},
    {"cross_entropy, row weights",
     [](In x) { return cross_entropy(x[0], counted, {.weights = row_weights}); }},
    {"linear_cross_entropy", [](In x) { return linear_cross_entropy(x[0], x[1], x[2], classes); }},
    {"linear_cross_entropy, both",
     [](In x) {
       return linear_cross_entropy(x[0], x[1], {}, classes,
                                   {.label_smoothing = 0.125, .class_weights = class_weights});
     }},
    {"mse, weights",
     [](In x) {
       return mse(x[0], x[1], {.weights = filled({3, 4}, 41, 1, 0.5)});
     }},
    {"masked_mean", [](In x) { return masked_mean(x[0], condition()); }},
    {"esr_loss", [](In x) { return esr_loss(x[0], x[1]); }},
    {"esr_loss, pre-emphasis", [](In x) { return esr_loss(x[0], x[1], {.pre_emphasis = 0.85}); }},
    {"esr_loss, all options",
     [](In x) {
       return esr_loss(x[0], x[1],
                       {.weights = valid_steps(ids({2}, {4, 2}), {4, 2, 3}),
                        .pre_emphasis = 0.95,
                        .dc = 1.5,
                        .epsilon = 1e-5});
     }},
    {"ctc_loss", [](In x) { return ctc_loss(x[0], ctc_ids, ctc_steps, ctc_lengths); }},
    {"ctc_loss, sum",
     [](In x) {
       return ctc_loss(x[0], ctc_ids, ctc_steps, ctc_lengths, {.reduction = CTCReduction::sum});
     }},
    {"ctc_loss, none",
     [](In x) {
       return ctc_loss(x[0], ctc_ids, ctc_steps, ctc_lengths, {.reduction = CTCReduction::none});
     }},
    {"ctc_loss, last class is the blank",
     [](In x) {
       const Tensor below = ids({3, 4}, {0, 9, 2, 1, 0, 9, 3, 9, 1, 9, 3, 9});
       return ctc_loss(x[0], below, ctc_steps, ctc_lengths, {.blank = 4});
     }},
    {"ctc_loss, zero_infinity",
     [](In x) {
       return ctc_loss(x[0], ctc_ids, ids({4}, {2, 2, 2, 1}), ctc_lengths, {.zero_infinity = true});
     }},
};

/// max |a - b| / max |b|, and 0 for two tensors of zeros.
double difference(const Tensor& a, const std::vector<double>& b) {
  REQUIRE(a.numel() == b.size());
  double largest = 0, worst = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double error = std::abs(a.at(i) - b[i]);
    largest = std::max(largest, std::abs(b[i]));
    if (is_worse(error, worst)) worst = error;
  }
  return largest > 0 ? worst / largest : worst;
}

}  // namespace

TEST_CASE("torch: values and gradients of every op and loss") {
  double worst = 0;
  std::string where_worst;
  for (const TorchOp& expected : torch_ops) {
    INFO(expected.name);
    const auto found = our_ops.find(expected.name);
    REQUIRE(found != our_ops.end());
    Tape tape;
    Vars x;
    for (const TorchInput& in : expected.inputs) {
      x.push_back(tape.leaf(filled(Shape(in.shape), x.size() + 1, in.scale, in.shift)));
    }
    const Var y = found->second(x);
    const Vars d = tape.gradient(y, x, {}, Var(filled(y.shape(), 90)));
    double error = difference(y.value(), expected.y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      INFO("gradient of input ", i);
      const double d_error = difference(d[i].value(), expected.gradients[i]);
      if (is_worse(d_error, error)) error = d_error;
    }
    CHECK(error <= 1e-13);
    if (is_worse(error, worst)) worst = error, where_worst = expected.name;
  }
  CHECK(torch_ops.size() == our_ops.size());
  MESSAGE(torch_ops.size(), " cases, largest difference ", worst, " of the tensor's maximum (",
          where_worst, ")");
}

TEST_SUITE_END();
