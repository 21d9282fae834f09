#include <doctest/doctest.h>

#include <cmath>

#include "../../autograd/ops/cross_entropy.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/softmax.h"
#include "../../core/error.h"
#include "../support/kernel_cases.h"
#include "../support/loss_cases.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::int32_t ignore = -100;

/// Each entry of the options' cube: ignored rows, smoothing, class weights (one of them 0), weights
/// (one of them 0).
std::vector<CrossEntropyOptions> all_options() {
  std::vector<CrossEntropyOptions> result;
  for (const double smoothing : {0.0, 0.2}) {
    for (const bool classes : {false, true}) {
      for (const bool rows : {false, true}) {
        CrossEntropyOptions options{.label_smoothing = smoothing};
        if (classes) options.class_weights = Tensor::of({3}, {0.5, 0, 2});
        if (rows) options.weights = Tensor::of({2, 3}, {1, 0.25, 3, 0, 2, 1});
        result.push_back(options);
      }
    }
  }
  return result;
}

const Tensor some_ids = Tensor::of({2, 3}, {2, 0, ignore, 1, 2, 1}, DType::int32);

}  // namespace

TEST_CASE("gradcheck: cross_entropy with all options, fused, composed, and as nll" *
          doctest::test_suite("gradients")) {
  for (const CrossEntropyOptions& o : all_options()) {
    check_op("cross_entropy", [&](In x) { return Out{square(cross_entropy(x[0], some_ids, o))}; },
             {{2, 3, 3}});
    check_op("cross_entropy_composed",
             [&](In x) { return Out{cross_entropy_composed(x[0], some_ids, o)}; }, {{2, 3, 3}});
  }
  const Tensor ids = Tensor::of({2, 2}, {2, 0, 1, 1}, DType::int32);
  check_op("cross_entropy",
           [&](In x) { return Out{cross_entropy(x[0], ids, {.ignore_index = 1})}; }, {{2, 2, 3}});
  check_op("nll",
           [&](In x) {
             return Out{nll(square(x[0]), ids, {.class_weights = Tensor::of({3}, {1, 2, 3})})};
           },
           {{2, 2, 3}});
}

TEST_CASE("cross_entropy: the fused one equals the composed one") {
  for (const CrossEntropyOptions& o : all_options()) {
    // float32 holds them exactly.
    const Tensor logits = random_tensor({2, 3, 3}, DType::float32).to(DType::float64);
    Tape tape;
    const Var x = tape.leaf(logits);
    const Var composed = cross_entropy_composed(x, some_ids, o);
    check_loss([&](const Var& v) { return cross_entropy(v, some_ids, o); }, logits, composed.item(),
               values_of(tape.gradient(composed, {x})[0].value()));
    const NLLOptions of_nll{o.ignore_index, o.class_weights, o.weights};
    if (o.label_smoothing == 0) {
      CHECK(nll(log_softmax(x), some_ids, of_nll).item() ==
            doctest::Approx(composed.item()).epsilon(1e-14));
    }
  }
}

