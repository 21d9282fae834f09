// Covers layers/recurrent/truncated_bptt: windows equal a loop written by hand, for every kind of
// state; which steps are run again, with which weights; errors; saving.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../core/data/windows.h"
#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../core/io/safetensors.h"
#include "../../layers/embedding.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/gru_cell.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../../layers/recurrent/recurrent.h"
#include "../../layers/recurrent/truncated_bptt.h"
#include "../support/is_worse.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t N = 11, B = 2, I = 2, H = 3;
constexpr DType real = DType::float64;

/// A cell with a state of its own.
struct LeakyCell {
  struct State {
    Var h, slow;
    void parts(auto&& v) {
      v("h", h);
      v("slow", slow);
    }
  };
  Parameter rate, mix;  // (I)

  State zero_state(std::size_t batch) const {
    return {Tensor::zeros({batch, I}, real), Tensor::zeros({batch, I}, real)};
  }
  State operator()(Tape& tape, const Var& x, const State& s) const {
    const Var slow = s.slow + sigmoid(tape.leaf(rate)) * (x - s.slow);
    return {tanh(x + tape.leaf(mix) * s.h + slow), slow};
  }
  void visit(auto&& v) {
    v("rate", rate);
    v("mix", mix);
  }
};

LSTM make_lstm() {
  Rng rng(1);
  return {{.input = I, .hidden = H, .layers = 2, .init = LSTMInit::torch, .dtype = real}, rng};
}
GRU make_gru() {
  Rng rng(2);
  return {{.input = I, .hidden = H, .dtype = real}, rng};
}
auto make_stacked() {
  Rng rng(3);
  return Recurrent(StackedCells(LSTMCell({.input = I, .hidden = H, .dtype = real}, rng),
                                GRUCell({.input = H, .hidden = H, .dtype = real}, rng)));
}
auto make_leaky() {
  return Recurrent(LeakyCell{Parameter(Tensor::from<double>({I}, {0.3, -0.8})),
                             Parameter(Tensor::from<double>({I}, {0.9, -0.7}))});
}
Tensor sequence(std::size_t steps = N) { return Rng(4).normal({steps, B, I}, 0, 1, real); }

/// A loss in which each step and unit has a weight of its own.
Var loss_of(const Var& y, std::size_t begin) {
  const Tensor weights = Rng(begin + 1).normal(y.shape(), 0, 1, real);
  return sum(square(y) * Var(weights)) + sum(y);
}

Vars gradient_of(Tape& tape, const Var& loss, const Parameters& all) {
  Vars leaves;
  for (const NamedParameter& p : all) leaves.push_back(tape.leaf(p));
  return tape.gradient(loss, leaves);
}

double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double worst = 0;
  for (std::size_t i = 0; i < a.numel(); ++i) {
    const double error = std::fabs(a.at(i) - b.at(i));
    if (is_worse(error, worst)) worst = error;
  }
  return worst;
}

/// Some windows of a stream: outputs and gradients equal those from the steps max(0, begin -
/// context), ... on, whose first state is a constant.
template <class Model>
void check_against_loop(const Model& model, const TruncatedBPTTOptions& options) {
  CAPTURE(options.k1);
  CAPTURE(options.k2);
  CAPTURE(options.warm_up);
  const Tensor x = sequence();
  const Parameters all = parameters(model);
  TruncatedBPTT bptt(model.zero_state(B), options);
  double worst = 0;
  for (std::size_t begin = 0; begin < N; begin += options.k1) {
    const std::size_t end = std::min(N, begin + options.k1);
    Tape tape = Tape::evaluation();
    const Var y = bptt(tape, model, x.slice(begin, end));
    const Vars gradient = gradient_of(tape, loss_of(y, begin), all);

    const std::size_t from = begin - std::min(begin, options.k2 - options.k1);
    auto state = model.zero_state(B);
    for (std::size_t t = 0; t < from; ++t) {
      Tape step = Tape::inference();
      state = model(step, x.slice(t, t + 1), state).last;
    }
    Tape by_hand = Tape::evaluation();
    const Var run = model(by_hand, x.slice(from, end), detached(state)).y;
    const Var expected = slice(run, 0, begin - from, end - from);
    const Vars expected_gradient = gradient_of(by_hand, loss_of(expected, begin), all);
    std::vector<double> errors = {difference(y.value(), expected.value())};
    for (std::size_t i = 0; i < all.size(); ++i) {
      errors.push_back(difference(gradient[i].value(), expected_gradient[i].value()));
    }
    for (const double error : errors) {
      if (is_worse(error, worst)) worst = error;
    }
  }
  CHECK(worst < 1e-13);
}

