#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "../../core/error.h"
#include "../../layers/model/clone.h"
#include "../../layers/recurrent/min_cells.h"
#include "../../layers/recurrent/verify_padding.h"
#include "../support/lstm_cases.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t I = 2, H = 3, B = 4;
static_assert(ScannedCell<MinGRUCell> && ScannedCell<MinLSTMCell>);

template <class Cell>
Recurrent<Cell> make(MinCandidate candidate, bool bias = true) {
  Rng rng(2);
  return Recurrent(
      Cell({.input = I, .hidden = H, .bias = bias, .candidate = candidate, .dtype = DType::float64},
           rng));
}

/// Both layers with both candidates.
template <class F>
void for_layers(const F& f) {
  for (const MinCandidate candidate : {MinCandidate::linear, MinCandidate::positive}) {
    f(make<MinGRUCell>(candidate), "MinGRU");
    f(make<MinLSTMCell>(candidate), "MinLSTM");
  }
}

template <class F>
void for_steps(std::size_t T, const F& f) {
  const auto n = static_cast<std::int32_t>(T);
  for (const Tensor& lengths :
       {Tensor(), Tensor::from<std::int32_t>({B}, {(n + 1) / 2, n, 0, std::max(1, n - 1)}),
        Tensor::zeros({B}, DType::int32)}) {
    for (const bool reverse : {false, true}) f(Steps{lengths, reverse});
  }
}

}  // namespace

TEST_SUITE_BEGIN("gradients");

TEST_CASE("MinGRU, MinLSTM: all steps at once equal the loop over the cell") {
  double worst = 0;
  std::size_t cases = 0;
  for_layers([&](const auto& layer, const char* name) {
    for (const std::size_t T : {1U, 2U, 3U, 7U, 50U}) {
      Rng rng(3);
      const Tensor x = rng.normal({T, B, I}, 0, 2, DType::float64);
      const Tensor h = rng.normal({B, H}, 0, 1, DType::float64);
      const Tensor wy = rng.normal({T, B, H}, 0, 1, DType::float64);
      for_steps(T, [&](const Steps& steps) {
        const auto solve = [&](bool scanned) {
          Tape tape;
          Vars leaves = {tape.leaf(x), tape.leaf(h)};
          for (const NamedParameter& p : parameters(layer)) leaves.push_back(tape.leaf(p));
          const Unrolled<Var> r = scanned ? layer(tape, leaves[0], leaves[1], steps)
                                          : layer.composed(tape, leaves[0], leaves[1], steps);
          std::vector<NamedValue> all = {{"y", r.y.value()}, {"h_T", r.last.value()}};
          for (const Var& d : tape.gradient(sum(r.y * Var(wy)) + sum(square(r.last)), leaves)) {
            all.push_back({"gradient", d.value()});
          }
          return all;
        };
        Deviation d;
        d.compare(solve(true), solve(false));
        CHECK_MESSAGE(d.worst <= 1e-12, name, ", T = ", T, ": ", d.where);
        if (is_worse(d.worst, worst)) worst = d.worst;
        ++cases;
      });
    }
  });
  MESSAGE(cases, " cases: worst ", worst);
}

TEST_SUITE_END();

TEST_CASE("MinGRU, MinLSTM: the published equations, in numbers") {
  const auto sigmoid = [](double u) { return 1 / (1 + std::exp(-u)); };
  const auto g = [&](double u) { return u >= 0 ? u + 0.5 : sigmoid(u); };
  for (const MinCandidate candidate : {MinCandidate::linear, MinCandidate::positive}) {
    const auto gru = make<MinGRUCell>(candidate);
    const auto lstm = make<MinLSTMCell>(candidate);
    Rng rng(5);
    const Tensor x = rng.normal({1, I}, 0, 2, DType::float64);
    const Tensor h = rng.normal({1, H}, 0, 1, DType::float64);
    Tape tape;
    const Var h_gru = gru.cell(tape, x, h), h_lstm = lstm.cell(tape, x, h);
    for (std::size_t j = 0; j < H; ++j) {
      const auto u = [&](const Linear& l, std::size_t block) {
        const std::size_t row = block * H + j;
        return l.weight.value().at(row * I) * x.at(0) + l.weight.value().at(row * I + 1) * x.at(1) +
               l.bias.value().at(row);
      };
      const auto tilde = [&](double v) { return candidate == MinCandidate::positive ? g(v) : v; };
      const double z = sigmoid(u(gru.cell.linear, 0)), n = tilde(u(gru.cell.linear, 1));
      CHECK(h_gru.value().at(j) == doctest::Approx((1 - z) * h.at(j) + z * n).epsilon(1e-14));
      const double f = sigmoid(u(lstm.cell.linear, 0)), i = sigmoid(u(lstm.cell.linear, 1));
      CHECK(h_lstm.value().at(j) ==
            doctest::Approx((f * h.at(j) + i * tilde(u(lstm.cell.linear, 2))) / (f + i))
                .epsilon(1e-14));
    }
  }
}

TEST_CASE("MinLSTM: where both gates are rounded to 0 their ratio is right") {
  auto layer = make<MinLSTMCell>(MinCandidate::linear);
  Tensor bias = layer.cell.linear.bias.value();
  layer.cell.linear.weight.set_value(Tensor::zeros({3 * H, I}, DType::float64));
  bias.slice(0, H).fill(-1000);
  bias.slice(H, 2 * H).fill(-1001);
  Tape tape;
  const auto [a, b] = layer.cell.coefficients(tape, Tensor::zeros({1, I}, DType::float64));
  CHECK(a.value().at(0) == doctest::Approx(1 / (1 + std::exp(-1.0))).epsilon(1e-14));
}