// Numbers: torch 2.13 in float64, F.cross_entropy and F.nll_loss of these logits and ids.
TEST_CASE("cross_entropy: torch's numbers") {
  const Tensor logits = Tensor::of(
      {4, 3}, {0.3, -1.2, 2.5, 0.8, -0.4, 1.1, -0.7, 0.2, 0.9, 1.6, -2.1, 0.5}, DType::float64);
  const Tensor ids = Tensor::of({4}, {2, 0, ignore, 1}, DType::int32);
  const Tensor c = Tensor::of({3}, {0.5, 2, 1.25});
  const auto with = [&](CrossEntropyOptions o) {
    return [&ids, o](const Var& x) { return cross_entropy(x, ids, o); };
  };
  check_loss(with({}), logits, 1.7025893248422586,
             {0.03252621590854155, 0.007257579764695284, -0.039783795673236866,
              -0.20759713308273084, 0.03787101574331504, 0.1697261173394158, 0, 0, 0,
              0.24553230458979286, -0.32726290890148413, 0.0817306043116913});
  check_loss(with({.label_smoothing = 0.1}), logits, 1.708144880397814,
             {0.021415104797430442, -0.0038535313464158278, -0.017561573451014664,
              -0.1853749108605086, 0.02675990463220394, 0.15861500622830474, 0, 0, 0,
              0.2344211934786818, -0.30504068667926193, 0.0706194932005802});
  const std::vector<double> weighted{0.03252621590854155,
                                     0.007257579764695284,
                                     -0.039783795673236866,
                                     -0.08303885323309233,
                                     0.01514840629732602,
                                     0.06789044693576633,
                                     0,
                                     0,
                                     0,
                                     0.3928516873436686,
                                     -0.5236206542423747,
                                     0.13076896689870607};
  check_loss(with({.class_weights = c}), logits, 2.3087408324219814, weighted);
  check_loss([&](const Var& x) { return nll(log_softmax(x), ids, {.class_weights = c}); }, logits,
             2.3087408324219814, weighted);
  check_loss(with({.label_smoothing = 0.3, .class_weights = c}), logits, 2.271562046814731,
             {0.01919288257520822, -0.04607575356863804, 0.02688287099342979, -0.03373967052131723,
              -0.0313681442022106, 0.06510781472352782, 0, 0, 0, 0.3353225391841725,
              -0.4180466639734408, 0.0827241247892683});
  // The class of row 1 weighs nothing, but its smoothed part does.
  const Tensor c0 = Tensor::of({3}, {0, 2, 1.25}, DType::float64);
  check_loss(with({.label_smoothing = 0.3, .class_weights = c0}), logits, 2.460533646895095,
             {0.03602903916023064, -0.05349929626064522, 0.017470257100414555, 0.037720860075180745,
              -0.05017715681546702, 0.012456296740286286, 0, 0, 0, 0.3909629773083625,
              -0.4826417087892863, 0.09167873148092384});
  check_loss([&](const Var& x) { return nll(x, ids, {.class_weights = c}); }, logits, 0.18,
             {0, 0, -1. / 3, -2. / 15, 0, 0, 0, 0, 0, 0, -8. / 15, 0});
}

TEST_CASE("cross_entropy: weights are a mean's weights") {
  const Tensor logits = random_tensor({3, 4}, DType::float64);
  const Tensor ids = Tensor::of({3}, {1, 3, 0}, DType::int32);
  const auto loss = [&](const Tensor& w) {
    return cross_entropy(logits, ids, {.weights = w}).item();
  };
  const double plain = cross_entropy(logits, ids).item();
  CHECK(loss(Tensor::of({3}, {1, 1, 1})) == plain);
  CHECK(loss(Tensor::of({3}, {1, 1, 1}, DType::int32)) == plain);
  for (const double w : {1e308, 1e-200, 1e-323}) {  // sums and products of them are no numbers
    CAPTURE(w);
    const Tensor rows = Tensor::full({3}, w, DType::float64);
    const Tensor classes = Tensor::full({4}, w, DType::float64);
    const Tensor mixed = Tensor::of({3}, {0, w, w}, DType::float64);
    for (const double smoothing : {0.0, 0.25}) {
      const auto options = [&](const Tensor& of_rows, const Tensor& of_classes) {
        return CrossEntropyOptions{
            .label_smoothing = smoothing, .class_weights = of_classes, .weights = of_rows};
      };
      const auto agree = [&](const CrossEntropyOptions& o, const CrossEntropyOptions& ordinary) {
        Tape tape;
        const Var x = tape.leaf(logits);
        const Var right = cross_entropy(x, ids, ordinary);
        check_loss([&](const Var& v) { return cross_entropy(v, ids, o); }, logits, right.item(),
                   values_of(tape.gradient(right, {x})[0].value()));
        CHECK(cross_entropy_composed(x, ids, o).item() ==
              doctest::Approx(right.item()).epsilon(1e-15));
      };
      agree(options(rows, {}), options({}, {}));
      agree(options({}, classes), options({}, {}));
      agree(options(rows, classes), options({}, {}));
      agree(options(mixed, classes), options(Tensor::of({3}, {0, 1, 1}), {}));
    }
  }
  // What does not count has no say in the scale of what does.
  const Tensor third = Tensor::of({3}, {0, 0, 1});
  const Tensor ids_but_first = Tensor::of({3}, {ignore, ignore, 0}, DType::int32);
  CHECK(cross_entropy(logits, ids_but_first,
                      {.class_weights = Tensor::of({4}, {1e-200, 0, 0, 1e-200}, DType::float64),
                       .weights = Tensor::of({3}, {1e300, 1, 1e-200}, DType::float64)})
            .item() == doctest::Approx(loss(third)).epsilon(1e-15));
  // A row of weight 2 is a row that is there twice.
  const Tensor twice = Tensor::of({4}, {1, 3, 3, 0}, DType::int32);
  Tensor rows = Tensor::empty({4, 4}, DType::float64);
  for (const std::size_t row : {0U, 1U, 2U, 3U}) {
    Tensor to = rows.row(row);
    to.copy_from(logits.row(row < 2 ? row : row - 1));
  }
  CHECK(loss(Tensor::of({3}, {1, 2, 1})) ==
        doctest::Approx(cross_entropy(rows, twice).item()).epsilon(1e-15));
}