template <class Model>
void check_against_loop(const Model& model) {
  for (const auto& [k1, k2, warm_up] :
       std::vector<TruncatedBPTTOptions>{{4, 4, 0},
                                         {1, 1, 0},
                                         {20, 20, 0},  // nothing is run again
                                         {3, 6, 0},
                                         {4, 5, 0},
                                         {4, 10, 0},
                                         {1, 7, 0},
                                         {3, 99, 0},
                                         {4, 4, 3},
                                         {4, 6, 1},
                                         {4, 6, 4},
                                         {4, 6, 5},
                                         {2, 9, 3},
                                         {3, 5, 5}}) {
    check_against_loop(model, {.k1 = k1, .k2 = k2, .warm_up = warm_up});
  }
}

}  // namespace

TEST_CASE("truncated_bptt: windows equal a loop by hand, for every kind of state") {
  check_against_loop(make_lstm());     // LSTMState (2, B, H)
  check_against_loop(make_gru());      // a Var
  check_against_loop(make_stacked());  // a tuple of an LSTMState and a Var
  check_against_loop(make_leaky());    // a struct of a cell's own
}

TEST_CASE("truncated_bptt: k2 is k1 unless it is given") {
  CHECK(TruncatedBPTTOptions{.k1 = 7}.k2 == 7);
  const TruncatedBPTTOptions most{.k1 = 7, .k2 = SIZE_MAX, .warm_up = 9};
  CHECK(most.context() == SIZE_MAX - 7);
  CHECK(most.run_again() == SIZE_MAX);
}

TEST_CASE(
    "truncated_bptt: with k2 = k1 the model is called once, as by hand, and nothing is added") {
  const LSTM lstm = make_lstm();
  const Tensor x = sequence();
  TruncatedBPTT bptt(lstm.zero_state(B), {.k1 = 5});
  LSTMState state = lstm.zero_state(B);
  for (std::size_t begin = 0; begin < N; begin += 5) {
    const Tensor window = x.slice(begin, std::min(N, begin + 5));
    Tape tape, by_hand;
    int calls = 0;
    const Var y = bptt(
        tape,
        [&](Tape& t, const Tensor& part, const LSTMState& s) {
          ++calls;
          CHECK(part.data<double>() == window.data<double>());
          return lstm(t, part, s);
        },
        window);
    const auto [expected, next] = lstm(by_hand, window, state);
    state = next.detach();
    CHECK(calls == 1);
    CHECK(tape.size() == by_hand.size());
    CHECK(difference(y.value(), expected.value()) == 0);
  }
}

