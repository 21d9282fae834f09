#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../../layers/linear.h"
#include "../../layers/model/clone.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/gru_cell.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../../layers/recurrent/recurrent.h"
#include "../../layers/recurrent/rnn.h"
#include "../../layers/recurrent/rnn_cell.h"
#include "../../layers/recurrent/verify_padding.h"
#include "../support/lstm_cases.h"

using namespace tapegrad;
using namespace tapegrad::testing;

// Recurrent runs any cell: those that there are, beside their fused layers, and cells of one's own.

namespace {

/// A running mean of x, and the mean of its roots: undefined in its gradient where x is 0, as padding
/// filled with zeros would be. Its state has a struct, an array and a matrix for each row.
struct MeanCell {
  struct State {
    Var h;
    std::array<Var, 1> roots;
    std::vector<Var> all;
    void parts(auto&& v) {
      v("h", h);
      v("roots", roots);
      v("all", all);
    }
  };
  Parameter rate;  // (I)

  State zero_state(std::size_t batch) const {
    const std::size_t I = rate.value().numel();
    const Var zeros = Tensor::zeros({batch, I}, DType::float64);
    return {zeros, {zeros}, {Tensor::zeros({batch, 2, I}, DType::float64)}};
  }
  State operator()(Tape& tape, const Var& x, const State& s) const {
    const Var z = sigmoid(tape.leaf(rate));
    const Var h = s.h + z * (x - s.h);
    return {h, {s.roots[0] + sqrt(abs(x))}, {s.all[0] * z + stack({x, h}, 1)}};
  }
  Var output(const Var& x, const State& s) const { return concat({s.h * x, s.roots[0]}, 1); }
  State first_state(Tape& tape, std::size_t batch) const {
    State s = zero_state(batch);
    s.h = s.h + tape.leaf(rate);
    return s;
  }
  void visit(auto&& v) { v("rate", rate); }
};
static_assert(RecurrentCell<MeanCell> && !ScannedCell<MeanCell>);
static_assert(RecurrentCell<LSTMCell> && RecurrentCell<GRUCell> && RecurrentCell<RNNCell>);
static_assert(RecurrentCell<StackedCells<LSTMCell, Residual<GRUCell>>>);
static_assert(!RecurrentCell<LSTM> && !RecurrentCell<Linear>);

MeanCell mean_cell() { return {Parameter(Tensor::from<double>({2}, {0.3, -0.8}))}; }

constexpr std::size_t I = 2, H = 3;
const Tensor some_lengths = Tensor::from<std::int32_t>({4}, {3, 0, 5, 2});

bool same(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return false;
  for (std::size_t i = 0; i < a.numel(); ++i) {
    if (a.at(i) != b.at(i)) return false;
  }
  return true;
}

LSTMCell lstm_cell_of(std::size_t input) {
  Rng rng(input);
  return {{.input = input, .hidden = H, .dtype = DType::float64}, rng};
}
GRUCell gru_cell_of(std::size_t input) {
  Rng rng(input);
  return {{.input = input, .hidden = H, .dtype = DType::float64}, rng};
}
auto stacked_cells() {
  return StackedCells(lstm_cell_of(I), Residual(gru_cell_of(H)), Residual(lstm_cell_of(H)));
}

}  // namespace

TEST_CASE("Recurrent: a cell's layer computes what the fused layer of its weights computes") {
  Rng rng(3);
  const std::size_t T = 5, B = 4;
  const LSTM fused({.input = I, .hidden = H, .bidirectional = true, .dtype = DType::float64}, rng);
  const Tensor x = rng.normal({T, B, I}, 0, 1, DType::float64);
  const LSTMState first{rng.normal({2, B, H}, 0, 1, DType::float64),
                        rng.normal({2, B, H}, 0, 1, DType::float64)};
  for (const Tensor& lengths : {Tensor(), some_lengths}) {
    Tape tape;
    const LSTMResult both = fused(tape, x, first, lengths);
    const auto one_way = [&](std::size_t direction) {
      Recurrent layer(lstm_cell_of(I));
      layer.cell.weights = clone(fused.layers[direction]);
      return layer(tape, x, {unbind(first.h)[direction], unbind(first.c)[direction]},
                   {lengths, direction == 1});
    };
    const auto there = one_way(0), back = one_way(1);
    Deviation d;
    d.compare("y", concat({there.y, back.y}, 2).value(), both.y.value());
    d.compare("h_T", stack({there.last.h, back.last.h}).value(), both.last.h.value());
    d.compare("c_T", stack({there.last.c, back.last.c}).value(), both.last.c.value());
    CHECK(d.worst <= 1e-14);
  }
}