TEST_CASE("cross_entropy: what does not count is not looked at; nothing counted costs nothing") {
  const Tensor logits = Tensor::of({3, 2}, {NAN, inf, 0, 0, NAN, NAN}, DType::float64);
  const Tensor ids = Tensor::of({3}, {0, 1, ignore}, DType::int32);
  const Tensor one = Tensor::of({3}, {0, 5, 1});
  const std::vector<double> gradient{0, 0, 0.5, -0.5, 0, 0};
  const auto fused = [&](const Var& x) { return cross_entropy(x, ids, {.weights = one}); };
  const auto twin = [&](const Var& x) { return cross_entropy_composed(x, ids, {.weights = one}); };
  check_loss(fused, logits, std::log(2), gradient);
  check_loss(twin, logits, std::log(2), gradient);
  check_loss([&](const Var& x) { return nll(x, ids, {.weights = one}); }, logits, 0,
             {0, 0, 0, -1, 0, 0});
  const std::vector<double> none(6, 0.0);
  const Tensor zero = Tensor::zeros({3});
  const Tensor free = Tensor::zeros({2});
  check_loss([&](const Var& x) { return cross_entropy(x, ids, {.weights = zero}); }, logits, 0,
             none);
  check_loss([&](const Var& x) { return cross_entropy(x, ids, {.class_weights = free}); }, logits,
             0, none);
  check_loss([&](const Var& x) { return nll(x, ids, {.weights = zero}); }, logits, 0, none);
  // The first row's class weighs nothing; smoothed, it would, but not if nothing else does.
  const Tensor second = Tensor::of({2}, {0, 3});
  check_loss([&](const Var& x) { return cross_entropy(x, ids, {.class_weights = second}); }, logits,
             std::log(2), gradient);
  check_loss(
      [&](const Var& x) {
        const Tensor first = Tensor::zeros({3}, DType::int32);
        return cross_entropy(x, first, {.label_smoothing = 0.1, .class_weights = second});
      },
      random_tensor({3, 2}, DType::float32), 0, none);
  // Second derivatives, too: the gradient's gradient is finite, and 0 in rows that do not count.
  Tape tape;
  const Var x = tape.leaf(logits);
  const Var dx = tape.gradient(fused(x), {x}, {.create_graph = true})[0];
  check_values(tape.gradient(sum(square(dx)), {x})[0].value(), {3, 2}, DType::float64,
               {0, 0, 0.5, -0.5, 0, 0}, 4);
}