TEST_CASE("truncated_bptt: steps are run again with the weights of their window") {
  // The state at the start of a run is that of the run before, with the weights of that time.
  for (const TruncatedBPTTOptions options :
       {TruncatedBPTTOptions{.k1 = 3}, TruncatedBPTTOptions{.k1 = 3, .k2 = 4},
        TruncatedBPTTOptions{.k1 = 3, .k2 = 8}, TruncatedBPTTOptions{.k1 = 3, .warm_up = 2},
        TruncatedBPTTOptions{.k1 = 3, .k2 = 5, .warm_up = 4}}) {
    Recurrent<LeakyCell> model = make_leaky();
    const Tensor x = sequence();
    TruncatedBPTT bptt(model.zero_state(B), options);
    std::vector<LeakyCell::State> before(N + 1, model.zero_state(B));  // the state before each step
    for (std::size_t begin = 0; begin < N; begin += 3) {
      const std::size_t end = std::min(N, begin + 3);
      Vars expected;
      for (std::size_t t = begin - std::min(begin, options.run_again()); t < end; ++t) {
        Tape step = Tape::inference();
        const auto r = model(step, x.slice(t, t + 1), before[t]);
        before[t + 1] = r.last;
        if (t >= begin) expected.push_back(r.y);
      }
      Tape tape;
      const Var y = bptt(tape, model, x.slice(begin, end));
      CHECK(difference(y.value(), concat(expected, 0).value()) == 0);
      const double sign = model.cell.mix.value().at(0) > 0 ? -1 : 1;
      model.cell.mix.set_value(Tensor::from<double>({I}, {0.9 * sign, 0.7}));
    }
  }
}

TEST_CASE("truncated_bptt: the gradient is that of a window whose first state is a constant") {
  const auto model = make_stacked();
  const Tensor x = sequence();
  const Parameters all = parameters(model);
  const auto window = [&](std::size_t begin, std::size_t end) { return x.slice(begin, end); };
  for (const std::size_t warm_up : {0U, 2U}) {
    CAPTURE(warm_up);
    // Steps 3 and 4 are run again with gradient in front of 5 to 8, steps 1 and 2 to warm up.
    TruncatedBPTT bptt(model.zero_state(B), {.k1 = 5, .k2 = 7, .warm_up = warm_up});
    Tape before;
    (void)bptt(before, model, window(0, 5));
    auto start = model.zero_state(B);
    for (std::size_t t = 0; t < 3; ++t) {
      Tape step = Tape::inference();
      start = model(step, window(t, t + 1), start).last;
    }
    const auto loss = [&](Tape& tape) {  // the copy leaves the stream where it is
      auto there = bptt;
      return loss_of(there(tape, model, window(5, 9)), 5);
    };
    const auto frozen = [&](Tape& tape) {
      return loss_of(slice(model(tape, window(3, 9), start).y, 0, 2, 6), 5);
    };
    CHECK(gradcheck(frozen, all));
    // Differences see what warming up does to the state at its end; the gradient does not.
    CHECK(bool(gradcheck(loss, all)) == (warm_up == 0));
    Tape tape, reference;
    const Vars gradient = gradient_of(tape, loss(tape), all);
    const Vars expected = gradient_of(reference, frozen(reference), all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      CHECK(difference(gradient[i].value(), expected[i].value()) < 1e-13);
    }
  }
}

TEST_CASE(
    "truncated_bptt: start() begins anew; a trained first state learns from the first window") {
  Rng rng(5);
  const GRU gru({.input = I, .hidden = H, .trained_state = true, .dtype = real}, rng);
  const Tensor x = sequence();
  const Parameters first = parameters(gru).with_prefix("h0");
  TruncatedBPTT bptt(gru.zero_state(B), {.k1 = 4, .k2 = 8});
  Tensor earlier;
  for (int epoch = 0; epoch < 2; ++epoch) {
    for (std::size_t begin = 0; begin < 8; begin += 4) {
      Tape tape;
      if (begin == 0) bptt.start(gru.first_state(tape, B));
      const Var y = bptt(tape, gru, x.slice(begin, begin + 4));
      const bool learns = sum(abs(gradient_of(tape, sum(y), first)[0])).item() > 0;
      CHECK(learns == (begin == 0));
      if (begin > 0) continue;
      if (epoch > 0) CHECK(difference(y.value(), earlier) == 0);
      earlier = y.value();
    }
  }
}

