#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../core/data/sequences.h"
#include "../../core/error.h"
#include "../support/kernel_cases.h"
#include "../support/loss_cases.h"
#include "../support/op_check.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// A loss of a prediction and a target of equal shape.
struct Loss {
  const char* name;
  std::function<Var(const Var&, const Var&, const Tensor& weights)> of;
};
/// gaussian_nll and quantile_loss in their simplest form, so that what holds for every loss can be
/// said once.
std::vector<Loss> all_losses() {
  return {
      {"l1", [](const Var& p, const Var& t, const Tensor& w) { return l1(p, t, {w}); }},
      {"mse", [](const Var& p, const Var& t, const Tensor& w) { return mse(p, t, {w}); }},
      {"huber", [](const Var& p, const Var& t, const Tensor& w) { return huber(p, t, 0.7, {w}); }},
      {"bce_with_logits", [](const Var& p, const Var& t,
                             const Tensor& w) { return bce_with_logits(p, t, {.weights = w}); }},
      {"gaussian_nll", [](const Var& p, const Var& t,
                          const Tensor& w) { return gaussian_nll(p, exp(t), t, {.weights = w}); }},
      {"quantile_loss",
       [](const Var& p, const Var& t, const Tensor& w) {
         const Var two = repeat(p, p.shape().rank(), 2);
         return quantile_loss(two, t, {0.2, 0.7}, {w});
       }},
      {"masked_mean",
       [](const Var& p, const Var& t, const Tensor& w) { return masked_mean(square(p) * t, w); }},
  };
}

std::vector<double> negative(std::vector<double> values) {
  for (double& v : values) v = -v;
  return values;
}

const Tensor prediction = Tensor::of({2, 3}, {0.3, -1.2, 2.5, 0.8, -0.4, 1.1}, DType::float64);
const Tensor target = Tensor::of({2, 3}, {0.5, -0.2, -1.5, 0.8, 0.6, 0.1}, DType::float64);
const Tensor labels = Tensor::of({2, 3}, {1, 0, 0.25, 0, 1, 0.5}, DType::float64);

}  // namespace

TEST_CASE("gradcheck: losses, with and without weights" * doctest::test_suite("gradients")) {
  const OpOptions apart{.distinct = true};
  // Targets small enough that the two terms of a slope do not cancel in float32.
  const auto few = [](const Var& x) { return 0.03 * sigmoid(x); };
  for (const Shape& s : std::vector<Shape>{{}, {3}, {2, 2}}) {
    Tensor some = Tensor::full(s, 0.5);
    if (s.rank() > 0) some.mutable_data<float>()[1] = 0;
    for (const Tensor& w : {Tensor(), some}) {
      const std::vector<Shape> two{s, s};
      check_op(
          "l1", [&](In x) { return Out{square(l1(x[0], x[1], {w}))}; }, two, apart);
      check_op(
          "mse", [&](In x) { return Out{mse(x[0], x[1], {w})}; }, two);
      for (const double delta : {0.01, 10.0}) {  // all in the linear part, all in the square one
        check_op(
            "huber", [&](In x) { return Out{square(huber(x[0], x[1], delta, {w}))}; }, two, apart);
      }
      for (const double delta : {0.5, 50.0}) {
        check_op(
            "huber", [&](In x) { return Out{huber(exp(x[0]) + 5.0, x[1], delta, {w})}; }, two);
      }
      const Tensor mask = w.defined() ? w : Tensor::full(s, 2);
      check_op("select_weighted", [&](In x) { return Out{masked_mean(square(x[0]), mask)}; }, {s});
      for (const Tensor& p : {Tensor(), Tensor::scalar(2.5)}) {
        check_op(
            "bce_with_logits",
            [&](In x) {
              return Out{bce_with_logits(x[0], few(x[1]), {w, p})};
            },
            two);
      }
      // The slope for the target is an op of its own.
      check_op(
          "bce_target_slope",
          [&](In x) {
            return Out{square(bce_with_logits(x[0], sigmoid(x[1]), {w, Tensor::scalar(0.5)}))};
          },
          two);
      check_op("gaussian_nll",
               [&](In x) { return Out{gaussian_nll(x[0], square(x[1]), x[2], {.weights = w})}; },
               {s, s, s}, {.away_from = 0.7});
      check_op(
          "quantile_loss",
          [&](In x) {
            return Out{square(quantile_loss(x[0], x[1], {0.1, 0.5, 0.8}, {w}))};
          },
          {s.inserted(s.rank(), 3), s}, apart);
    }
  }
  const Tensor by_class = Tensor::of({3}, {2, 0, 3});
  check_op(
      "bce_with_logits",
      [&](In x) { return Out{bce_with_logits(x[0], few(x[1]), {.positive_weight = by_class})}; },
      {{2, 3}, {2, 3}});
}