TEST_CASE("cross_entropy: huge and masked logits, fused and composed") {
  const auto check = [](std::initializer_list<double> row, CrossEntropyOptions o, std::int32_t k,
                        double loss, const std::vector<double>& gradient) {
    const Tensor logits = Tensor::of({row.size()}, row, DType::float64);
    const Tensor id = Tensor::of({}, {static_cast<double>(k)}, DType::int32);
    check_loss([&](const Var& x) { return cross_entropy(x, id, o); }, logits, loss, gradient);
    check_loss([&](const Var& x) { return cross_entropy_composed(x, id, o); }, logits, loss,
               gradient);
  };
  const CrossEntropyOptions smooth{.label_smoothing = 0.3};
  const double p = 1 / (1 + std::exp(1.0)), q = 1 - p;  // softmax of (0, 1)
  check({1e4, -1e4, 0}, {}, 0, 0, {0, 0, 0});
  check({1e4, -1e4, 0}, {}, 1, 2e4, {1, -1, 0});
  check({1e4, -1e4, 0}, smooth, 1, 0.8 * 2e4 + 0.1 * 1e4, {0.9, -0.8, -0.1});
  check({-inf, 0, 1}, {}, 1, -std::log(p), {0, p - 1, q});
  check({-inf, 0, 1}, {}, 0, inf, {-1, p, q});
  check({-inf, 0, 1}, smooth, 1, inf, {-0.1, p - 0.8, q - 0.1});
  // A class that is masked everywhere is left out of the smoothing by its weight 0.
  check({-inf, 0, 1}, {.label_smoothing = 0.3, .class_weights = Tensor::of({3}, {0, 1, 1})}, 1,
        -0.8 * std::log(p) - 0.1 * std::log(q), {0, 0.9 * p - 0.8, 0.9 * q - 0.1});
  check({-inf, -inf}, {}, 0, inf, {-1, 0});
  check({inf, 0}, {}, 0, NAN, {NAN, NAN});
  check({NAN, 0}, {}, 0, NAN, {NAN, NAN});
  const Var huge = Tensor::of({2}, {1e300, -1e300}, DType::float64);
  const Tensor ids = Tensor::of({}, {1}, DType::int32);
  CHECK(cross_entropy(huge, ids).item() == 2e300);
  CHECK(cross_entropy_composed(huge, ids).item() == 2e300);
}

TEST_CASE("cross_entropy: bad input") {
  const Var x = Tensor::zeros({2, 3});
  const Tensor ids = Tensor::zeros({2}, DType::int32);
  CHECK_THROWS_WITH_AS(cross_entropy(x, ids, {.label_smoothing = 1}),
                       "[cross_entropy] label_smoothing is 1: it must be in [0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(cross_entropy(x, ids, {.class_weights = Tensor::zeros({2})}),
                       "[cross_entropy] class_weights has shape (V) = (2) but logits has shape "
                       "(..., V) = (2, 3): V must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(x, ids, {.class_weights = Tensor::of({3}, {1, 2, -0.5})}),
                       "[cross_entropy] class_weights has -0.5 at position 2 of shape (3): all of "
                       "it must be finite and at least 0",
                       UsageError);
  CHECK_THROWS_WITH_AS(cross_entropy(x, ids, {.weights = Tensor::zeros({2, 3})}),
                       "[cross_entropy] weights has shape (2, 3) but ids has shape (2): the shapes "
                       "must be equal",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      nll(x, ids, {.weights = Tensor::of({2}, {1, NAN})}),
      "[nll] weights has nan at position 1 of shape (2): all of it must be finite and at least 0",
      UsageError);
  CHECK_THROWS_WITH_AS(nll(Tensor::zeros({3, 2}), ids),
                       "[nll] log_probabilities has shape (..., V) = (3, 2) but ids has shape "
                       "(...) = (2): the leading axes must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      nll(x, Tensor::of({2}, {0, 3}, DType::int32)),
      "[nll] id 3 at position 1 of shape (2) is out of range: ids must be in [0, 3)", UsageError);
}

TEST_CASE("cross_entropy: weights overwritten after they were used are noticed") {
  Tensor w = Tensor::full({2}, 1, DType::float64);
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2, 3}));
  const Var loss = cross_entropy(x, Tensor::zeros({2}, DType::int32), {.weights = w});
  w.fill(2);
  CHECK_THROWS_AS(tape.gradient(loss, {x}), UsageError);
}
