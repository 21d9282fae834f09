#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "../../autograd/ops/layer_norm.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../../layers/model/clone.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../../layers/recurrent/lstm_variant_cell.h"
#include "../../layers/recurrent/recurrent.h"
#include "../support/filled.h"
#include "../support/lstm_cases.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t T = 5, B = 3, I = 4, H = 5, P = 2;

LSTMVariantCell make(LSTMVariantOptions o) {
  o.dtype = DType::float64;
  Rng rng(o.input);
  return {o, rng};
}

}  // namespace

TEST_CASE("LSTMVariantCell: without variants it is the LSTMCell; coupled gates sum to 1") {
  Rng rng(4);
  const Tensor x = rng.normal({B, I}, 0, 1, DType::float64);
  const LSTMState s{rng.normal({B, H}, 0, 1, DType::float64),
                    rng.normal({B, H}, 0, 1, DType::float64)};
  Tape tape;
  Rng first(8), second(8);
  const LSTMVariantCell plain({.input = I, .hidden = H, .dtype = DType::float64}, first);
  const LSTMCell cell({.input = I, .hidden = H, .dtype = DType::float64}, second);
  const LSTMState a = plain(tape, x, s), b = cell(tape, x, s);
  for (std::size_t i = 0; i < B * H; ++i) {  // the same draws, too
    CHECK(a.h.value().at(i) == b.h.value().at(i));
    CHECK(a.c.value().at(i) == b.c.value().at(i));
  }

  // A plain cell whose a_f is -a_i has f = 1 - i.
  const LSTMVariantCell coupled = make({.input = I, .hidden = H, .coupled = true});
  const auto widened = [&](const Parameter& p) {
    const auto k = split<3>(Var(p.value()), 0);
    return Parameter(concat({k[0], -k[0], k[1], k[2]}, 0).value());
  };
  LSTMCell wide = clone(cell);
  wide.weights.weight_ih = widened(coupled.weight_ih);
  wide.weights.weight_hh = widened(coupled.weight_hh);
  wide.weights.bias_ih = widened(coupled.bias_ih);
  wide.weights.bias_hh = widened(coupled.bias_hh);
  const LSTMState c = coupled(tape, x, s), d = wide(tape, x, s);
  for (std::size_t i = 0; i < B * H; ++i) {
    CHECK(c.c.value().at(i) == doctest::Approx(d.c.value().at(i)).epsilon(1e-14));
    CHECK(c.h.value().at(i) == doctest::Approx(d.h.value().at(i)).epsilon(1e-14));
  }
  CHECK(coupled.bias_ih.value().at(0) == -1);
  CHECK(plain.bias_ih.value().at(H) == 1);
}

TEST_CASE(
    "LSTMVariantCell: layer normalisation is over all gates together, and does not see scales") {
  const LSTMVariantCell cell = make({.input = I, .hidden = H, .layer_norm = true});
  LSTMVariantCell scaled = clone(cell);
  scaled.weight_ih.set_value(scale(Var(cell.weight_ih.value()), 1000).value());
  scaled.weight_hh.set_value(scale(Var(cell.weight_hh.value()), 1000).value());
  const Tensor x = filled({B, I}, 60);
  const LSTMState s{filled({B, H}, 61), filled({B, H}, 62)};
  Tape tape;
  const LSTMState a = cell(tape, x, s), b = scaled(tape, x, s);
  for (std::size_t i = 0; i < B * H; ++i) {
    CHECK(a.h.value().at(i) == doctest::Approx(b.h.value().at(i)).epsilon(1e-3));
  }
  // Ba et al. eq. 20 to 22, written out: gamma = 1, beta = the biases, 0 for c.
  const auto N = [](const std::vector<double>& v) {
    double mean = 0, variance = 0;
    for (const double x_i : v) mean += x_i / static_cast<double>(v.size());
    for (const double x_i : v) {
      variance += (x_i - mean) * (x_i - mean) / static_cast<double>(v.size());
    }
    std::vector<double> r;
    for (const double x_i : v) r.push_back((x_i - mean) / std::sqrt(variance + 1e-5));
    return r;
  };
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  std::vector<double> u(4 * H), w(4 * H), c(H);
  for (std::size_t g = 0; g < 4 * H; ++g) {
    for (std::size_t k = 0; k < I; ++k) u[g] += cell.weight_ih.value().at(g * I + k) * x.at(k);
    for (std::size_t k = 0; k < H; ++k) {
      w[g] += cell.weight_hh.value().at(g * H + k) * s.h.value().at(k);
    }
  }
  u = N(u), w = N(w);
  const auto at = [&](std::size_t g) {
    return u[g] + w[g] + cell.bias_ih.value().at(g) + cell.bias_hh.value().at(g);
  };
  for (std::size_t j = 0; j < H; ++j) {
    c[j] = sigmoid(at(H + j)) * s.c.value().at(j) + sigmoid(at(j)) * std::tanh(at(2 * H + j));
    CHECK(a.c.value().at(j) == doctest::Approx(c[j]).epsilon(1e-13));
  }
  c = N(c);
  for (std::size_t j = 0; j < H; ++j) {
    CHECK(a.h.value().at(j) ==
          doctest::Approx(sigmoid(at(3 * H + j)) * std::tanh(c[j])).epsilon(1e-13));
  }
}

TEST_CASE("messages: LSTMVariantCell") {
  Rng rng(5);
  for (const std::size_t projection : {4U, 5U}) {
    CHECK_THROWS_WITH_AS(LSTMVariantCell({.input = 2, .hidden = 4, .projection = projection}, rng),
                         ("[LSTMVariantCell] projection is " + std::to_string(projection) +
                          " but hidden is 4: it must be less, or 0 for none")
                             .c_str(),
                         UsageError);
  }
  CHECK_THROWS_WITH_AS(LSTMVariantCell({.input = 0, .hidden = 4, .coupled = true}, rng),
                       "[LSTMVariantCell] weight_ih (3H, I) has shape (12, 0): it must be without "
                       "a size of 0",
                       ShapeError);
  const LSTMVariantCell cell = make({.input = I, .hidden = H, .projection = P});
  Tape tape;
  const auto zeros = [](const Shape& shape) { return Var(Tensor::zeros(shape, DType::float64)); };
  CHECK_THROWS_WITH_AS(cell(tape, zeros({T, B, I}), cell.zero_state(B)),
                       "[LSTMVariantCell] x has shape (5, 3, 4): it must be one step, (B, I); a "
                       "sequence (T, B, I) is for Recurrent, or step over unbind(x)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cell(tape, zeros({B, 7}), cell.zero_state(B)),
                       "[LSTMVariantCell] weight_ih has shape (4H, I) = (20, 4) but x has shape "
                       "(B, I) = (3, 7): I must match",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cell(tape, zeros({B, I}), {zeros({B, H}), zeros({B, H})}),
                       "[LSTMVariantCell] h has shape (3, 5): it must be (B, H) with H = 2; make "
                       "the state with zero_state(3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cell(tape, zeros({B, I}), {Var(), zeros({B, H})}),
                       "[LSTMVariantCell] state.h is undefined: give it a value first", UsageError);
  CHECK_THROWS_WITH_AS(
      cell.zero_state(0),
      "[LSTMVariantCell] the state (B, H) has shape (0, 2): it must be of at least "
      "one row",
      ShapeError);
}