TEST_CASE("losses: the gradient checker is told where gaussian_nll stops believing") {
  const auto loss = [](Tape&, In x) {
    return Vars{gaussian_nll(x[0], x[1], x[2], {.epsilon = 1})};
  };
  const Tensor two = Tensor::of({2}, {1, -1}, DType::float64);
  const GradcheckReport report =
      gradcheck(loss, {{"mean", two},
                       {"variance", Tensor::of({2}, {1, 2}, DType::float64)},
                       {"target", Tensor::zeros({2}, DType::float64)}});
  CHECK_MESSAGE(report, report.text());
  CHECK(report.kinks == 1);
  CHECK(report.entries.front().branch.starts_with("gaussian_nll#"));
}

// Numbers: torch 2.13 in float64, the functions of the same names in torch.nn.functional.
TEST_CASE("losses: torch's numbers, for predictions and for targets") {
  const std::vector<Tensor> pair{prediction, target};
  constexpr double s = 1. / 6;
  const std::vector<double> of_l1{-s, -s, s, 0, -s, s};
  check_loss([](In x) { return l1(x[0], x[1]); }, pair, 1.2, {of_l1, negative(of_l1)});
  const std::vector<double> of_mse{-0.2 / 3, -1. / 3, 4. / 3, 0, -1. / 3, 1. / 3};
  check_loss([](In x) { return mse(x[0], x[1]); }, pair, 3.1733333333333333,
             {of_mse, negative(of_mse)});
  const std::vector<double> of_huber{-0.1 / 3, -0.15, 0.15, 0, -0.15, 0.15};
  check_loss([](In x) { return huber(x[0], x[1], 0.9); }, pair, 0.7833333333333333,
             {of_huber, negative(of_huber)});
  check_loss([](In x) { return bce_with_logits(x[0], x[1]); }, {prediction, labels},
             0.9488297815937115,
             {{-0.07092624719805683, 0.03857920275016373, 0.11235696999645943, 0.11499574685460208,
               -0.09978127668540866, 0.04171001759918628},
              {-0.05, 0.2, -0.4166666666666667, -0.13333333333333333, 0.06666666666666667,
               -0.18333333333333335}});
  check_loss(
      [](In x) {
        return bce_with_logits(x[0], x[1], {.positive_weight = Tensor::of({3}, {2, 0.5, 3})});
      },
      {prediction, labels}, 1.0196010833487543,
      {{-0.14185249439611367, 0.03857920275016373, 0.10603545499468914, 0.11499574685460208,
        -0.04989063834270433, 8.670186503922928e-05},
       {0.042392540744754514, 0.07805979438849739, -0.3903700885691501, -0.07148322234203708,
        -0.009417937699996048, -0.08755489162818973}});
  // The third variance is below epsilon: its gradient is that of epsilon.
  const Tensor variance = Tensor::of({2, 3}, {0.7, 1.3, 1e-9, 0.2, 2.5, 0.9}, DType::float64);
  const std::vector<double> mean{-1. / 21, -0.1 / 0.78, 666666.6666666666, 0, -0.2 / 3, 5. / 27};
  check_loss([](In x) { return gaussian_nll(x[0], x[1], x[2]); }, {prediction, variance, target},
             1333332.3024296502,
             {mean,
              {0.11224489795918367, 0.01479289940828403, -1333333250000.0, 0.41666666666666663,
               0.02, -0.010288065843621394},
              negative(mean)},
             32);
  const std::vector<double> wide{-1. / 21, -0.1 / 0.78, 4. / 3, 0, -0.2 / 3, 5. / 27};
  check_loss([](In x) { return gaussian_nll(x[0], x[1], x[2], {.epsilon = 0.5, .full = true}); },
             {prediction, variance, target}, 3.7245893592971675,
             {wide,
              {0.11224489795918367, 0.01479289940828403, -5.166666666666666, 0.16666666666666666,
               0.02, -0.010288065843621394},
              negative(wide)},
             32);
}

