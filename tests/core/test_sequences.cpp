// Covers core/data/sequences: padded batches of every dtype, masks of valid steps, what is refused.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "../../core/data/sequences.h"
#include "../../core/error.h"

using namespace tapegrad;

namespace {

std::vector<double> elements(const Tensor& t) {
  std::vector<double> all;
  for (std::size_t i = 0; i < t.numel(); ++i) all.push_back(t.at(i));
  return all;
}

using Numbers = std::vector<double>;
using Tensors = std::vector<Tensor>;

}  // namespace

TEST_CASE("pad_sequences: side by side in the order of time, padding behind the ends") {
  const Tensors ids = {Tensor::from({3}, {1, 2, 3}), Tensor::from({1}, {4}),
                       Tensor::empty({0}, DType::int32)};
  const auto [x, lengths] = pad_sequences(ids, -1);
  CHECK(x.shape() == Shape{3, 3});
  CHECK(x.dtype() == DType::int32);
  CHECK(elements(x) == Numbers{1, 4, -1, 2, -1, -1, 3, -1, -1});
  CHECK(elements(lengths) == Numbers{3, 1, 0});
  CHECK(lengths.dtype() == DType::int32);

  for (const DType dtype : {DType::float32, DType::float64}) {
    const Tensors features = {Tensor::from({1, 2}, {1.0, 2.0}).to(dtype),
                              Tensor::from({2, 2}, {3.0, 4.0, 5.0, 6.0}).to(dtype)};
    const PaddedSequences padded = pad_sequences(features);
    CHECK(padded.values.dtype() == dtype);
    CHECK(padded.values.shape() == Shape{2, 2, 2});
    CHECK(elements(padded.values) == Numbers{1, 2, 3, 4, 0, 0, 5, 6});
    CHECK(elements(padded.lengths) == Numbers{1, 2});
    const Tensor with_nan = pad_sequences(features, std::nan("")).values;
    CHECK(std::isnan(with_nan.at(4)));
    CHECK(with_nan.at(6) == 5);
  }

  const std::vector<std::size_t> chosen = {1, 0, 1};
  const PaddedSequences some = pad_sequences(ids, chosen);
  CHECK(elements(some.values) == Numbers{4, 1, 4, 0, 2, 0, 0, 3, 0});
  CHECK(elements(some.lengths) == Numbers{1, 3, 1});
}

TEST_CASE("pad_sequences: what is refused") {
  const Tensor a = Tensor::zeros({2, 3});
  const auto pad = [](const Tensors& sequences, double padding = 0) {
    return pad_sequences(sequences, padding);
  };
  CHECK_THROWS_WITH_AS(pad({}), "[pad_sequences] there are no sequences: there must be one",
                       UsageError);
  CHECK_THROWS_WITH_AS(pad({a, Tensor()}),
                       "[pad_sequences] sequence 1 is undefined: it must have steps, (T, ...)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(pad({a, Tensor::zeros({})}),
                       "[pad_sequences] sequence 1 is a scalar: it must have steps, (T, ...)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      pad({a, a.to(DType::float64)}),
      "[pad_sequences] sequence 1 is float64 but sequence 0 is float32: they must be alike",
      DtypeError);
  CHECK_THROWS_WITH_AS(pad({a, Tensor::zeros({2, 4})}),
                       "[pad_sequences] sequence 1 has shape (2, 4) but sequence 0 has (2, 3): all "
                       "axes but the first, the time, must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(pad({Tensor::zeros({0, 3})}),
                       "[pad_sequences] no sequence has a step: one of them must", ShapeError);
  const Tensor ids = Tensor::zeros({1}, DType::int32);
  for (const double padding : {0.5, std::nan(""), 2147483648.0}) {
    CHECK_THROWS_AS(pad({ids}, padding), UsageError);
  }
  CHECK_THROWS_WITH_AS(
      pad({ids}, 0.5),
      "[pad_sequences] padding is 0.5 but the sequences are int32: it must be one of theirs",
      UsageError);
  CHECK_THROWS_WITH_AS(
      pad({a}, 1e300),
      "[pad_sequences] padding is 1e+300 but the sequences are float32: it must be one of theirs",
      UsageError);
  CHECK_THROWS_AS(pad({a}, -1e300), UsageError);
  CHECK(std::isnan(pad({a, Tensor::zeros({1, 3})}, std::nan("")).values.at(9)));
  const std::vector<std::size_t> chosen = {0, 2};
  CHECK_THROWS_WITH_AS(pad_sequences(Tensors{a, a}, chosen),
                       "[pad_sequences] sequence 2 is chosen but there are 2", UsageError);
}

TEST_CASE("valid_steps: 1 before the ends, 0 behind, for all elements of a step") {
  const Tensor lengths = Tensor::from({3}, {2, 0, 3});
  CHECK(elements(valid_steps(lengths, {3, 3})) == Numbers{1, 0, 1, 1, 0, 1, 0, 0, 1});
  CHECK(elements(valid_steps(lengths, {3, 3, 2})) ==
        Numbers{1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1});
  CHECK(valid_steps(lengths, {3, 3}).dtype() == DType::float32);
  CHECK(valid_steps(lengths, {3, 3, 0}).numel() == 0);

  CHECK_THROWS_WITH_AS(valid_steps(lengths, {3}),
                       "[valid_steps] shape has shape (3): it must be (T, B, ...)", ShapeError);
  CHECK_THROWS_WITH_AS(
      valid_steps(lengths, {3, 2}),
      "[valid_steps] lengths have shape (3) but x has B = 2 sequences: lengths must be (B)",
      ShapeError);
  CHECK_THROWS_WITH_AS(valid_steps(lengths, {2, 3}),
                       "[valid_steps] length 3 of sequence 2 is out of range: lengths must be in "
                       "[0, T], T = 2",
                       UsageError);
  CHECK_THROWS_WITH_AS(valid_steps(Tensor::from({1}, {-1}), {2, 1}),
                       "[valid_steps] length -1 of sequence 0 is out of range: lengths must be in "
                       "[0, T], T = 2",
                       UsageError);
  CHECK_THROWS_WITH_AS(valid_steps(lengths.to(DType::float32), {3, 3}),
                       "[valid_steps] lengths are float32: they must be int32", DtypeError);
}