TEST_CASE("MinGRU, MinLSTM: padding is never read, names, clones") {
  const Tensor lengths = Tensor::from<std::int32_t>({B}, {2, 0, 5, 4});
  for_layers([&](const auto& layer, const char* name) {
    Rng rng(6);
    const Tensor x = rng.normal({5, B, I}, 0, 1, DType::float64);
    const PaddingReport padding = verify_padding(
        [&](Tape& tape, const Var& in) -> Vars {
          const Unrolled<Var> r = layer(tape, in, {.lengths = lengths});
          return {sum(square(r.y)) + sum(r.last), r.y, r.last};
        },
        x, lengths, parameters(layer));
    CHECK_MESSAGE(padding.passed, name, ": ", padding.text);
    CHECK(parameters(layer)[0].name == "cell.linear.weight");
    const auto copy = clone(layer);
    Tape tape = Tape::inference();
    CHECK(copy(tape, x).last.value().at(3) == layer(tape, x).last.value().at(3));
  });
}

TEST_CASE("MinGRU, MinLSTM: where all lengths are 0, shapes are checked, gradients are 0 or dy") {
  for_layers([&](const auto& layer, const char*) {
    const auto of = [](const Shape& shape) { return Tensor::full(shape, 1, DType::float64); };
    const Steps none{.lengths = Tensor::zeros({B}, DType::int32)};
    Tape tape;
    const Var h = tape.leaf(of({B, H}));
    const auto [y, last] = layer(tape, of({5, B, I}), h, none);
    CHECK(y.shape() == Shape{5, B, H});
    const Vars g = tape.gradient(sum(y) + sum(last), {h, tape.leaf(layer.cell.linear.weight)});
    CHECK(sum(abs(g[0] - 1)).item() + sum(abs(g[1])).item() == 0);
    CHECK_THROWS_AS(layer(tape, of({5, B, I}), of({B, H + 1}), none), ShapeError);
    CHECK_THROWS_AS(layer(tape, of({5, B, I}), Tensor::zeros({B, H}), none), DtypeError);
  });
}

TEST_CASE("messages: MinGRU, MinLSTM") {
  const auto layer = make<MinGRUCell>(MinCandidate::linear);
  Tape tape;
  const auto zeros = [](const Shape& shape) { return Var(Tensor::zeros(shape, DType::float64)); };
  const Var x = zeros({5, 3, I});
  CHECK_THROWS_WITH_AS(layer(tape, zeros({3, I})),
                       "[Recurrent] x has shape (3, 2): it must be a sequence, (T, B, I); one step "
                       "(B, I) is for the cell itself",
                       ShapeError);
  CHECK_THROWS_WITH_AS(layer(tape, x, zeros({4, H})),
                       "[Recurrent] x has shape (T, B, I) = (5, 3, 2) but state has shape (B, ...) "
                       "= (4, 3): B must match; make the state with zero_state(3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      layer(tape, x, zeros({3, 7})),
      "[scan] a has shape (T, B, H) = (5, 3, 3) but h has shape (B, H) = (3, 7): B "
      "and H must match (in recurrent)",
      ShapeError);
  CHECK_THROWS_WITH_AS(
      layer.cell(tape, x, zeros({3, H})),
      "[MinGRUCell] x has shape (5, 3, 2): it must be one step, (B, I); a sequence "
      "(T, B, I) is for Recurrent",
      ShapeError);
  CHECK_THROWS_WITH_AS(layer.cell(tape, zeros({3, I}), zeros({2, H})),
                       "[MinGRUCell] a has shape (B, H) = (3, 3) but h has shape (B, H) = (2, 3): "
                       "they must be equal",
                       ShapeError);
  const std::string an_int = "h is int32: it must be float32 or float64; convert it with to()";
  const Var ints = Tensor::zeros({3, H}, DType::int32);
  CHECK_THROWS_WITH_AS(layer(tape, x, ints), ("[scan] " + an_int + " (in recurrent)").c_str(),
                       DtypeError);
  CHECK_THROWS_WITH_AS(layer.cell(tape, zeros({3, I}), ints), ("[MinGRUCell] " + an_int).c_str(),
                       DtypeError);
  Tape inference = Tape::inference();  // the weights are constants there
  CHECK_THROWS_WITH_AS(layer.cell(inference, zeros({3, I}), tape.leaf(Tensor::zeros({3, H}))),
                       "[MinGRUCell] h was recorded on another tape than the one given: use one "
                       "tape for a pass, or detach() h",
                       UsageError);
  CHECK_THROWS_WITH_AS(
      make<MinLSTMCell>(MinCandidate::linear).zero_state(0),
      "[MinLSTMCell] the state (B, H) has shape (0, 3): it must be of at least one "
      "row",
      ShapeError);
  Rng rng(7);
  CHECK_THROWS_WITH_AS(MinGRUCell({.input = 0, .hidden = 3}, rng),
                       "[Linear] weight (O, I) has shape (6, 0): it must be without a size of 0",
                       ShapeError);
}