TEST_CASE("losses: quantile_loss by its definition, minimal at the quantile") {
  const Tensor p = Tensor::of({2, 2}, {1, 3, 2, 2}, DType::float64);
  const Tensor t = Tensor::of({2}, {2, 2}, DType::float64);
  // e = (1, -1), (0, 0)
  check_loss(
      [](In x) {
        return quantile_loss(x[0], x[1], {0.25, 0.75});
      },
      {p, t}, 0.5 / 4, {{-0.25 / 4, 0.25 / 4, 0, 0}, {0, 0}});
  check_loss(
      [](In x) {
        return quantile_loss(x[0], x[1], {0.5, 0.75}, {Tensor::of({2}, {3, 1})});
      },
      {p, t}, 3 * 0.75 / 8, {{-1.5 / 8, 0.75 / 8, 0, 0}, {0.75 / 8, 0}});
  // Of 0, 1, ..., 10 the number with the smallest loss for q = 0.8 is 8.
  double best = inf, at = -1;
  for (int guess = 0; guess <= 10; ++guess) {
    double total = 0;
    for (int i = 0; i <= 10; ++i) {
      total += quantile_loss(Tensor::full({1}, guess), Tensor::scalar(i), {0.8}).item();
    }
    if (total < best) {
      best = total;
      at = guess;
    }
  }
  CHECK(at == 8);
}

TEST_CASE("losses: weights are a mean's weights") {
  for (const Loss& loss : all_losses()) {
    CAPTURE(loss.name);
    for (const DType dtype : float_types) {
      const Var p = prediction.to(dtype), t = labels.to(dtype);
      const auto with = [&](const Tensor& w) { return loss.of(p, t, w).item(); };
      const double plain = with(Tensor::full({2, 3}, 1));
      if (std::string(loss.name) != "masked_mean") CHECK(with({}) == plain);
      CHECK(with(Tensor::full({2, 3}, 1, DType::int32)) == plain);
      CHECK(with(Tensor::full({2, 3}, 1e308, DType::float64)) == plain);
      CHECK(with(Tensor::full({2, 3}, 1e-320, DType::float64)) == plain);
      double total = 0;
      for (std::size_t i = 0; i < 6; ++i) {  // each element alone, by the loss of one element
        Tensor only = Tensor::zeros({2, 3});
        only.mutable_data<float>()[i] = 0.3F;
        const Var one_p = Tensor::scalar(p.value().at(i), dtype);
        const Var one_t = Tensor::scalar(t.value().at(i), dtype);
        const double alone = loss.of(one_p, one_t, Tensor::scalar(1)).item();
        CHECK(with(only) == doctest::Approx(alone).epsilon(1e-6));
        total += static_cast<double>(i) * alone;
      }
      const Tensor uneven = Tensor::of({2, 3}, {0, 1, 2, 3, 4, 5}, DType::int32);
      CHECK(with(uneven) == doctest::Approx(total / 15).epsilon(1e-6));
    }
  }
}

