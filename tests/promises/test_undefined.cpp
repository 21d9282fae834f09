#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "../../autograd/ops/cross_entropy.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/gather.h"
#include "../../autograd/ops/gru.h"
#include "../../autograd/ops/layer_norm.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/lstm_cell.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/rnn.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/ops/softmax.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"

TEST_SUITE_BEGIN("misuse");

// An argument that an op needs and that is undefined: the error names the op, the argument and the
// cure.

using namespace tapegrad;

namespace {

const Var none;
const Tensor no_tensor;

struct Case {
  const char* op;
  const char* argument;
  std::function<void(const Var& x)> call;
};

// x is (3, 3).
const std::vector<Case> cases = {
    {"add", "a", [](const Var& x) { none + x; }},
    {"add", "b", [](const Var& x) { x + none; }},
    {"sub", "a", [](const Var& x) { none - x; }},
    {"sub", "b", [](const Var& x) { x - none; }},
    {"mul", "a", [](const Var& x) { none* x; }},
    {"mul", "b", [](const Var& x) { x* none; }},
    {"div", "a", [](const Var& x) { none / x; }},
    {"div", "b", [](const Var& x) { x / none; }},
    {"div", "a", [](const Var&) { none / 2.0; }},
    {"div", "b", [](const Var&) { 2.0 / none; }},
    {"pow", "b", [](const Var& x) { pow(x, none); }},
    {"maximum", "a", [](const Var& x) { maximum(none, x); }},
    {"minimum", "b", [](const Var& x) { minimum(x, none); }},
    {"where", "condition", [](const Var& x) { where(no_tensor, x, x); }},
    {"where", "b", [](const Var& x) { where(Tensor::zeros({3}, DType::int32), x, none); }},
    {"norm", "x", [](const Var&) { norm(none); }},
    {"norm", "x", [](const Var&) { norm(none, 0); }},
    {"cast", "x", [](const Var&) { cast(none, DType::float64); }},
    {"neg", "x", [](const Var&) { -none; }},
    {"scale", "x", [](const Var&) { 2.0 * none; }},
    {"add_scalar", "x", [](const Var&) { none + 2.0; }},
    {"exp", "x", [](const Var&) { exp(none); }},
    {"log", "x", [](const Var&) { log(none); }},
    {"log1p", "x", [](const Var&) { log1p(none); }},
    {"expm1", "x", [](const Var&) { expm1(none); }},
    {"pow", "x", [](const Var&) { pow(none, 2.0); }},
    {"sqrt", "x", [](const Var&) { sqrt(none); }},
    {"square", "x", [](const Var&) { square(none); }},
    {"abs", "x", [](const Var&) { abs(none); }},
    {"clamp", "x", [](const Var&) { clamp(none, 0, 1); }},
    {"softplus", "x", [](const Var&) { softplus(none); }},
    {"sigmoid", "x", [](const Var&) { sigmoid(none); }},
    {"tanh", "x", [](const Var&) { tanh(none); }},
    {"relu", "x", [](const Var&) { relu(none); }},
    {"embedding", "table", [](const Var&) { embedding(none, Tensor::zeros({1}, DType::int32)); }},
    {"embedding", "ids", [](const Var& x) { embedding(x, no_tensor); }},
    {"scatter_rows", "ids", [](const Var& x) { scatter_rows(x, no_tensor, 3); }},
    {"gather", "x", [](const Var&) { gather(none, 0, Tensor::zeros({1}, DType::int32)); }},
    {"gather", "index", [](const Var& x) { gather(x, 0, no_tensor); }},
    {"index_select", "ids", [](const Var& x) { index_select(x, 0, no_tensor); }},
    {"scatter_add", "index", [](const Var& x) { scatter_add(x, 0, no_tensor, 3); }},
    {"layer_norm", "x", [](const Var&) { layer_norm(none, {}, {}); }},
    {"dropout", "x", [](const Var&) { dropout(none, 0.5, RandomKey::of(1, 2, "")); }},
    {"matmul", "a", [](const Var& x) { matmul(none, x); }},
    {"matmul", "b", [](const Var& x) { matmul(x, none); }},
    {"outer", "b", [](const Var& x) { outer(x, none); }},
    {"linear", "x", [](const Var& x) { linear(none, x); }},
    {"linear", "weight", [](const Var& x) { linear(x, none); }},
    {"sum", "x", [](const Var&) { sum(none); }},
    {"sum", "x", [](const Var&) { sum(none, 0); }},
    {"mean", "x", [](const Var&) { mean(none); }},
    {"mean", "x", [](const Var&) { mean(none, 0); }},
    {"max", "x", [](const Var&) { max(none); }},
    {"max", "x", [](const Var&) { max(none, 0); }},
    {"min", "x", [](const Var&) { min(none); }},
    {"min", "x", [](const Var&) { min(none, 0); }},
    {"argmax", "x", [](const Var&) { argmax(none, 0); }},
    {"argmin", "x", [](const Var&) { argmin(none, 0); }},
    {"topk", "x", [](const Var&) { topk(none, 1); }},
    {"cumsum", "x", [](const Var&) { cumsum(none, 0); }},
    {"sum_to", "x", [](const Var&) { sum_to(none, {}); }},
    {"broadcast_to", "x", [](const Var&) { broadcast_to(none, {2}); }},
    {"repeat", "x", [](const Var&) { repeat(none, 0, 2); }},
    {"reshape", "x", [](const Var&) { reshape(none, {2}); }},
    {"transpose", "x", [](const Var&) { transpose(none); }},
    {"transpose", "x", [](const Var&) { transpose(none, 0, 1); }},
    {"slice", "x", [](const Var&) { slice(none, 0, 0, 1); }},
    {"pad", "x", [](const Var&) { pad(none, 0, 0, 1); }},
    {"concat", "a part",
     [](const Var& x) {
       concat({x, none}, 0);
     }},
    {"stack", "a part",
     [](const Var& x) {
       stack({none, x});
     }},
    {"unbind", "x", [](const Var&) { unbind(none); }},
    {"split", "x", [](const Var&) { split<2>(none, 0); }},
    {"split", "x",
     [](const Var&) {
       split(none, {1, 2}, 0);
     }},
    {"softmax", "x", [](const Var&) { softmax(none); }},
    {"log_softmax", "x", [](const Var&) { log_softmax(none); }},
    {"logsumexp", "x", [](const Var&) { logsumexp(none); }},
    {"cross_entropy", "logits",
     [](const Var&) { cross_entropy(none, Tensor::zeros({3}, DType::int32)); }},
    {"cross_entropy", "ids", [](const Var& x) { cross_entropy(x, no_tensor); }},
    {"nll", "ids", [](const Var& x) { nll(x, no_tensor); }},
    {"l1", "target", [](const Var& x) { l1(x, none); }},
    {"mse", "prediction", [](const Var& x) { mse(none, x); }},
    {"huber", "target", [](const Var& x) { huber(x, none, 1); }},
    {"bce_with_logits", "targets", [](const Var& x) { bce_with_logits(x, none); }},
    {"gaussian_nll", "variance", [](const Var& x) { gaussian_nll(x, none, x); }},
    {"quantile_loss", "target",
     [](const Var& x) {
       quantile_loss(x, none, {0.1, 0.5, 0.9});
     }},
    {"masked_mean", "x", [](const Var&) { masked_mean(none, Tensor::zeros({3}, DType::int32)); }},
    {"gru", "x",
     [](const Var& x) {
       gru(none, x, {x, x, x, x});
     }},
    {"gru", "h",
     [](const Var& x) {
       gru(x, none, {x, x, x, x});
     }},
    {"gru_cell", "weights.ih",
     [](const Var& x) {
       gru_cell(x, x, {none, x, x, x});
     }},
    {"rnn", "weights.hh",
     [](const Var& x) {
       rnn(x, x, {x, none, x, x});
     }},
    {"rnn_cell", "h",
     [](const Var& x) {
       rnn_cell(x, none, {x, x, x, x});
     }},
    {"lstm", "x",
     [](const Var& x) {
       lstm(none, {x, x}, {x, x});
     }},
    {"lstm", "state.c",
     [](const Var& x) {
       lstm(x, {x, none}, {x, x});
     }},
    {"lstm_cell", "weights.hh",
     [](const Var& x) {
       lstm_cell(x, {x, x}, {x, none});
     }},
};

}  // namespace

TEST_CASE("misuse: an undefined argument is named, with the op and the cure") {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({3, 3}, 0.5));
  for (const Case& c : cases) {
    const std::string text =
        std::string("[") + c.op + "] " + c.argument + " is undefined: give it a value first";
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(c.call(x), text.c_str(), UsageError);
  }
}

TEST_SUITE_END();
