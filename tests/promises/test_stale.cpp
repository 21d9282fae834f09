// A Var of an earlier pass: errors say which argument it is, which op made it, in which scope and
// pass, and the cure. (That nothing changes: test_misuse.cpp.)

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <regex>
#include <string>
#include <tuple>

#include "../../autograd/inspect/hooks.h"
#include "../../autograd/inspect/scope.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../../layers/linear.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/gru_cell.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../../layers/recurrent/lstm_variant_cell.h"
#include "../../layers/recurrent/recurrent.h"
#include "../../layers/recurrent/rnn_cell.h"
#include "../../layers/recurrent/truncated_bptt.h"
#include "../support/message.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t T = 3, B = 2, H = 4;

const Tensor step = Tensor::full({B, H}, 0.5), sequence = Tensor::full({T, B, H}, 0.5);
const LSTMState zeros{Tensor::zeros({B, H}), Tensor::zeros({B, H})};

/// A value of a pass that is over, made by tanh in the scope "decoder/step.3".
Var stale(const Tensor& value) {
  Tape tape;
  const Scope outer(tape, "decoder"), inner(tape, "step", 3);
  return tanh(tape.leaf(value));
}

std::string message(const std::function<void(Tape&)>& act) {
  const std::string said = message_of([&] {
    Tape tape;
    act(tape);
  });
  return std::regex_replace(said, std::regex("pass [0-9]+"), "pass N");
}

const char* const by_tanh = ", by 'tanh' in decoder/step.3,";

std::string over(const char* where, const char* name, const char* maker = by_tanh) {
  return fmt::format(
      "[{}] {} was made in pass N of its tape{} but that pass is over (now pass N): call detach() "
      "on "
      "a state that is carried into the next pass",
      where, name, maker);
}

LSTM make_lstm() {
  Rng rng(1);
  return {{.input = H, .hidden = H, .layers = 2}, rng};
}

}  // namespace

TEST_CASE("stale: an op names the input, the op and the scope that made it, and the cure") {
  const Var now = step;
  CHECK(message([](Tape&) { (void)(stale(step) * 2.0); }) == over("scale", "input 0"));
  CHECK(message([](Tape& tape) { (void)(tape.leaf(step) + stale(step)); }) ==
        over("add", "input 1"));
  CHECK(message([&](Tape&) {
          (void)concat({now, now, stale(step)}, 0);
        }) == over("concat", "input 2"));
  CHECK(message([](Tape& tape) {
          const Scope here(tape, "encoder");
          (void)sum(stale(step));
        }) == over("sum", "input 0") + " (in encoder)");
  CHECK(message([](Tape& tape) { tape.backward(stale(step)); }) == over("backward", "the loss"));
  CHECK(message([](Tape& tape) { (void)tape.gradient(stale(step), {tape.leaf(step)}); }) ==
        over("gradient", "y"));
  CHECK(message([](Tape& tape) { (void)tape.gradient(sum(tape.leaf(step)), {stale(step)}); }) ==
        over("gradient", "x"));
  CHECK(message([](Tape&) { hook(stale(step), [](const Var& d) { return d; }); }) ==
        over("hook", "v"));
  CHECK(message([](Tape&) { retain_grad(stale(step)); }) == over("retain_grad", "v"));
  CHECK(message([](Tape&) { (void)grad(stale(step)); }) == over("grad", "v"));
}

