#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "../../autograd/ops/cross_entropy.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/matrix.h"
#include "../../core/error.h"
#include "../../layers/linear.h"
#include "../support/kernel_cases.h"
#include "../support/loss_cases.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::int32_t ignore = -100;

/// For 3 classes and ids (2, 3) with an ignored one: smoothing; weights of classes and rows, of each
/// one 0.
std::vector<CrossEntropyOptions> all_options() {
  std::vector<CrossEntropyOptions> result;
  for (const double smoothing : {0.0, 0.2}) {
    for (const bool weighted : {false, true}) {
      CrossEntropyOptions options{.label_smoothing = smoothing};
      if (weighted) options.class_weights = Tensor::of({3}, {0.5, 0, 2});
      if (weighted) options.weights = Tensor::of({2, 3}, {1, 0.25, 3, 0, 2, 1});
      result.push_back(options);
    }
  }
  return result;
}

const Tensor some_ids = Tensor::of({2, 3}, {2, 0, ignore, 1, 2, 1}, DType::int32);

/// Values and gradients of a loss of x, W and b.
struct Run {
  double loss;
  std::vector<Tensor> gradients;
};
using Loss = std::function<Var(const Var&, const Var&, const Var&)>;

Run run(const Loss& loss, const std::vector<Tensor>& inputs, double factor) {
  Tape tape;
  Vars leaves;
  for (const Tensor& t : inputs) leaves.push_back(tape.leaf(t));
  const Var y = factor * loss(leaves[0], leaves[1], leaves[2]);
  Run result{y.item(), {}};
  for (const Var& d : tape.gradient(y, leaves)) result.gradients.push_back(d.value());
  return result;
}

/// max |a - b| / max |b|.
double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double largest = 0, worst = 0;
  for (std::size_t i = 0; i < a.numel(); ++i) {
    largest = std::fmax(largest, std::abs(b.at(i)));
    worst = std::fmax(worst, std::abs(a.at(i) - b.at(i)));
    if (std::isnan(a.at(i)) != std::isnan(b.at(i))) return inf;
  }
  return largest > 0 ? worst / largest : worst;
}

struct Sizes {
  std::size_t rows, inputs, classes;
};

/// Inputs of these sizes whose logits are of about size 1, and ids, some of them ignored.
std::vector<Tensor> inputs_of(const Sizes& s, DType dtype) {
  const double size = 1 / std::sqrt(static_cast<double>(s.inputs));
  return {Rng(1).normal({s.rows, s.inputs}, 0, 1, dtype),
          Rng(2).normal({s.classes, s.inputs}, 0, size, dtype),
          Rng(3).normal({s.classes}, 0, 1, dtype)};
}
Tensor ids_for(const Sizes& s) {
  Tensor ids = Tensor::empty({s.rows}, DType::int32);
  Rng rng(4);
  for (std::int32_t& id : ids.mutable_values<std::int32_t>()) {
    id = rng.below(5) == 0 ? ignore : static_cast<std::int32_t>(rng.below(s.classes));
  }
  return ids;
}

}  // namespace

TEST_CASE("gradcheck: linear_cross_entropy with all options, fused and composed" *
          doctest::test_suite("gradients")) {
  for (const CrossEntropyOptions& o : all_options()) {
    check_op("linear_cross_entropy",
             [&](In x) { return Out{square(linear_cross_entropy(x[0], x[1], x[2], some_ids, o))}; },
             {{2, 3, 4}, {3, 4}, {3}});
  }
  check_op("linear_cross_entropy",
           [&](In x) { return Out{linear_cross_entropy(x[0], x[1], {}, some_ids)}; },
           {{2, 3, 2}, {3, 2}});
  check_op("linear_cross_entropy_composed",
           [&](In x) { return Out{linear_cross_entropy_composed(x[0], x[1], x[2], some_ids)}; },
           {{2, 3, 4}, {3, 4}, {3}});
}

