// Covers ctc_loss and ctc_greedy_decode. Values and gradients are compared with PyTorch's in
// test_torch_ops.cpp.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../../autograd/ops/ctc.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/softmax.h"
#include "../../core/data/sequences.h"
#include "../../core/error.h"
#include "../../core/rng.h"
#include "../support/filled.h"
#include "../support/kernel_cases.h"
#include "../support/message.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Loss = Var (*)(const Var&, const Tensor&, const Tensor&, const Tensor&, const CTCOptions&);
using Ids = std::vector<std::int32_t>;

/// Targets (S, B), their lengths and those of the logits.
struct Labels {
  Tensor ids, lengths, steps;
};

/// Of 5 steps and 4 classes: ids that are equal, no id, as few steps as can be, no step.
Labels some_labels() {
  return {ids_of({3, 5}, {1, -7, 3, 2, -7, 1, -7, 3, 1, -7, 2, -7, -7, 3, -7}),
          ids_of({5}, {3, 0, 2, 3, 0}), ids_of({5}, {5, 4, 3, 3, 0})};
}
const Shape some_logits{5, 5, 4};

constexpr CTCReduction all_reductions[] = {CTCReduction::mean, CTCReduction::sum,
                                           CTCReduction::none};

/// What is left of a path if repeated classes are merged and then blanks are removed.
Ids collapsed(const Ids& path, std::int32_t blank) {
  Ids ids;
  for (std::size_t t = 0; t < path.size(); ++t) {
    if (path[t] != blank && (t == 0 || path[t] != path[t - 1])) ids.push_back(path[t]);
  }
  return ids;
}

/// -log of the sum of the probabilities of all paths that collapse to `ids`: the definition.
double by_all_paths(const Tensor& probabilities, const Ids& ids, std::int32_t blank) {
  const std::size_t T = probabilities.size(0), C = probabilities.size(1);
  std::size_t paths = 1;
  for (std::size_t t = 0; t < T; ++t) paths *= C;
  double sum = 0;
  for (std::size_t n = 0; n < paths; ++n) {
    Ids path;
    double p = 1;
    for (std::size_t t = 0, rest = n; t < T; ++t, rest /= C) {
      path.push_back(static_cast<std::int32_t>(rest % C));
      p *= probabilities.at(t * C + rest % C);
    }
    if (collapsed(path, blank) == ids) sum += p;
  }
  return -std::log(sum);
}

struct Results {
  Tensor value, gradient;
};
Results results_of(Loss loss, const Tensor& logits, const Labels& l,
                   const CTCOptions& options = {}) {
  Tape tape;
  const Var x = tape.leaf(logits);
  const Var y = loss(x, l.ids, l.steps, l.lengths, options);
  return {y.value(), tape.gradient(sum(y * y), {x})[0].value()};
}

}  // namespace

TEST_CASE("gradcheck: ctc_loss and its twin, to second order" * doctest::test_suite("gradients")) {
  const Labels l = some_labels();
  for (const CTCReduction reduction : all_reductions) {
    const CTCOptions options{.reduction = reduction};
    check_op("ctc_loss",
             [&](In x) { return Out{ctc_loss(x[0], l.ids, l.steps, l.lengths, options)}; },
             {some_logits});
  }
  check_op("ctc_loss",
           [&](In x) {
             return Out{ctc_loss(x[0], l.ids, ids_of({5}, {2, 4, 2, 3, 0}), l.lengths,
                                 {.blank = 0, .zero_infinity = true})};
           },
           {some_logits});
  check_op("ctc_loss_composed",
           [&](In x) { return Out{ctc_loss_composed(x[0], l.ids, l.steps, l.lengths)}; },
           {some_logits});
}