TEST_CASE("truncated_bptt: the first window of a text begins another stream") {
  Rng rng(6);
  const Embedding embed(7, I, rng, real);
  const LSTM lstm = make_lstm();
  const auto model = [&](Tape& tape, const Tensor& ids, const LSTMState& state) {
    return lstm(tape, embed(tape, ids), state);
  };
  LSTMState begin = lstm.zero_state(B);
  begin.h = Tensor::full(begin.h.shape(), 0.25, real);
  const TruncatedBPTTOptions options{.k1 = 2, .k2 = 3};
  TruncatedBPTT bptt(begin, options);
  const StreamWindows windows(Tensor::from<std::int32_t>({9}, {0, 6, 1, 5, 2, 4, 3, 0, 1}), 2, B);
  Tape tape = Tape::inference();
  for (int epoch = 0; epoch < 2; ++epoch) {
    TruncatedBPTT by_hand(begin, options);
    for (const Window& window : windows) {
      const Var expected = by_hand(tape, model, window.inputs);
      CHECK(difference(bptt(tape, model, window).value(), expected.value()) == 0);
    }
  }
}

TEST_CASE("truncated_bptt: the inputs of a window may be overwritten when it is done") {
  const LSTM lstm = make_lstm();
  const Tensor x = sequence();
  const TruncatedBPTTOptions options{.k1 = 4, .k2 = 6};
  TruncatedBPTT bptt(lstm.zero_state(B), options), expected(lstm.zero_state(B), options);
  Tensor buffer = Tensor::empty({4, B, I}, real);
  for (std::size_t begin = 0; begin < 8; begin += 4) {
    Tape tape = Tape::inference();
    buffer.copy_from(x.slice(begin, begin + 4));
    const Var y = bptt(tape, lstm, buffer);
    CHECK(difference(y.value(), expected(tape, lstm, x.slice(begin, begin + 4)).value()) == 0);
  }
}

TEST_CASE("truncated_bptt: a wrong window throws, and the stream is where it was") {
  const LSTM lstm = make_lstm();
  const Tensor x = sequence();
  const auto window = [&](std::size_t begin) { return x.slice(begin, begin + 4); };
  const TruncatedBPTTOptions options{.k1 = 4, .k2 = 6, .warm_up = 1};
  TruncatedBPTT bptt(lstm.zero_state(B), options), untouched(lstm.zero_state(B), options);
  {
    Tape tape;
    (void)bptt(tape, lstm, window(0));
    (void)untouched(tape, lstm, window(0));
  }
  const auto is = [&](const std::string& text, const auto& model, const Tensor& at) {
    Tape tape;
    CHECK(message_of([&] { (void)bptt(tape, model, at); }) == text);
  };
  is("[TruncatedBPTT] x is undefined: give it a value first", lstm, {});
  is("[TruncatedBPTT] x has shape (0, 2, 2): it must be (T, B, ...) with T >= 1", lstm,
     x.slice(0, 0));
  is("[TruncatedBPTT] x has shape (): it must be (T, B, ...) with T >= 1", lstm, Tensor::scalar(1));
  is("[TruncatedBPTT] x has 5 steps but k1 is 4: cut the stream into windows of k1 steps", lstm,
     x.slice(4, 9));
  {
    Tape tape;
    CHECK_THROWS_AS(bptt(tape, lstm, Window{x, {}, true}),
                    UsageError);  // it ends no stream, either
  }
  is("[TruncatedBPTT] x has shape (T, B, ...) = (4, 3, 2) but the window before has shape (T, B, "
     "...) = (3, 2, 2): all axes but the first must be equal; start() begins another stream",
     lstm, Tensor::zeros({4, 3, I}, real));
  is("[TruncatedBPTT] x is float32 but the window before was float64: convert one with to()", lstm,
     Tensor::zeros({4, B, I}));
  is(
      "[TruncatedBPTT] x has shape (T, B, ...) = (1, 2, 2) but the model's y has shape (T, ...) = "
      "(2, 2, 3): T must match, a model gives an output for each step",
      [&](Tape& tape, const Tensor& part, const LSTMState& state) {
        const auto [y, next] = lstm(tape, part, state);
        return LSTMResult{next.h, next};
      },
      window(4));
  is(
      "[TruncatedBPTT] the model's y is undefined: give it a value first",
      [&](Tape& tape, const Tensor& part, const LSTMState& state) {
        return LSTMResult{{}, lstm(tape, part, state).last};
      },
      window(4));
  is(
      "[TruncatedBPTT] the model's state is undefined: give it a value first",
      [&](Tape& tape, const Tensor& part, const LSTMState& state) {
        return LSTMResult{lstm(tape, part, state).y, {}};
      },
      window(4));
  int calls = 0;
  is(
      "[mine] the third part fails",
      [&](Tape& tape, const Tensor& part, const LSTMState& state) {
        if (++calls == 3) throw UsageError("[mine] the third part fails");
        return lstm(tape, part, state);
      },
      window(4));
  for (std::size_t begin = 4; begin < 11; begin += 4) {
    Tape tape;
    const std::size_t end = std::min(N, begin + 4);
    const Var y = bptt(tape, lstm, x.slice(begin, end));
    CHECK(difference(y.value(), untouched(tape, lstm, x.slice(begin, end)).value()) == 0);
  }
}