TEST_CASE("losses: what has weight 0 may be NaN or infinite, in values and two derivatives") {
  const Tensor w = Tensor::of({2, 3}, {1, 0, 0, 2, 0, 1}, DType::int32);
  const auto at_zeros = [](const Tensor& from, double first, double second, double third) {
    Tensor x = from.clone();
    x.mutable_data<double>()[1] = first;
    x.mutable_data<double>()[2] = second;
    x.mutable_data<double>()[4] = third;
    return x;
  };
  for (const Loss& loss : all_losses()) {
    if (std::string(loss.name) == "masked_mean") continue;  // has no say in what x is made of
    CAPTURE(loss.name);
    struct Results {
      double value;
      std::vector<double> first, second;
    };
    const auto results = [&](const Tensor& p, const Tensor& t) {
      Tape tape;
      const Var x = tape.leaf(p), y = tape.leaf(t);
      const Var value = square(loss.of(x, t, w) + loss.of(p, y, w));
      const Vars d = tape.gradient(value, {x, y}, {.create_graph = true});
      const Vars dd = tape.gradient(sum(square(d[0])) + sum(square(d[1])), {x, y});
      Results r{value.item(), values_of(d[0].value()), values_of(dd[0].value())};
      for (const double v : values_of(d[1].value())) r.first.push_back(v);
      for (const double v : values_of(dd[1].value())) r.second.push_back(v);
      return r;
    };
    const Results fine = results(at_zeros(prediction, 0, 0, 0), at_zeros(labels, 0, 0, 0));
    // gaussian_nll's variance is made of the target here, outside of the loss: it must be finite.
    const bool outside = std::string(loss.name) == "gaussian_nll";
    const Results wild = results(at_zeros(prediction, NAN, inf, -inf),
                                 outside ? labels : at_zeros(labels, inf, -inf, NAN));
    CHECK(wild.value == fine.value);
    CHECK(wild.first == fine.first);
    CHECK(wild.second == fine.second);
    for (const std::size_t i : {1U, 2U, 4U, 7U, 8U, 10U}) {
      CHECK(wild.first[i] == 0);
      CHECK(wild.second[i] == 0);
    }
  }
  const Tensor x = at_zeros(prediction, NAN, inf, -inf);
  check_loss([&](In in) { return masked_mean(in[0], w); }, {x}, (0.3 + 1.6 + 1.1) / 4,
             {{0.25, 0, 0, 0.5, 0, 0.25}});
  check_loss([&](In in) { return gaussian_nll(in[0], in[1], in[2], {.weights = w}); },
             {at_zeros(target, inf, NAN, 0),
              at_zeros(Tensor::full({2, 3}, 1, DType::float64), NAN, -1, inf),
              at_zeros(target, 0, 0, NAN)},
             0, {{0, 0, 0, 0, 0, 0}, {0.125, 0, 0, 0.25, 0, 0.125}, {0, 0, 0, 0, 0, 0}});
}

TEST_CASE("losses: an infinite or NaN gradient stops at what has weight 0") {
  const Tensor mask = Tensor::of({3}, {0, 1, 0}, DType::int32);
  for (const double bad : {inf, -inf, static_cast<double>(NAN)}) {
    Tape tape;
    const Var x = tape.leaf(Tensor::of({3}, {1, 2, 3}, DType::float64));
    const Var dy = Tensor::scalar(bad, DType::float64);
    const Vars d = tape.gradient(masked_mean(x, mask), {x}, {}, dy);
    CHECK(d[0].value().at(0) == 0);
    CHECK_FALSE(std::isfinite(d[0].value().at(1)));
    CHECK(d[0].value().at(2) == 0);
  }
}

TEST_CASE("losses: all weights 0 make the loss and its gradients 0") {
  for (const Loss& loss : all_losses()) {
    CAPTURE(loss.name);
    const std::vector<double> none(6, 0.0);
    check_loss(
        [&](In x) {
          return loss.of(x[0], x[1], Tensor::zeros({2, 3}));
        },
        {prediction, labels}, 0, {none, none}, 0);
  }
  CHECK(gaussian_nll(target, labels, target, {Tensor::zeros({2, 3}), 1, true}).item() == 0);
}