TEST_CASE("Recurrent: each sequence by itself has the same bits, and padding is never read") {
  const Recurrent layer(mean_cell());
  const std::size_t T = 5, B = 4;
  Rng rng(5);
  const Tensor x = rng.normal({T, B, I}, 0, 1, DType::float64);
  for (const bool reverse : {false, true}) {
    Tape tape = Tape::inference();
    const auto all = layer(tape, x, {some_lengths, reverse});
    for (std::size_t b = 0; b < B; ++b) {
      const auto length = static_cast<std::size_t>(some_lengths.at(b));
      const auto row = [&](const Var& v, Axis axis) { return slice(v, axis, b, b + 1); };
      if (length == 0) {
        CHECK(same(row(all.last.h, 0).value(), layer.first_state(tape, 1).h.value()));
      } else {
        const Var alone = slice(row(x, 1), 0, 0, length);
        const auto one = layer(tape, alone, {.reverse = reverse});
        CHECK(same(one.y.value(), slice(row(all.y, 1), 0, 0, length).value()));
        CHECK(same(one.last.all[0].value(), row(all.last.all[0], 0).value()));
      }
      const Var rest = slice(row(all.y, 1), 0, length, T);
      for (std::size_t i = 0; i < rest.value().numel(); ++i) CHECK(rest.value().at(i) == 0);
    }
    const PaddingReport padding = verify_padding(
        [&](Tape& t, const Var& in) -> Vars {
          const auto r = layer(t, in, {some_lengths, reverse});
          return {sum(square(r.y)) + sum(r.last.roots[0]), r.y, r.last.h};
        },
        x, some_lengths, parameters(layer));
    CHECK_MESSAGE(padding.passed, padding.text);
  }
  Tape tape;
  const Tensor none = Tensor::zeros({B}, DType::int32);
  const auto nothing = layer(tape, x, {.lengths = none});
  CHECK(same(nothing.y.value(), Tensor::zeros({T, B, 2 * I}, DType::float64)));
  CHECK(same(nothing.last.h.value(), layer.first_state(tape, B).h.value()));
}

TEST_CASE("Recurrent: states are carried, cut, burnt in and trained") {
  Rng rng(6);
  const Recurrent layer(mean_cell());
  const Tensor x = rng.normal({4, 2, I}, 0, 1, DType::float64);
  Tape tape;
  const auto whole = layer(tape, x), half = layer(tape, x.slice(0, 2));
  const auto rest = layer(tape, x.slice(2, 4), half.last);
  CHECK(same(rest.last.h.value(), whole.last.h.value()));
  CHECK(same(rest.y.value(), whole.y.value().slice(2, 4)));

  const auto burnt = layer.burn_in(tape, x.slice(0, 2), layer.first_state(tape, 2));
  CHECK(same(burnt.all[0].value(), half.last.all[0].value()));
  CHECK(!burnt.h.recorded());
  CHECK(half.last.h.recorded());
  CHECK(!detached(half.last).roots[0].recorded());
  // The rate is in the first state alone here.
  const Var rate = tape.leaf(layer.cell.rate);
  CHECK(tape.gradient(sum(layer.first_state(tape, 2).h), {rate})[0].value().at(0) == 2);
}

TEST_CASE("Residual, StackedCells: the first state is that of the cells, trained and not") {
  const Recurrent layer(StackedCells(Residual{mean_cell()}, gru_cell_of(2 * I)));
  const MeanCell& trained = std::get<0>(layer.cell.cells).cell;
  Tape tape;
  const auto [first, zeros] = layer.first_state(tape, 2);
  CHECK(same(first.h.value(), trained.first_state(tape, 2).h.value()));
  CHECK(same(zeros.value(), Tensor::zeros({2, H}, DType::float64)));
  CHECK(tape.gradient(sum(first.h), {tape.leaf(trained.rate)})[0].value().at(0) == 2);
}

