#include <doctest/doctest.h>

#include <concepts>
#include <string>
#include <tuple>
#include <utility>

#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../../layers/recurrent/cell_stream.h"
#include "../../layers/recurrent/gru_cell.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../../layers/recurrent/min_cells.h"
#include "../../layers/recurrent/recurrent.h"
#include "../support/message.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t T = 12, B = 2, I = 3, H = 4;

/// An LSTM whose first state is not zeros, and a GRU with a skip connection.
struct TrainedCell : LSTMCell {
  using LSTMCell::LSTMCell;
  LSTMState first_state(Tape& /*tape*/, std::size_t batch) const {
    return {Tensor::full({batch, H}, 0.5, DType::float64),
            Tensor::full({batch, H}, -2, DType::float64)};
  }
};
Recurrent<TrainedCell> trained() {
  Rng rng(1);
  return Recurrent(TrainedCell({.input = I, .hidden = H, .dtype = DType::float64}, rng));
}
auto stacked() {
  Rng rng(2);
  return Recurrent(
      StackedCells(LSTMCell({.input = I, .hidden = H, .dtype = DType::float64}, rng),
                   Residual(GRUCell({.input = H, .hidden = H, .dtype = DType::float64}, rng))));
}
MinGRU scanned() {
  Rng rng(3);
  return MinGRU(MinGRUCell({.input = I, .hidden = H, .dtype = DType::float64}, rng));
}

Tensor some_input() {
  Rng rng(4);
  return rng.normal({T, B, I}, 0, 1, DType::float64);
}

std::string bits(const Tensor& t) {
  return {reinterpret_cast<const char*>(t.data<double>()), t.numel() * sizeof(double)};
}

/// Whether calls of `block` steps give the bits that the layer gives for all steps at once.
template <class Cell>
bool same_as_layer(const Recurrent<Cell>& layer, CellStream<Cell>& stream, std::size_t block) {
  const Tensor x = some_input();
  Tape tape = Tape::inference();
  const auto [y, last] = layer(tape, x);
  std::string streamed;
  for (std::size_t t = 0; t < T; t += block) streamed += bits(stream.step(x.slice(t, t + block)));
  bool same = streamed == bits(y.value());
  const Vars ours = detail::parts_of(stream.state()), theirs = detail::parts_of(last);
  for (std::size_t k = 0; k < theirs.size(); ++k)
    same = same && bits(ours[k].value()) == bits(theirs[k].value());
  return same;
}

}  // namespace

TEST_CASE_TEMPLATE(
    "CellStream: the bits of the layer, in calls of any length, and again after a reset", Make,
    decltype(&trained), decltype(&stacked), decltype(&scanned)) {
  const auto layer = [] {
    if constexpr (std::same_as<Make, decltype(&trained)>) return trained();
    if constexpr (std::same_as<Make, decltype(&stacked)>) return stacked();
    if constexpr (std::same_as<Make, decltype(&scanned)>) return scanned();
  }();
  CellStream stream(layer, B);
  for (const std::size_t block : {1U, 3U, 12U}) {
    CHECK(same_as_layer(layer, stream, block));
    stream.reset();
  }
}

TEST_CASE("CellStream: another stream goes on from its state") {
  const auto layer = stacked();
  const Tensor x = some_input();
  CellStream one(layer, B), two(layer, B);
  (void)one.step(x.slice(0, 5));
  two.set_state(one.state());
  CHECK(bits(two.step(x.slice(5, T))) == bits(one.step(x.slice(5, T))));
}

TEST_CASE("CellStream: what is refused changes nothing") {
  const auto layer = trained();
  const auto cells = stacked();
  const Tensor x = some_input();
  CellStream stream(layer, B), undisturbed(layer, B);
  (void)stream.step(x), (void)undisturbed.step(x);
  CHECK(message_of([&] {
          (void)stream.step(Tensor::zeros({1, B + 1, I}, DType::float64));
        }) ==
        "[Recurrent] x has shape (T, B, I) = (1, 3, 3) but state.h has shape (B, ...) = (2, 4): B "
        "must match; make the state with zero_state(3)");
  CHECK(message_of([&] {
          (void)stream.step(Tensor::zeros({B, I}, DType::float64));
        }) ==
        "[Recurrent] x has shape (2, 3): it must be a sequence, (T, B, I); one step (B, I) is for "
        "the cell itself");
  CHECK(bits(stream.step(x)) == bits(undisturbed.step(x)));
  CHECK_THROWS_AS(CellStream(cells, 0), ShapeError);
}