TEST_CASE("losses: huge, saturated and infinite") {
  const auto pair = [](const std::function<Var(const Var&, const Var&)>& f, double p, double t,
                       double expected, double dp) {
    CAPTURE(p);
    CAPTURE(t);
    for (const DType dtype : float_types) {
      if (dtype == DType::float32 && std::abs(p) > 1e38 && !std::isinf(p)) continue;
      for (const bool create_graph : {false, true}) {
        Tape tape;
        const Var x = tape.leaf(Tensor::full({1}, p, dtype));
        const Var loss = f(x, Tensor::full({1}, t, dtype));
        check_values(loss.value(), {}, dtype, {expected}, 4);
        const Vars dx = tape.gradient(loss, {x}, {.create_graph = create_graph});
        check_values(dx[0].value(), {1}, dtype, {dp}, 4);
      }
    }
  };
  const auto absolute = [](const Var& p, const Var& t) { return l1(p, t); };
  pair(absolute, 1e300, 0, 1e300, 1);
  pair(absolute, -inf, 0, inf, -1);
  pair(absolute, NAN, 0, NAN, NAN);
  const auto square_error = [](const Var& p, const Var& t) { return mse(p, t); };
  pair(square_error, 1e4, 0, 1e8, 2e4);
  pair(square_error, 1e300, 0, inf, 2e300);  // the square overflows, the gradient does not
  pair(square_error, NAN, 0, NAN, NAN);
  const auto smooth = [](const Var& p, const Var& t) { return huber(p, t, 2); };
  pair(smooth, 1e300, 0, 2e300, 2);
  pair(smooth, -inf, 0, inf, -2);
  pair(smooth, 2, 0, 2, 2);  // the two halves meet here
  pair(smooth, NAN, 0, NAN, NAN);
  const auto bce = [](const Var& p, const Var& t) { return bce_with_logits(p, t); };
  pair(bce, 1e4, 1, 0, 0);
  pair(bce, 1e4, 0, 1e4, 1);
  pair(bce, -1e4, 0, 0, 0);
  pair(bce, -1e4, 1, 1e4, -1);
  pair(bce, 1e300, 1, 0, 0);
  pair(bce, -1e300, 1, 1e300, -1);
  pair(bce, 1e300, 0.25, 0.75e300, 0.75);
  pair(bce, inf, 1, 0, 0);
  pair(bce, -inf, 0, 0, 0);
  pair(bce, -inf, 1, inf, -1);
  pair(bce, inf, 0.5, inf, 0.5);
  pair(bce, NAN, 1, NAN, NAN);
  const auto median = [](const Var& p, const Var& t) {
    return quantile_loss(reshape(p, {1, 1}), t, {0.25});
  };
  pair(median, 1e300, 0, 0.75e300, 0.75);
  pair(median, -1e300, 0, 0.25e300, -0.25);
  pair(median, inf, 0, inf, 0.75);
  pair(median, NAN, 0, NAN, NAN);
  // Far out every digit of a small loss is there: log(1 + e^-80).
  const Var far = Tensor::full({1}, 80, DType::float64);
  CHECK(bce_with_logits(far, Tensor::full({1}, 1, DType::float64)).item() * std::exp(80.0) ==
        doctest::Approx(1).epsilon(1e-14));
  CHECK(gaussian_nll(far, Tensor::full({1}, 0, DType::float64), far).item() ==
        doctest::Approx(std::log(1e-6) / 2).epsilon(1e-15));
}

TEST_CASE("losses: weights of samples over steps, as the header says") {
  const Tensor samples = Tensor::of({3}, {1, 0, 2});
  const Var y = prediction, t = target;
  const double expected = (0.04 + 2 * 16 + 0 + 2 * 1) / 6;
  CHECK(mse(y, t, {.weights = repeat(samples, 0, 2).value()}).item() ==
        doctest::Approx(expected).epsilon(1e-14));
}