TEST_CASE("truncated_bptt: a model that makes fewer or more parts of a state") {
  const GRU gru = make_gru();
  const Tensor x = sequence();
  for (const std::size_t parts : {0U, 1U, 3U}) {
    TruncatedBPTT bptt(Vars(2, gru.zero_state(B)), {.k1 = 4, .k2 = 6});
    const auto model = [&](Tape& tape, const Tensor& part, const Vars& state) {
      const auto [y, next] = gru(tape, part, state.at(0));
      return Unrolled<Vars>{y, Vars(parts, next)};
    };
    Tape tape;
    CHECK(message_of([&] { (void)bptt(tape, model, x.slice(0, 4)); }) ==
          "[TruncatedBPTT] the model makes a state of " + std::to_string(parts) +
              " parts from one of 2: they must match");
  }
}

TEST_CASE("truncated_bptt: options and states that cannot be meant") {
  const LSTM lstm = make_lstm();
  const auto made = [&](const TruncatedBPTTOptions& options) {
    return message_of([&] { (void)TruncatedBPTT(lstm.zero_state(B), options); });
  };
  CHECK(made({}) == "[TruncatedBPTT] k1 is 0: a window has at least one step");
  CHECK(
      made({.k1 = 5, .k2 = 4}) ==
      "[TruncatedBPTT] k2 is 4 but k1 is 5: gradients flow back through a whole window, k2 must be "
      "at least k1");
  CHECK(
      made({.k1 = 5, .k2 = 0}) ==
      "[TruncatedBPTT] k2 is 0 but k1 is 5: gradients flow back through a whole window, k2 must be "
      "at least k1");
  CHECK(made({.k1 = 4, .k2 = 6, .warm_up = 7}) ==
        "[TruncatedBPTT] warm_up is 7 but k2 is 6: no gradient learns what a state remembers for "
        "more than k2 steps, warm_up must be at most k2");
  CHECK(made({.k1 = 4, .warm_up = static_cast<std::size_t>(-1)}) ==
        "[TruncatedBPTT] warm_up is 18446744073709551615 but k2 is 4: no gradient learns what a "
        "state remembers for more than k2 steps, warm_up must be at most k2");
  TruncatedBPTT bptt(lstm.zero_state(B + 1), {.k1 = 4});
  Tape tape;
  CHECK(message_of([&] { (void)bptt(tape, lstm, sequence(4)); }) ==
        "[LSTM] x has shape (T, B, I) = (4, 2, 2) but h has shape (L, B, H) = (2, 3, 3): B must "
        "match; "
        "make the state with zero_state(2)");
}