TEST_CASE("StackedCells: the layers of a GRU, one after the other; a tuple of states") {
  Rng rng(7);
  const GRU fused({.input = I, .hidden = H, .layers = 2, .dtype = DType::float64}, rng);
  Recurrent layer(StackedCells(gru_cell_of(I), gru_cell_of(H)));
  std::get<0>(layer.cell.cells).weights = clone(fused.layers[0]);
  std::get<1>(layer.cell.cells).weights = clone(fused.layers[1]);
  const Tensor x = rng.normal({5, 4, I}, 0, 1, DType::float64);
  Tape tape;
  const auto r = layer(tape, x, {.lengths = some_lengths});
  const GRUResult expected = fused(tape, x, fused.zero_state(4), some_lengths);
  Deviation d;
  d.compare("y", r.y.value(), expected.y.value());
  d.compare("h_T", stack({std::get<0>(r.last), std::get<1>(r.last)}).value(),
            expected.last.value());
  CHECK(d.worst <= 1e-14);
}

TEST_CASE("Residual: the output is x + h, and the state the cell's") {
  Rng rng(8);
  const Recurrent plain(gru_cell_of(H));
  const Recurrent around(Residual(clone(plain.cell)));
  const Tensor x = rng.normal({3, 2, H}, 0, 1, DType::float64);
  Tape tape;
  const auto a = plain(tape, x), b = around(tape, x);
  CHECK(same((a.y + Var(x)).value(), b.y.value()));
  CHECK(same(a.last.value(), b.last.value()));
}

TEST_CASE("Recurrent: names of Parameters, clones") {
  const Recurrent layer(stacked_cells());
  const Parameters all = parameters(layer);
  CHECK(all.size() == 12);
  CHECK(all[0].name == "cell.0.weight_ih");
  CHECK(all.find("cell.1.cell.bias_hh").value().numel() == 3 * H);
  const auto copy = clone(layer);
  Rng rng(9);
  const Tensor x = rng.normal({3, 2, I}, 0, 1, DType::float64);
  Tape tape = Tape::inference();
  CHECK(same(copy(tape, x).y.value(), layer(tape, x).y.value()));
}