TEST_CASE("losses: bad shapes and dtypes; a loss never broadcasts") {
  const Var column = Tensor::zeros({3, 1}), row = Tensor::zeros({3}), wide = Tensor::zeros({2, 3});
  for (const Loss& loss : all_losses()) {
    CAPTURE(loss.name);
    if (std::string(loss.name) == "masked_mean") continue;
    CHECK_THROWS_AS(loss.of(column, row, {}), ShapeError);
    CHECK_THROWS_AS(loss.of(row, column, {}), ShapeError);
    CHECK_THROWS_AS(loss.of(wide, row, {}), ShapeError);
    CHECK_THROWS_AS(loss.of(row, Tensor::scalar(0), {}), ShapeError);
    CHECK_THROWS_AS(loss.of(row, Tensor::zeros({3}, DType::float64), {}), DtypeError);
    CHECK_THROWS_AS(loss.of(wide, wide, Tensor::zeros({3})), ShapeError);
    CHECK_THROWS_AS(loss.of(wide, wide, Tensor::full({2, 3}, -1)), UsageError);
    CHECK_THROWS_AS(loss.of(Tensor::zeros({0}), Tensor::zeros({0}), {}), ShapeError);
  }
  CHECK_THROWS_WITH_AS(l1(row, column),
                       "[l1] prediction has shape (3) but target has shape (3, 1): the shapes must "
                       "be equal, a loss never broadcasts; reshape(prediction, target.shape()) "
                       "makes them so",
                       ShapeError);
  CHECK_THROWS_WITH_AS(huber(wide, row, 1),
                       "[huber] prediction has shape (2, 3) but target has shape (3): the shapes "
                       "must be equal, a loss never broadcasts",
                       ShapeError);
  CHECK_THROWS_WITH_AS(gaussian_nll(row, Tensor::scalar(1), row),
                       "[gaussian_nll] variance has shape () but target has shape (3): the shapes "
                       "must be equal, a loss never broadcasts",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      quantile_loss(wide, Tensor::zeros({2}), {0.1, 0.9}),
      "[quantile_loss] prediction has shape (..., Q) = (2, 3) but target has shape "
      "(...) = (2): prediction must have one more axis, of size Q = 2, the number "
      "of quantiles",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      bce_with_logits(wide, wide, {.positive_weight = Tensor::zeros({2})}),
      "[bce_with_logits] positive_weight has shape () or (C) = (2) but logits has shape (..., C) = "
      "(2, 3): C must match",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      mse(wide, wide, {Tensor::zeros({3})}),
      "[mse] weights has shape (3) but target has shape (2, 3): the shapes must be "
      "equal; repeat() gives weights a leading axis",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      masked_mean(wide, Tensor::zeros({2})),
      "[masked_mean] mask has shape (2) but x has shape (2, 3): the shapes must be "
      "equal",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      masked_mean(wide, Tensor()),
      "[masked_mean] the mask is undefined: it must have the shape of x; mean() takes none",
      UsageError);
  CHECK_THROWS_WITH_AS(l1(Tensor::zeros({0, 3}), Tensor::zeros({0, 3})),
                       "[l1] target has shape (0, 3): it must be of at least one element",
                       ShapeError);
  CHECK_THROWS_WITH_AS(mse(row, Tensor::zeros({3}, DType::int32)),
                       "[mse] target is int32: it must be float32 or float64; convert it with to()",
                       DtypeError);
  CHECK_THROWS_WITH_AS(mse(row, Tensor::zeros({3}, DType::float64)),
                       "[mse] prediction is float32 but target is float64: convert one with to()",
                       DtypeError);
}