TEST_CASE("ctc_loss: the sum over all paths, for every target of up to three ids") {
  const std::size_t T = 4, C = 3;
  for (const std::int32_t blank : {0, 2}) {
    const Tensor logits = filled({T, 1, C}, 5, 3);
    const Tensor p = softmax(logits.reshape({T, C})).value();
    std::vector<Ids> targets{{}};
    std::size_t compared = 0;
    for (std::size_t n = 0; n < targets.size(); ++n) {
      const Ids ids = targets[n];
      for (std::int32_t id = 0; id < 3 && ids.size() < 3; ++id) {
        if (id == blank) continue;
        targets.push_back(ids);
        targets.back().push_back(id);
      }
      const Tensor target = Tensor::from({ids.size(), 1}, ids);
      const double expected = by_all_paths(p, ids, blank);
      for (const Loss loss : {ctc_loss, ctc_loss_composed}) {
        const double value =
            loss(logits, target, {}, {},
                 {.blank = blank, .reduction = CTCReduction::sum, .zero_infinity = true})
                .item();
        if (std::isinf(expected)) {
          CHECK(value == 0);
        } else {
          CHECK(value == doctest::Approx(expected).epsilon(1e-14));
          ++compared;
        }
      }
    }
    CHECK(compared == 2 * 13);  // of 15, (a, a, a) needs 5 steps
  }
}

TEST_CASE("ctc_loss: values and gradients are those of its twin") {
  const Labels l = some_labels();
  for (const DType dtype : float_types) {
    for (const double scale : {0.5, 8.0, 60.0}) {
      const Tensor logits = filled(some_logits, 3, scale).to(dtype);
      for (const CTCReduction reduction : all_reductions) {
        const Results fused = results_of(ctc_loss, logits, l, {.reduction = reduction});
        const Results twin = results_of(ctc_loss_composed, logits, l, {.reduction = reduction});
        check_values(fused.value, twin.value.shape(), dtype, values_of(twin.value), 32);
        check_values(fused.gradient, some_logits, dtype, values_of(twin.gradient), 2000);
      }
    }
  }
}

TEST_CASE("ctc_loss: what is behind a length is not read, and gets the gradient 0") {
  const Labels l = some_labels();
  Tensor wild = filled(some_logits, 3);
  const Tensor valid = valid_steps(l.steps, some_logits);
  for (std::size_t i = 0; i < wild.numel(); ++i) {
    if (valid.at(i) == 0) wild.mutable_data<double>()[i] = NAN;
  }
  for (const Loss loss : {ctc_loss, ctc_loss_composed}) {
    const Results clean = results_of(loss, filled(some_logits, 3), l);
    const Results r = results_of(loss, wild, l);
    CHECK(same_bits(r.value, clean.value));
    CHECK(same_bits(r.gradient, clean.gradient));
    for (std::size_t i = 0; i < wild.numel(); ++i)
      CHECK((valid.at(i) == 0) == (r.gradient.at(i) == 0));
  }
}

TEST_CASE("ctc_loss: the gradient keeps its digits where a target is almost certain") {
  // One step, one id: the loss is cross entropy's, log(1 + 2 e^-40), the gradient p - target.
  for (const Loss loss : {ctc_loss, ctc_loss_composed}) {
    Tape tape;
    const Var x = tape.leaf(Tensor::of({1, 1, 3}, {0, 40, 0}, DType::float64));
    const Tensor d = tape.gradient(loss(x, ids_of({1, 1}, {1}), {}, {}, {}), {x})[0].value();
    for (const std::size_t k : {0U, 2U})
      CHECK(d.at(k) / std::exp(-40) == doctest::Approx(1).epsilon(1e-14));
    CHECK(d.at(1) / std::exp(-40) == doctest::Approx(-2).epsilon(1e-14));
  }
}

TEST_CASE("ctc_loss: of equal logits all alignments count alike, over 3000 steps too") {
  const std::size_t T = 3000;
  for (const DType dtype : float_types) {
    Tape tape;
    const Var x = tape.leaf(Tensor::full({T, 1, 5}, 2, dtype));
    const Var loss = ctc_loss(x, ids_of({2, 1}, {3, 4}), {}, {}, {.reduction = CTCReduction::sum});
    // Two ids that differ have as many alignments as there are ways to choose 4 of T + 2 places.
    const double n = static_cast<double>(T + 2);
    const double alignments =
        std::log(n) + std::log(n - 1) + std::log(n - 2) + std::log(n - 3) - std::log(24);
    check_values(loss.value(), {}, dtype, {static_cast<double>(T) * std::log(5) - alignments}, 8);
    // Backwards in time, 4 is what 3 is forwards.
    const Tensor d = tape.gradient(loss, {x})[0].value();
    for (std::size_t t = 0; t < T; t += 7) {
      CHECK(d.at(t * 5 + 3) == doctest::Approx(d.at((T - 1 - t) * 5 + 4)).epsilon(1e-6));
    }
  }
}