TEST_CASE("messages: Recurrent, StackedCells, Residual") {
  const Recurrent layer(lstm_cell_of(I));
  Tape tape, other;
  const auto zeros = [](const Shape& shape) { return Var(Tensor::zeros(shape, DType::float64)); };
  const Var x = zeros({5, 3, I});
  CHECK_THROWS_WITH_AS(layer(tape, zeros({3, I})),
                       "[Recurrent] x has shape (3, 2): it must be a sequence, (T, B, I); one step "
                       "(B, I) is for the cell itself",
                       ShapeError);
  CHECK_THROWS_WITH_AS(layer(tape, zeros({0, 3, I})),
                       "[Recurrent] x has shape (0, 3, 2): it must be (T, B, I) with T >= 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(layer(tape, zeros({5, 0, I})),
                       "[Recurrent] x has shape (5, 0, 2): it must be (T, B, I) with B >= 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(layer(tape, Var()), "[Recurrent] x is undefined: give it a value first",
                       UsageError);
  CHECK_THROWS_WITH_AS(layer(tape, x, layer.zero_state(4)),
                       "[Recurrent] x has shape (T, B, I) = (5, 3, 2) but state.h has shape (B, "
                       "...) = (4, 3): B must match; make the state with zero_state(3)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      layer(tape, x, layer.zero_state(5)),
      "[Recurrent] x has shape (T, B, I) = (5, 3, 2) but state.h has shape (B, "
      "...) = (5, 3): B must match; x looks like (B, T, I), and transpose(x, 0, 1) "
      "makes it (T, B, I)",
      ShapeError);
  CHECK_THROWS_WITH_AS(layer(tape, x, {zeros({3, H}), Var()}),
                       "[Recurrent] state.c is undefined: give it a value first", UsageError);
  CHECK_THROWS_WITH_AS(layer(tape, x, {.lengths = Tensor::from<std::int32_t>({3}, {1, -1, 2})}),
                       "[Recurrent] length -1 of sequence 1 is out of range: lengths must be in "
                       "[0, T], T = 5",
                       UsageError);
  CHECK_THROWS_WITH_AS(layer(tape, zeros({5, 3, 7})),
                       "[lstm_cell] weight_ih has shape (4H, I) = (12, 2) but x has shape (B, I) = "
                       "(3, 7): I must match (in recurrent)",
                       ShapeError);
  CHECK_THROWS_AS(layer(tape, other.leaf(x.value())), UsageError);

  struct Growing {
    Var zero_state(std::size_t batch) const { return Tensor::zeros({batch, 1}, DType::float64); }
    Var operator()(Tape&, const Var& x_t, const Var& h) const { return concat({x_t, h}, 1); }
  };
  CHECK_THROWS_WITH_AS(Recurrent<Growing>()(tape, x),
                       "[Recurrent] the cell makes state of shape (3, 3) from shape (3, 1): a step "
                       "must keep it (in recurrent)",
                       ShapeError);
  struct Lengthening {
    std::vector<Var> zero_state(std::size_t batch) const {
      return {Tensor::zeros({batch, 1}, DType::float64)};
    }
    std::vector<Var> operator()(Tape&, const Var& x_t, const std::vector<Var>& s) const {
      return {s[0], x_t};
    }
    Var output(const Var&, const std::vector<Var>& s) const { return s[0]; }
  };
  CHECK_THROWS_WITH_AS(Recurrent<Lengthening>()(tape, x),
                       "[Recurrent] the cell makes a state of 2 parts from one of 1: they must "
                       "match (in recurrent)",
                       ShapeError);
  struct Narrowing {
    Var zero_state(std::size_t batch) const { return Tensor::zeros({batch, I}, DType::float64); }
    Var operator()(Tape&, const Var& x_t, const Var&) const {
      return x_t.value().to(DType::float32);
    }
  };
  CHECK_THROWS_WITH_AS(Recurrent<Narrowing>()(tape, x),
                       "[Recurrent] the cell makes state float32 from float64: a step must keep "
                       "the dtype (in recurrent)",
                       DtypeError);
  struct Showing {
    std::function<Var(const Var& h)> show;
    Var zero_state(std::size_t batch) const { return Tensor::zeros({batch, I}, DType::float64); }
    Var operator()(Tape&, const Var& x_t, const Var&) const { return x_t; }
    Var output(const Var&, const Var& h) const { return show(h); }
  };
  const Recurrent twice(Showing{[](const Var& h) { return concat({h, h}, 0); }});
  CHECK_THROWS_WITH_AS(twice(tape, x),
                       "[Recurrent] x has shape (B, I) = (3, 2) but the cell's output has shape "
                       "(B, H) = (6, 2): B must match (in recurrent)",
                       ShapeError);
  const Recurrent total(Showing{[](const Var& h) { return sum(h); }});
  CHECK_THROWS_WITH_AS(total(tape, x, {.lengths = Tensor::from<std::int32_t>({3}, {1, 0, 5})}),
                       "[Recurrent] x has shape (B, I) = (2, 2) but the cell's output has shape "
                       "(B, H) = (): B must match (in recurrent)",
                       ShapeError);
  const Recurrent nothing(Showing{[](const Var&) { return Var(); }});
  CHECK_THROWS_WITH_AS(nothing(tape, x),
                       "[Recurrent] the cell's output is undefined: give it a value first (in "
                       "recurrent)",
                       UsageError);
  CHECK_THROWS_WITH_AS(Recurrent(Residual(lstm_cell_of(I)))(tape, x),
                       "[Residual] x has shape (B, I) = (3, 2) but the cell's output has shape (B, "
                       "H) = (3, 3): I and H must match: x + h is the output (in recurrent)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(stacked_cells().zero_state(0),
                       "[LSTMCell] the state (B, H) has shape (0, 3): it must be of at least one "
                       "row",
                       ShapeError);
}