// A logit, less than 6 here, is the sum of the same parts and the bias in another order: three
// roundings, which change a probability by 18 of its own. Exponentials, quotients and products of a
// row differ by a dozen more. In the sums over rows and classes that gradients are, what has both
// signs cancels by no more than half. (Four roundings were the most that was seen.)
TEST_CASE("linear_cross_entropy: the fused one equals the plain calls and the composed one") {
  for (const DType dtype : float_types) {
    for (const Sizes& s :
         {Sizes{500, 5, 40}, {100, 7, 1001}, {1, 3, 2}, {7, 400, 300}, {3, 6200, 5}, {13, 1, 1}}) {
      CAPTURE(s.rows);
      CAPTURE(s.inputs);
      CAPTURE(s.classes);
      const std::vector<Tensor> inputs = inputs_of(s, dtype);
      const Tensor ids = ids_for(s);
      for (const double smoothing : {0.0, 0.1}) {
        for (const double factor : {1.0, -2.5}) {
          CrossEntropyOptions o{.label_smoothing = smoothing};
          if (smoothing > 0) o.class_weights = Rng(5).uniform({s.classes}, 0, 1, DType::float64);
          if (smoothing > 0) o.weights = Rng(6).uniform({s.rows}, 0, 1, DType::float64);
          const Run fused = run([&](const Var& x, const Var& w,
                                    const Var& b) { return linear_cross_entropy(x, w, b, ids, o); },
                                inputs, factor);
          const Run plain =
              run([&](const Var& x, const Var& w,
                      const Var& b) { return cross_entropy(linear(x, w, b), ids, o); },
                  inputs, factor);
          const Run composed =
              run([&](const Var& x, const Var& w,
                      const Var& b) { return linear_cross_entropy_composed(x, w, b, ids, o); },
                  inputs, factor);
          const double bound = 64 * epsilon_of(dtype);
          for (const Run* twin : {&plain, &composed}) {
            CHECK(std::abs(fused.loss - twin->loss) <= bound * std::abs(twin->loss));
            for (std::size_t i = 0; i < 3; ++i) {
              CAPTURE(i);
              CHECK(difference(fused.gradients[i], twin->gradients[i]) <= bound);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("linear_cross_entropy: without a tape, without a bias, with frozen weights") {
  const Sizes s{50, 6, 9};
  const std::vector<Tensor> in = inputs_of(s, DType::float32);
  const Tensor ids = ids_for(s);
  Tape tape;
  const Var x = tape.leaf(in[0]), w = tape.leaf(in[1]);
  const Var loss = linear_cross_entropy(x, w, {}, ids);
  CHECK(linear_cross_entropy(in[0], in[1], {}, ids).item() == loss.item());
  CHECK(loss.item() == linear_cross_entropy(x, w, Tensor::zeros({s.classes}), ids).item());
  const Tensor dx = tape.gradient(loss, {x}, {.retain = true})[0].value();
  const Tensor dw = tape.gradient(loss, {w})[0].value();
  const Var frozen = linear_cross_entropy(x, in[1], {}, ids);
  CHECK(same_bits(tape.gradient(frozen, {x})[0].value(), dx));
  const Var weights_only = linear_cross_entropy(in[0], w, {}, ids);
  CHECK(same_bits(tape.gradient(weights_only, {w})[0].value(), dw));
}

TEST_CASE("linear_cross_entropy: huge, masked and almost certain logits") {
  // x = 1, so that the logits are the weights and dW is their gradient.
  const auto check = [](std::initializer_list<double> row, CrossEntropyOptions o, std::int32_t k,
                        double loss, const std::vector<double>& gradient) {
    const Tensor id = Tensor::of({1}, {static_cast<double>(k)}, DType::int32);
    const Tensor logits = Tensor::of({row.size(), 1}, row, DType::float64);
    check_loss(
        [&](const Var& w) {
          return linear_cross_entropy(Tensor::full({1, 1}, 1, w.dtype()), w, {}, id, o);
        },
        logits, loss, gradient);
  };
  const CrossEntropyOptions smooth{.label_smoothing = 0.3};
  const double p = 1 / (1 + std::exp(1.0)), q = 1 - p;  // softmax of (0, 1)
  check({1e4, -1e4, 0}, {}, 0, 0, {0, 0, 0});
  check({1e4, -1e4, 0}, {}, 1, 2e4, {1, -1, 0});
  check({1e4, -1e4, 0}, smooth, 1, 0.8 * 2e4 + 0.1 * 1e4, {0.9, -0.8, -0.1});
  check({-inf, 0, 1}, {}, 1, -std::log(p), {0, p - 1, q});
  check({-inf, 0, 1}, {}, 0, inf, {-1, p, q});
  check({-inf, 0, 1}, smooth, 1, inf, {-0.1, p - 0.8, q - 0.1});
  check({-inf, -inf}, {}, 0, inf, {-1, 0});
  check({inf, 0}, {}, 0, NAN, {NAN, NAN});
  check({NAN, 0}, {}, 0, NAN, {NAN, NAN});

  // An almost certain row: relative errors, which check_loss does not see.
  for (const DType dtype : float_types) {
    Tape tape;
    const Var w = tape.leaf(Tensor::of({2, 1}, {20, 0}, dtype));
    const Var loss = linear_cross_entropy(Tensor::full({1, 1}, 1, dtype), w, {},
                                          Tensor::zeros({1}, DType::int32));
    const double exact = std::log1p(std::exp(-20.0)), slope = 1 / (1 + std::exp(20.0));
    CHECK(std::abs(loss.item() / exact - 1) <= 8 * epsilon_of(dtype));
    const Tensor dw = tape.gradient(loss, {w})[0].value();
    CHECK(std::abs(dw.at(0) / -slope - 1) <= 8 * epsilon_of(dtype));
    CHECK(std::abs(dw.at(1) / slope - 1) <= 8 * epsilon_of(dtype));
  }
}

TEST_CASE("linear_cross_entropy: a row that does not count is not looked at") {
  const Tensor x = Tensor::of({3, 1}, {NAN, 1, inf}, DType::float64);
  const Tensor w = Tensor::of({2, 1}, {0, 0}, DType::float64);
  const Tensor ids = Tensor::of({3}, {ignore, 1, 0}, DType::int32);
  check_loss(
      [&](const Var& v) {
        return linear_cross_entropy(v, w.to(v.dtype()), {}, ids,
                                    {.weights = Tensor::of({3}, {1, 5, 0})});
      },
      x, std::log(2), {0, 0, 0});
  // Nothing counts: ids without weight, though smoothing gives the other class some; ignored ids.
  check_loss(
      [&](const Var& v) {
        return linear_cross_entropy(
            v, w.to(v.dtype()), {}, Tensor::zeros({3}, DType::int32),
            {.label_smoothing = 0.1, .class_weights = Tensor::of({2}, {0, 3})});
      },
      Tensor::full({3, 1}, 1, DType::float64), 0, {0, 0, 0});
  const Tensor none = Tensor::full({3}, ignore, DType::int32);
  check_loss([&](const Var& v) { return linear_cross_entropy(v, w.to(v.dtype()), {}, none); }, x, 0,
             {0, 0, 0});
}

TEST_CASE("linear_cross_entropy: the same bits for any number of threads" *
          doctest::test_suite("threads")) {
  const Sizes s{300, 70, 400};
  const std::vector<Tensor> in = inputs_of(s, DType::float32);
  const Tensor ids = ids_for(s);
  for (std::size_t i = 0; i < 4; ++i) {
    check_threads_do_not_matter([&] {
      const Run r = run([&](const Var& x, const Var& w,
                            const Var& b) { return linear_cross_entropy(x, w, b, ids); },
                        in, 1);
      return i < 3 ? r.gradients[i] : Tensor::scalar(r.loss, DType::float64);
    });
  }
}

TEST_CASE("linear_cross_entropy: of a layer") {
  Rng rng(1);
  const Tensor ids = Tensor::of({2, 2}, {0, 3, 1, ignore}, DType::int32);
  const Tensor in = random_tensor({2, 2, 3}, DType::float32);
  for (const bool bias : {false, true}) {
    const Linear head(3, 4, rng, {.bias = bias});
    Tape tape;
    const Var x = tape.leaf(in);
    const CrossEntropyOptions o{.label_smoothing = 0.1};
    CHECK(
        linear_cross_entropy(tape, head, x, ids, o).item() ==
        linear_cross_entropy(in, head.weight.value(), bias ? Var(head.bias.value()) : Var(), ids, o)
            .item());
    tape.backward(linear_cross_entropy(tape, head, x, ids));
    CHECK(head.weight.grad().defined());
    CHECK(head.bias.defined() == bias);
    Tape other;
    CHECK_THROWS_AS(linear_cross_entropy(other, head, x, ids), UsageError);
  }
}

TEST_CASE("linear_cross_entropy: bad input, with whole messages") {
  const Var x = Tensor::zeros({2, 3}), w = Tensor::zeros({4, 3}), b = Tensor::zeros({4});
  const Tensor ids = Tensor::zeros({2}, DType::int32);
  const auto call = [&](const Var& in, const Var& weight, const Var& bias, const Tensor& targets,
                        const CrossEntropyOptions& o = {}) {
    linear_cross_entropy(in, weight, bias, targets, o);
  };
  CHECK_THROWS_WITH_AS(call({}, w, b, ids),
                       "[linear_cross_entropy] x is undefined: give it a value first", UsageError);
  CHECK_THROWS_WITH_AS(call(x, Tensor::zeros({4, 2}), b, ids),
                       "[linear_cross_entropy] weight has shape (O, I) = (4, 2) but x has shape "
                       "(..., I) = (2, 3): I must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(call(x, w, Tensor::zeros({3}), ids),
                       "[linear_cross_entropy] weight has shape (O, I) = (4, 3) but bias has shape "
                       "(O) = (3): O must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(call(x, w, b, Tensor::zeros({3}, DType::int32)),
                       "[linear_cross_entropy] x has shape (..., I) = (2, 3) but ids has shape "
                       "(...) = (3): the leading axes must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      call(Tensor::zeros({0, 3}), w, b, Tensor::zeros({0}, DType::int32)),
      "[linear_cross_entropy] x has shape (0, 3): it must be of at least one element", ShapeError);
  CHECK_THROWS_WITH_AS(
      call(x, Tensor::zeros({0, 3}), {}, ids),
      "[linear_cross_entropy] logits has shape (2, 0): it must be of at least one element",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      call(x, w, b, Tensor::of({2}, {0, 4}, DType::int32)),
      "[linear_cross_entropy] id 4 at position 1 of shape (2) is out of range: ids "
      "must be in [0, 4)",
      UsageError);
  CHECK_THROWS_WITH_AS(call(x, w, b, ids, {.label_smoothing = 1}),
                       "[linear_cross_entropy] label_smoothing is 1: it must be in [0, 1)",
                       UsageError);
  CHECK_THROWS_AS(call(x, Tensor::zeros({4, 3}, DType::float64), b, ids), DtypeError);

  // What is saved and overwritten before backward is noticed.
  Tensor weights = Tensor::full({2}, 1, DType::float64);
  Tape tape;
  const Var leaf = tape.leaf(Tensor::zeros({2, 3}));
  const Var loss = linear_cross_entropy(leaf, w, b, ids, {.weights = weights});
  weights.fill(2);
  CHECK_THROWS_AS(tape.gradient(loss, {leaf}, {.create_graph = true}), UsageError);
}
