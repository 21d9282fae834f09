#include "../../layers/recurrent/verify_padding.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"

using namespace tapegrad;

TEST_SUITE_BEGIN("numerics");

TEST_CASE("verify_padding: finds a model that reads padding, and says where") {
  Rng rng(1, "padding");
  const LSTM model({.input = 2, .hidden = 3}, rng);
  const Tensor x = rng.normal({4, 2, 2}, 0, 1);
  const Tensor lengths = Tensor::from<std::int32_t>({2}, {4, 2});
  Parameters all = parameters(model);
  const auto report = [&](const PaddedFunction& f) { return verify_padding(f, x, lengths, all); };
  const PaddingReport without = report([&](Tape& tape, const Var& v) {
    return Vars{mean(square(model(tape, v).y))};  // lengths forgotten
  });
  CHECK_FALSE(without.passed);
  CHECK(without.text.find("the loss") != std::string::npos);
  const PaddingReport masked_too_late = report([&](Tape& tape, const Var& v) {
    const LSTMResult r = model(tape, v);
    const Tensor valid = Tensor::of(
        {4, 2, 3}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0});
    return Vars{sum(masked(square(r.y), valid))};  // the loss is right, but NaN goes back: 0 * NaN
  });
  CHECK_FALSE(masked_too_late.passed);
  CHECK(masked_too_late.text.find("gradient") != std::string::npos);
  const PaddingReport right = report([&](Tape& tape, const Var& v) {
    return Vars{mean(square(model(tape, v, model.zero_state(2), lengths).y))};
  });
  INFO(right.text);
  CHECK(right.passed);
}

TEST_CASE(
    "verify_padding: bits are compared, those of NaN too; a frozen Parameter has no gradient") {
  Rng rng(1, "padding");
  const LSTM model({.input = 2, .hidden = 3}, rng);
  const Parameters all = parameters(model);
  all.freeze();
  Tensor x = rng.normal({4, 2, 2}, 0, 1);
  x.mutable_data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  const Tensor lengths = Tensor::from<std::int32_t>({2}, {4, 2});
  const auto loss = [&](Tape& tape, const Var& v) {
    return Vars{mean(square(model(tape, v, model.zero_state(2), lengths).y))};
  };
  CHECK(verify_padding(loss, x, lengths, all).text ==
        "2 values have the same bits with NaN in the padding");
  const Tensor ids = Tensor::zeros({4, 2}, DType::int32);
  CHECK(verify_padding_ids([&](Tape& tape, const Tensor&) { return loss(tape, x); }, ids, lengths,
                           all)
            .text == "1 values have the same bits with -1 in the padding");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("misuse");

TEST_CASE("verify_padding: messages") {
  const Tensor x = Tensor::zeros({4, 2, 3});
  CHECK_THROWS_WITH_AS(
      verify_padding([](Tape&, const Var&) { return Vars(); }, x,
                     Tensor::from<std::int32_t>({2}, {1, 2}), {}),
      "[verify_padding] the function returns nothing: it must return its loss first", UsageError);
  const auto nothing = [](Tape&, const Var& v) { return Vars{sum(v), Var()}; };
  CHECK_THROWS_WITH_AS(verify_padding(nothing, x, Tensor::from<std::int32_t>({2}, {1, 2}), {}),
                       "[verify_padding] output 1 is undefined: give it a value first", UsageError);
  const auto no_ids = [&](const Shape& shape, const Tensor& lengths) {
    (void)verify_padding_ids([](Tape&, const Tensor&) { return Vars(); },
                             Tensor::zeros(shape, DType::int32), lengths, {});
  };
  const Tensor one = Tensor::from<std::int32_t>({1}, {2});
  CHECK_THROWS_WITH_AS(
      no_ids({4, 1}, one),
      "[verify_padding_ids] the function returns nothing: it must return its loss first",
      UsageError);
  CHECK_THROWS_WITH_AS(no_ids({4}, one),
                       "[verify_padding_ids] ids has shape (4): it must be (T, B, ...) with T >= 1 "
                       "and B >= 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(no_ids({4, 1}, Tensor()),
                       "[verify_padding_ids] lengths is undefined: give it a value first",
                       UsageError);
  for (const Shape& empty : {Shape{0, 2, 3}, Shape{4, 0, 3}}) {
    CHECK_THROWS_WITH_AS(
        verify_padding(nothing, Tensor::zeros(empty), Tensor::zeros({empty[1]}, DType::int32), {}),
        ("[verify_padding] x has shape (" + std::to_string(empty[0]) + ", " +
         std::to_string(empty[1]) + ", 3): it must be (T, B, ...) with T >= 1 and B >= 1")
            .c_str(),
        ShapeError);
  }
}

TEST_SUITE_END();