TEST_CASE("losses: bad values") {
  const Var x = Tensor::zeros({2}), one = Tensor::full({2}, 1);
  CHECK_THROWS_WITH_AS(
      huber(x, x, 0),
      "[huber] delta in the inputs' dtype is 0: it must be greater than 0 and finite", UsageError);
  CHECK_THROWS_AS(huber(x, x, inf), UsageError);
  CHECK_THROWS_AS(huber(x, x, 1e-60), UsageError);  // 0 in float32
  CHECK_THROWS_AS(gaussian_nll(x, one, x, {.epsilon = 1e-60}), UsageError);
  CHECK(huber(x.value().to(DType::float64), x.value().to(DType::float64), 1e-60).item() == 0);
  CHECK_THROWS_AS(huber(x, x, NAN), UsageError);
  CHECK_THROWS_WITH_AS(bce_with_logits(x, Tensor::of({2}, {1, -1})),
                       "[bce_with_logits] target is -1 at position 1 of shape (2): it must be in "
                       "[0, 1]; a target of -1 or 1 becomes one by (t + 1) / 2",
                       UsageError);
  CHECK_THROWS_AS(bce_with_logits(x, Tensor::of({2}, {1, 1.5})), UsageError);
  CHECK_THROWS_WITH_AS(bce_with_logits(x, x, {.positive_weight = Tensor::scalar(-1)}),
                       "[bce_with_logits] positive_weight has -1 at position 0 of shape (): all of "
                       "it must be finite "
                       "and at least 0",
                       UsageError);
  CHECK_THROWS_WITH_AS(
      gaussian_nll(x, Tensor::of({2}, {1, -0.5}), x),
      "[gaussian_nll] variance is -0.5 at position 1 of shape (2): it must be at least 0; exp() or "
      "a square of what the model gives makes it so",
      UsageError);
  CHECK_THROWS_WITH_AS(
      gaussian_nll(x, one, x, {.epsilon = 0}),
      "[gaussian_nll] epsilon in the inputs' dtype is 0: it must be greater than 0 and finite",
      UsageError);
  CHECK_THROWS_WITH_AS(
      quantile_loss(Tensor::zeros({2, 2}), x, {0.5, 1}),
      "[quantile_loss] quantile is 1 at position 1 of shape (2): it must be in (0, 1)", UsageError);
  CHECK_THROWS_WITH_AS(
      mse(x, x, {Tensor::of({2}, {1, inf})}),
      "[mse] weights has inf at position 1 of shape (2): all of it must be finite and at least 0",
      UsageError);
}

TEST_CASE("losses: padded sequences count valid steps alone, and nothing else is read") {
  const double nan = std::nan("");
  const Tensor lengths = Tensor::from({2}, {3, 1});
  const Tensor logits =
      Tensor::from({3, 2, 2}, {0.5, -1.0, 2.0, 0.0, 1.5, -0.5, nan, nan, -2.0, 3.0, nan, nan});
  const Tensor targets =
      Tensor::from({3, 2, 2}, {1.0, 0.0, 0.0, 1.0, 1.0, 1.0, nan, 7.0, 0.0, 1.0, nan, nan});
  const auto valid = [&](const Tensor& x) {
    return Tensor::from({8},
                        {x.at(0), x.at(1), x.at(2), x.at(3), x.at(4), x.at(5), x.at(8), x.at(9)});
  };
  const Tensor mask = valid_steps(lengths, logits.shape());
  Tape tape;
  const Var x = tape.leaf(logits), short_x = tape.leaf(valid(logits));
  const Var loss = bce_with_logits(x, targets, {.weights = mask});
  const Var expected = bce_with_logits(short_x, valid(targets));
  CHECK(loss.item() ==
        doctest::Approx(0.6198024360101027).epsilon(1e-14));  // torch 2.13, of the eight
  const Tensor dx = tape.gradient(loss, {x})[0].value();
  const Tensor short_dx = tape.gradient(expected, {short_x})[0].value();
  for (const std::size_t k : {6U, 7U, 10U, 11U}) CHECK(dx.at(k) == 0);
  for (std::size_t k = 0; k < 8; ++k) {
    CHECK(valid(dx).at(k) == doctest::Approx(short_dx.at(k)).epsilon(1e-14));
  }
}