TEST_CASE("truncated_bptt: a stream that is continued from a file has the same bits") {
  Rng rng(6);
  const Embedding embed(5, I, rng);
  const LSTM lstm({.input = I, .hidden = H}, rng);
  const auto model = [&](Tape& tape, const Tensor& ids, const LSTMState& state) {
    return lstm(tape, embed(tape, ids), state);
  };
  std::vector<std::int32_t> ids(50);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(rng.below(5));
  const StreamWindows windows(Tensor::from({ids.size()}, ids), 4, B);
  const TempFolder folder;
  for (const TruncatedBPTTOptions options :
       {TruncatedBPTTOptions{.k1 = 4}, TruncatedBPTTOptions{.k1 = 4, .k2 = 6, .warm_up = 1}}) {
    TruncatedBPTT bptt(lstm.zero_state(B), options), continued(lstm.zero_state(B), options);
    for (std::size_t k = 0; k < windows.size(); ++k) {
      save_state(folder / "state", [&](Archive& a) { a("bptt", bptt); });
      load_state(folder / "state", [&](Archive& a) { a("bptt", continued); });
      Tape tape = Tape::inference();
      const Window w = windows.at(k);
      CHECK(difference(bptt(tape, model, w.inputs).value(),
                       continued(tape, model, w.inputs).value()) == 0);
    }
  }
  TruncatedBPTT other(lstm.zero_state(B + 1), {.k1 = 4, .k2 = 7, .warm_up = 1});
  const std::string refused =
      message_of([&] { load_state(folder / "state", [&](Archive& a) { a("bptt", other); }); });
  CHECK(refused.find("bptt.k2 is '6' in the file but '7' here") != std::string::npos);
  CHECK(refused.find("bptt.state.h is float32 (1, 2, 3) in the file but float32 (1, 3, 3) here") !=
        std::string::npos);
  TruncatedBPTT fits(lstm.zero_state(B), {.k1 = 4, .k2 = 6, .warm_up = 1});
  const auto said_of = [&](auto& stream, const std::string& name, const std::string& text) {
    TensorFile file = load_tensors(folder / "state");
    file.metadata[name] = text;
    save_tensors(folder / "wrong", file);
    const std::string said =
        message_of([&] { load_state(folder / "wrong", [&](Archive& a) { a("bptt", stream); }); });
    return said.substr(said.find("nothing was loaded: "));
  };
  CHECK(said_of(fits, "bptt.size.1", "5") ==
        "nothing was loaded: bptt.inputs is int32 (3, 2) in the file but int32 (3, 5) here");
  CHECK(
      said_of(fits, "bptt.rank", "1") ==
      "nothing was loaded: bptt.inputs is int32 (3, 2) in the file but int32 (3) here; unexpected "
      "bptt.size.1");
  CHECK(said_of(fits, "bptt.rank", "9")
            .starts_with("nothing was loaded: bptt.rank is '9' but must be a number in [0, 4]; "
                         "missing bptt.size.2"));
  CHECK(said_of(fits, "bptt.size.0", "18000000000000000000")
            .starts_with("nothing was loaded: bptt.size.0 is '18000000000000000000' but must be"));
  CHECK(said_of(fits, "bptt.size.0", "4")  // more steps than are ever run again
            .starts_with("nothing was loaded: bptt.size.0 is '4' but must be a number in [0, 3]"));
  TruncatedBPTT plain(lstm.zero_state(B), {.k1 = 4});
  save_state(folder / "state", [&](Archive& a) { a("bptt", plain); });
  CHECK(said_of(plain, "bptt.rank", "2")  // none is ever run again
            .starts_with("nothing was loaded: bptt.rank is '2' but must be a number in [0, 0]"));
}
