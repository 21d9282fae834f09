#include <doctest/doctest.h>

#include "../../autograd/ops/dropout.h"
#include "../../core/error.h"
#include "../../layers/dropout.h"

using namespace tapegrad;

TEST_CASE("dropout: off where the tape evaluates or infers, on where it trains") {
  const Var x = Tensor::full({100}, 1);
  Tape evaluation = Tape::evaluation();
  Tape inference = Tape::inference();
  Tape training = Tape::training({.seed = 1});
  const auto zeros = [&](Tape& tape) {
    const Var y = Dropout{0.5}(tape, x);
    std::size_t count = 0;
    for (std::size_t i = 0; i < 100; ++i) count += y.value().at(i) == 0;
    return count;
  };
  CHECK(zeros(evaluation) == 0);
  CHECK(zeros(inference) == 0);
  CHECK(zeros(training) > 30);
  CHECK(zeros(training) < 70);
}

TEST_CASE("dropout: what stays is scaled, so that the mean stays") {
  for (const double p : {0.1, 0.5, 0.9}) {
    Tape tape = Tape::training({.seed = 3});
    const Var y = dropout(tape, Tensor::full({400, 400}, 1, DType::float64), p);
    double mean = 0;
    for (std::size_t i = 0; i < 160000; ++i) {
      const double v = y.value().at(i);
      CHECK_UNARY(v == 0 || v == doctest::Approx(1 / (1 - p)).epsilon(1e-12));
      mean += v / 160000;
    }
    CHECK(mean == doctest::Approx(1).epsilon(0.02));
  }
}

TEST_CASE("dropout: masks differ between sites, calls, passes and seeds, and repeat otherwise") {
  const Var x = Tensor::full({64}, 1);
  const auto mask = [&](std::uint64_t seed, std::uint64_t pass, std::string_view site) {
    Tape tape = Tape::training({.seed = seed, .pass = pass});
    const Var y = dropout(tape, x, 0.5, site);
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 64; ++i) bits |= std::uint64_t{y.value().at(i) != 0} << i;
    return bits;
  };
  CHECK(mask(1, 1, "a") == mask(1, 1, "a"));
  CHECK(mask(1, 1, "a") != mask(1, 1, "b"));
  CHECK(mask(1, 1, "a") != mask(1, 2, "a"));
  CHECK(mask(1, 1, "a") != mask(2, 1, "a"));
  CHECK(mask(1, 1, "") == mask(1, 1, ""));
  Tape tape = Tape::training({.seed = 1, .pass = 1});
  const Var first = dropout(tape, x, 0.5);
  const Var second = dropout(tape, x, 0.5);
  std::size_t different = 0;
  for (std::size_t i = 0; i < 64; ++i) different += first.value().at(i) != second.value().at(i);
  CHECK(different > 10);
}

TEST_CASE("dropout: ids are refused whether or not it acts") {
  const Tensor ids = Tensor::zeros({3}, DType::int32);
  const auto check = [&](Tape&& tape) {
    for (const double p : {0.0, 0.5}) {
      CHECK_THROWS_WITH_AS(
          dropout(tape, ids, p),
          "[dropout] x is int32: it must be float32 or float64; convert it with to()", DtypeError);
    }
  };
  check(Tape::training({}));
  check(Tape::evaluation());
  check(Tape::inference());
}

TEST_CASE("dropout: a mask is a function of its place, so part of a batch has part of the mask") {
  const Var whole = dropout(Tensor::full({3, 5, 7}, 1), 0.5, RandomKey{9});
  const Var rows = dropout(Tensor::full({3, 2, 7}, 1), 0.5, RandomKey{9});
  for (std::size_t t = 0; t < 3; ++t) {
    for (std::size_t b = 0; b < 2; ++b) {
      for (std::size_t k = 0; k < 7; ++k) {
        CHECK(rows.value().at((t * 2 + b) * 7 + k) == whole.value().at((t * 5 + b) * 7 + k));
      }
    }
  }
}