TEST_CASE("ctc_loss: logits of any size leave no more than one alignment, exactly") {
  for (const Loss loss : {ctc_loss, ctc_loss_composed}) {
    Tape tape;
    const Var x = tape.leaf(Rng(2).normal({6, 1, 4}, 0, 1e9, DType::float64));
    const Tensor d =
        tape.gradient(loss(x, ids_of({2, 1}, {3, 1}), {}, {}, {.reduction = CTCReduction::sum}),
                      {x})[0]
            .value();
    std::size_t moved = 0;
    for (std::size_t i = 0; i < d.numel(); ++i) {
      CHECK(d.at(i) == std::round(d.at(i)));
      moved += d.at(i) != 0 ? 1U : 0U;
    }
    CHECK(moved > 0);
  }
}

TEST_CASE("ctc_loss: impossible classes, and logits that are no numbers") {
  const Labels l{ids_of({1, 3}, {1, 1, 1}), {}, {}};
  const Tensor logits =
      Tensor::of({2, 3, 2}, {0, 1, 1, -inf, NAN, 0, -inf, 1, 1, -inf, 0, 1}, DType::float64);
  for (const Loss loss : {ctc_loss, ctc_loss_composed}) {
    const auto losses = [&](bool zero_infinity) {
      Tape tape;
      const Var x = tape.leaf(logits);
      const Var y = loss(x, l.ids, {}, {}, {0, CTCReduction::none, zero_infinity});
      const Var ones = Tensor::full({3}, 1, DType::float64);
      return Results{y.value(), tape.gradient(y, {x}, {}, ones)[0].value()};
    };
    for (const bool zero_infinity : {false, true}) {
      const Results r = losses(zero_infinity);
      CHECK(std::abs(r.value.at(0)) < 1e-15);  // at step 0 either class, at step 1 the id
      CHECK(r.value.at(1) == (zero_infinity ? 0 : inf));
      CHECK(std::isnan(r.value.at(2)));
      for (const std::size_t k : {0U, 1U, 6U, 7U}) CHECK(std::abs(r.gradient.at(k)) < 1e-15);
      for (const std::size_t k : {2U, 3U, 8U, 9U}) CHECK(r.gradient.at(k) == 0);
      for (const std::size_t k : {4U, 5U, 10U, 11U}) CHECK(std::isnan(r.gradient.at(k)));
    }
  }
}

TEST_CASE("ctc_loss: the bits do not depend on the number of threads" *
          doctest::test_suite("threads")) {
  const Tensor logits = random_tensor({40, 8, 30}, DType::float32);
  Tensor ids = Tensor::empty({15, 8}, DType::int32);
  Rng rng(4);
  for (std::int32_t& id : ids.mutable_values<std::int32_t>())
    id = static_cast<std::int32_t>(1 + rng.below(29));
  check_threads_do_not_matter([&] { return results_of(ctc_loss, logits, {ids, {}, {}}).gradient; });
}

TEST_CASE("ctc_loss: ids overwritten before the backward are noticed") {
  Tape tape;
  const Var x = tape.leaf(filled({3, 1, 3}, 1));
  Tensor ids = ids_of({1, 1}, {1});
  const Var loss = ctc_loss(x, ids, {}, {});
  ids.fill(2);
  CHECK_THROWS_AS(tape.gradient(square(loss), {x}, {.create_graph = true}), UsageError);
}