TEST_CASE("stale: a layer names the argument") {
  Rng rng(2);
  const Linear linear(H, 3, rng);
  const LSTMCell lstm_cell({.input = H, .hidden = H}, rng);
  const LSTMVariantCell variant({.input = H, .hidden = H}, rng);
  const GRUCell gru_cell({.input = H, .hidden = H}, rng);
  const RNNCell rnn_cell({.input = H, .hidden = H}, rng);
  const LSTM lstm = make_lstm();
  const GRU gru({.input = H, .hidden = H, .layers = 2}, rng);
  const Recurrent stacked(StackedCells(GRUCell({.input = H, .hidden = H}, rng),
                                       LSTMCell({.input = H, .hidden = H}, rng)));
  const auto said = [](const auto& layer, const auto&... arguments) {
    return message([&](Tape& tape) { (void)layer(tape, arguments...); });
  };
  const Tensor two = Tensor::zeros({2, B, H});
  CHECK(said(linear, stale(step)) == over("Linear", "x"));
  CHECK(said(lstm_cell, stale(step), zeros) == over("LSTMCell", "x"));
  CHECK(said(lstm_cell, step, LSTMState{stale(step), zeros.c}) == over("LSTMCell", "state.h"));
  CHECK(said(lstm_cell, step, LSTMState{zeros.h, stale(step)}) == over("LSTMCell", "state.c"));
  CHECK(said(variant, stale(step), zeros) == over("LSTMVariantCell", "x"));
  CHECK(said(variant, step, LSTMState{stale(step), zeros.c}) == over("LSTMVariantCell", "state.h"));
  CHECK(said(variant, step, LSTMState{zeros.h, stale(step)}) == over("LSTMVariantCell", "state.c"));
  CHECK(said(gru_cell, stale(step), zeros.h) == over("GRUCell", "x"));
  CHECK(said(gru_cell, step, stale(step)) == over("GRUCell", "h"));
  CHECK(said(rnn_cell, stale(step), zeros.h) == over("RNNCell", "x"));
  CHECK(said(rnn_cell, step, stale(step)) == over("RNNCell", "h"));
  CHECK(said(lstm, stale(sequence), LSTMState{two, two}) == over("LSTM", "x"));
  CHECK(said(lstm, sequence, LSTMState{two, stale(two)}) == over("LSTM", "state.c"));
  CHECK(said(gru, sequence, stale(two)) == over("GRU", "state.h"));
  CHECK(said(stacked, stale(sequence), std::tuple(zeros.h, zeros)) == over("Recurrent", "x"));
  CHECK(said(stacked, sequence, std::tuple(zeros.h, LSTMState{zeros.h, stale(step)})) ==
        over("Recurrent", "state.1.c"));
}

TEST_CASE("stale: the state of an LSTM that was not detached") {
  const LSTM lstm = make_lstm();
  LSTMState state = lstm.zero_state(B);
  const auto next = [&] {
    return message([&](Tape& tape) { state = lstm(tape, sequence, state).last; });
  };
  CHECK(next() == "nothing was thrown");
  CHECK(next() == over("LSTM", "state.h", ", by 'concat' in lstm,"));
  state = state.detach();
  CHECK(next() == "nothing was thrown");

  // A first state of an earlier pass, given to a stream.
  TruncatedBPTT bptt(state, {.k1 = T});
  CHECK(message([&](Tape& tape) { (void)bptt(tape, lstm, sequence); }) ==
        over("LSTM", "state.h", ", by 'concat' in lstm,"));
  bptt.start(state.detach());
  for (int window = 0; window < 2; ++window) {
    CHECK(message([&](Tape& tape) { (void)bptt(tape, lstm, sequence); }) == "nothing was thrown");
  }
}

TEST_CASE("stale: makers are known as long as their pass is the last that recorded something") {
  const Var old = stale(step);
  const auto used = [&] { return message([&](Tape&) { (void)(old * 2.0); }); };
  CHECK(used() == over("scale", "input 0"));
  CHECK(used() == over("scale", "input 0"));  // the pass between has recorded nothing
  {
    Tape tape = Tape::inference();
    (void)tanh(tape.leaf(step));
  }
  CHECK(used() == over("scale", "input 0"));
  {
    Tape tape;
    (void)tape.leaf(step);
  }
  CHECK(used() == over("scale", "input 0", ""));

  const Var again = stale(step);
  Tape::release_memory();
  CHECK(message([&](Tape&) { (void)(again * 2.0); }) == over("scale", "input 0", ""));
}

TEST_CASE("stale: a pass of many nodes leaves no names") {
  for (const bool fits : {true, false}) {
    Var old;
    {
      Tape tape;
      old = tape.leaf(step);
      for (int k = 1; k < (fits ? 4096 : 4097); ++k) old = old * 1.0;
      CHECK(tape.size() == (fits ? 4096 : 4097));
    }
    CHECK(message([&](Tape&) { (void)sum(old); }) ==
          over("sum", "input 0", fits ? ", by 'scale'," : ""));
  }
}