TEST_CASE("ctc_greedy_decode: repeats are merged, then blanks are removed") {
  const auto one_hot = [](const std::vector<Ids>& steps) {  // (T, B) classes
    Tensor logits = Tensor::zeros({steps.size(), steps[0].size(), 4});
    for (std::size_t t = 0; t < steps.size(); ++t) {
      for (std::size_t b = 0; b < steps[0].size(); ++b) {
        logits.mutable_data<float>()[(t * steps[0].size() + b) * 4 +
                                     static_cast<std::size_t>(steps[t][b])] = 1;
      }
    }
    return logits;
  };
  const std::vector<Ids> steps{{1, 0}, {1, 2}, {0, 2}, {1, 3}, {3, 2}};
  CHECK(ctc_greedy_decode(one_hot(steps), {}) == std::vector<Ids>{{1, 1, 3}, {2, 3, 2}});
  CHECK(ctc_greedy_decode(one_hot(steps), ids_of({2}, {3, 0})) == std::vector<Ids>{{1}, {}});
  CHECK(ctc_greedy_decode(one_hot(steps), {}, 1) == std::vector<Ids>{{0, 3}, {0, 2, 3, 2}});
  // Of equal ones the first; what is behind a length is not read.
  Tensor ties = Tensor::zeros({2, 1, 3});
  ties.mutable_data<float>()[4] = NAN;
  CHECK(ctc_greedy_decode(ties, ids_of({1}, {1}), 2) == std::vector<Ids>{{0}});
  CHECK(message_of([&] { (void)ctc_greedy_decode(ties, {}); }) ==
        "[ctc_greedy_decode] step 1 of sequence 0 has a NaN");
  CHECK(message_of([&] {
          (void)ctc_greedy_decode(Tensor::zeros({2, 3}), {});
        }) ==
        "[ctc_greedy_decode] logits has shape (2, 3): it must be (T, B, C) with T, B, C >= 1");
}

TEST_CASE("messages: ctc_loss") {
  const Var x = Tensor::zeros({3, 2, 4});
  const Tensor ids = ids_of({2, 2}, {1, 2, 1, 3});
  const auto of = [&](const Tensor& targets, const Tensor& steps, const Tensor& lengths,
                      const CTCOptions& options = {}) {
    return message_of([&] { ctc_loss(x, targets, steps, lengths, options); });
  };
  CHECK(of(ids, {}, {}) == "nothing was thrown");
  CHECK(of(ids, ids_of({2}, {2, 2}), {}) ==
        "[ctc_loss] sequence 0 has 2 steps but its target needs 3, one for each id and one between "
        "equal ids: give it more steps, or zero_infinity to leave it out");
  CHECK(of(ids, ids_of({2}, {2, 2}), {}, {.zero_infinity = true}) == "nothing was thrown");
  CHECK(of(ids_of({2, 2}, {1, 4, 1, 3}), {}, {}) ==
        "[ctc_loss] id 4 at place 0 of target 1 is out of range: ids must be in [0, 4) and not the "
        "blank 0");
  CHECK(of(ids, {}, {}, {.blank = 3}) ==
        "[ctc_loss] id 3 at place 1 of target 1 is out of range: ids must be in [0, 4) and not the "
        "blank 3");
  CHECK(of(ids, {}, {}, {.blank = 4}) == "[ctc_loss] blank is 4: it must be a class, in [0, 4)");
  CHECK(of(ids, ids_of({2}, {3, 4}), {}) ==
        "[ctc_loss] input_lengths has 4 for sequence 1: it must be in [0, 3]");
  CHECK(of(ids, {}, ids_of({2}, {-1, 2})) ==
        "[ctc_loss] target_lengths has -1 for sequence 0: it must be in [0, 2]");
  CHECK(of(ids, {}, ids_of({1}, {1})) ==
        "[ctc_loss] target_lengths has shape (1): it must be (B), B = 2");
  CHECK(of(ids, Tensor::full({2}, 3), {}) ==
        "[ctc_loss] input_lengths is float32: it must be int32");
  CHECK(of(Tensor::zeros({2, 2}), {}, {}) == "[ctc_loss] targets are float32: they must be int32");
  CHECK(of(ids_of({2, 1}, {1, 1}), {}, {}) ==
        "[ctc_loss] logits has shape (T, B, C) = (3, 2, 4) but targets has shape (S, B) = (2, 1): "
        "B must match");
  CHECK(of({}, {}, {}) == "[ctc_loss] targets is undefined: give it a value first");
  CHECK(message_of([&] {
          ctc_loss_composed(Tensor::zeros({3, 0, 4}), ids, {}, {});
        }) ==
        "[ctc_loss_composed] logits has shape (3, 0, 4): it must be (T, B, C) with T, B, C >= 1");
  CHECK_THROWS_AS(ctc_loss(Tensor::zeros({3, 2, 4}, DType::int32), ids, {}, {}), DtypeError);
}
