#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/stream.h"
#include "../../optim/sgd.h"
#include "../support/extended.h"
#include "../support/for_targets.h"
#include "../support/heap.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

struct Sizes {
  std::size_t input = 3, hidden = 8, layers = 1, sessions = 1, block = 1, outputs = 0, ids = 0;
  LSTMBias bias = LSTMBias::two;
  StackVariant variant = {};
  bool trained_state = false, peepholes = false;
  RNNNonlinearity nonlinearity = RNNNonlinearity::tanh;
};

template <class R, class Options>
R make(const Sizes& s, Options o, Rng& rng) {
  o.input = s.input, o.hidden = s.hidden, o.layers = s.layers;
  o.variant = s.variant, o.trained_state = s.trained_state;
  if constexpr (std::same_as<R, LSTM>) {
    o.peepholes = s.peepholes, o.bias = s.bias;
  } else {
    o.bias = s.bias == LSTMBias::two;
  }
  if constexpr (std::same_as<R, RNN>) o.nonlinearity = s.nonlinearity;
  return R(o, rng);
}

/// A model, and the same as a Stream. `outputs` 0: no head; `ids` 0: no embedding.
template <class T, class R = LSTM>
struct Pair {
  Sizes sizes;
  Rng rng{7};
  Embedding embedding;
  R lstm;
  Linear head;
  LSTMState state;  // c is undefined without an LSTM

  explicit Pair(const Sizes& s) : sizes(s) {
    const DType dtype = dtype_of<T>;
    if (s.ids > 0) embedding = Embedding(s.ids, s.input, rng, dtype);
    using Options =
        std::conditional_t<std::same_as<R, LSTM>, LSTMOptions,
                           std::conditional_t<std::same_as<R, GRU>, GRUOptions, RNNOptions>>;
    lstm = make<R>(s, Options{.dtype = dtype}, rng);
    if (s.outputs > 0) {
      head = Linear(s.hidden, s.outputs, rng, {.bias = s.bias != LSTMBias::none, .dtype = dtype});
    }
    for (const NamedParameter& p : parameters(lstm)) {  // a trained state is not zeros
      if (p.name[1] == '0') p.set_value(rng.normal(p.value().shape(), 0, 1, dtype));
    }
    reset();
  }
  void reset() {
    Tape tape = Tape::inference();
    const auto first = lstm.first_state(tape, sizes.sessions);
    if constexpr (std::same_as<R, LSTM>) {
      state = first.detach();
    } else {
      state = {first.detach(), Var()};
    }
  }
  Stream stream() const {
    const StreamOptions options{.sessions = sizes.sessions, .block = sizes.block};
    if (sizes.ids > 0 && sizes.outputs > 0) return {embedding, lstm, head, options};
    if (sizes.ids > 0) return {embedding, lstm, options};
    if (sizes.outputs > 0) return {lstm, head, options};
    return Stream(lstm, options);
  }

  /// Numbers (n, B, I), or ids (n, B).
  Tensor input() {
    const Shape shape{sizes.block, sizes.sessions, sizes.input};
    if (sizes.ids == 0) return rng.normal(shape, 0, 1, dtype_of<T>);
    Tensor x = Tensor::empty(shape.without(2), DType::int32);
    for (std::int32_t& id : x.mutable_values<std::int32_t>()) {
      id = static_cast<std::int32_t>(rng.below(sizes.ids));
    }
    return x;
  }
  /// y (n, B, O) of the model, which is called for T = 1 and moves on.
  std::vector<T> expected(const Tensor& x) {
    std::vector<T> all;
    for (std::size_t t = 0; t < sizes.block; ++t) {
      Tape tape = Tape::inference();
      const Tensor step = x.slice(t, t + 1);
      const Var in = sizes.ids > 0 ? embedding(tape, step) : Var(step);
      const auto r = [&] {
        if constexpr (std::same_as<R, LSTM>) {
          return lstm(tape, in, state);
        } else {
          return lstm(tape, in, state.h);
        }
      }();
      if constexpr (std::same_as<R, LSTM>) {
        state = r.last.detach();
      } else {
        state.h = r.last.detach();
      }
      const Tensor y = sizes.outputs > 0 ? head(tape, r.y).value() : r.y.value();
      all.insert(all.end(), y.values<T>().begin(), y.values<T>().end());
    }
    return all;
  }
  std::vector<T> streamed(Stream& stream, const Tensor& x) const {
    std::vector<T> y(
        sizes.block * sizes.sessions * (sizes.outputs > 0 ? sizes.outputs : sizes.hidden),
        T{7});  // of which nothing may stay
    if (sizes.ids > 0) {
      stream.step(x.values<std::int32_t>(), y);
    } else {
      stream.step(x.values<T>(), y);
    }
    return y;
  }
  /// Whether the next calls give the same bits, and leave the same state.
  bool same(Stream& stream, std::size_t calls = 2) {
    bool good = true;
    for (std::size_t i = 0; i < calls; ++i) {
      const Tensor x = input();
      good = good && bits(streamed(stream, x)) == bits(expected(x));
    }
    const LSTMState ours = stream.state();
    return good && bits(ours.h) == bits(state.h) && ours.c.defined() == state.c.defined() &&
           (!ours.c.defined() || bits(ours.c) == bits(state.c));
  }

  static std::string bits(const std::vector<T>& v) {
    return {reinterpret_cast<const char*>(v.data()), v.size() * sizeof(T)};
  }
  static std::string bits(const Var& v) {
    const Tensor t = v.value();
    return {reinterpret_cast<const char*>(t.data<T>()), t.numel() * sizeof(T)};
  }
};

/// Whether all combinations of sizes, and all calls, have the bits of the layers.
template <class T, class R = LSTM>
bool same(const Sizes& sizes) {
  Pair<T, R> pair(sizes);
  Stream stream = pair.stream();
  if (!pair.same(stream)) return false;
  stream.reset();
  pair.reset();
  return pair.same(stream, 1);
}

/// GRU and both RNNs, in float32 and float64.
bool same_hidden(Sizes s) {
  bool good = same<float, GRU>(s) && same<double, GRU>(s);
  for (const RNNNonlinearity phi : {RNNNonlinearity::tanh, RNNNonlinearity::relu}) {
    s.nonlinearity = phi;
    good = good && same<float, RNN>(s) && same<double, RNN>(s);
  }
  return good;
}

std::string name(const Sizes& s) {
  return "I " + std::to_string(s.input) + ", H " + std::to_string(s.hidden) + ", L " +
         std::to_string(s.layers) + ", B " + std::to_string(s.sessions) + ", n " +
         std::to_string(s.block) + ", O " + std::to_string(s.outputs) + ", V " +
         std::to_string(s.ids);
}

/// What the program says as act() ends it; empty if it does not.
std::string last_words(const std::function<void()>& act) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);
    act();
    _exit(0);
  }
  close(ends[1]);
  std::string said;
  char part[256];
  for (ssize_t n = 0; (n = read(ends[0], part, sizeof part)) > 0;) {
    said.append(part, static_cast<std::size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? said : "";
}

}  // namespace

TEST_CASE("stream: the bits of LSTM at T = 1, whatever the sizes, for every instruction set") {
  for_targets([](const std::string& target) {
    CAPTURE(target);
    for (const std::size_t hidden : {1U, 3U, 8U, 16U, 17U, 24U, 40U, 64U, 200U}) {
      for (const std::size_t block : {1U, 5U, 64U}) {
        for (const std::size_t sessions : {1U, 2U, 7U}) {
          if (hidden * block * sessions > 8000 && !extended()) continue;
          for (const std::size_t layers : {1U, 2U, 3U}) {
            if (layers == 3 && hidden > 17) continue;
            Sizes s{.input = layers == 1 ? std::size_t{1} : hidden / 2 + 1,
                    .hidden = hidden,
                    .layers = layers,
                    .sessions = sessions,
                    .block = block};
            CAPTURE(name(s));
            CHECK(same<float>(s));
            s.outputs = layers;
            CHECK(same<float>(s));
            if (hidden <= 40) CHECK(same<double>(s));
          }
        }
      }
    }
  });
}

TEST_CASE("stream: inputs and states of more terms than one part of a sum, wide heads, ids") {
  for_targets([](const std::string& target) {
    CAPTURE(target);
    for (const std::size_t block : {1U, 5U}) {
      for (const Sizes& s :
           {Sizes{.input = 300, .hidden = 20, .block = block, .outputs = 70},
            Sizes{.input = 2, .hidden = 270, .sessions = 2, .block = block, .outputs = 5},
            Sizes{.input = 5, .hidden = 12, .layers = 2, .sessions = 3, .block = block, .ids = 9},
            Sizes{.input = 5, .hidden = 12, .block = block, .outputs = 9, .ids = 9}}) {
        CAPTURE(name(s));
        CHECK(same<float>(s));
        CHECK(same<double>(s));
      }
    }
  });
}

TEST_CASE("stream: the bits of GRU and RNN at T = 1, whatever the sizes") {
  for_targets([](const std::string& target) {
    CAPTURE(target);
    for (const std::size_t hidden : {1U, 8U, 17U, 40U, 64U, 90U, 270U}) {
      for (const std::size_t block : {1U, 5U}) {
        for (const std::size_t sessions : {1U, 3U}) {
          if (hidden == 270 && sessions > 1) continue;
          for (const std::size_t input : {1U, 20U}) {
            Sizes s{.input = input, .hidden = hidden, .sessions = sessions, .block = block};
            CAPTURE(name(s));
            CHECK(same_hidden(s));
            if (hidden > 40) continue;
            s.layers = 2, s.outputs = 2, s.ids = 5;
            CHECK(same_hidden(s));
            s.bias = LSTMBias::none;
            CHECK(same_hidden(s));
          }
        }
      }
    }
  });
}

TEST_CASE("stream: variants that act in inference, and trained first states") {
  for_targets([](const std::string& target) {
    CAPTURE(target);
    for (const std::size_t sessions : {1U, 3U}) {
      for (const std::size_t block : {1U, 5U}) {
        const Sizes plain{
            .input = 6, .hidden = 19, .layers = 2, .sessions = sessions, .block = block};
        CAPTURE(name(plain));
        Sizes s = plain;
        s.trained_state = true;
        CHECK(same<float>(s));
        CHECK(same_hidden(s));
        s.variant = {.zoneout_h = 0.3};
        CHECK(same<float>(s));
        CHECK(same_hidden(s));
        s = plain;
        s.peepholes = true;
        CHECK(same<float>(s));
        for (const StackVariant& variant :
             {StackVariant{.zoneout_c = 0.2}, {.cell_clip = 0.05}, {.gradient_clip = 1}}) {
          s = plain;
          s.variant = variant;
          CHECK(same<float>(s));
          CHECK(same<double>(s));
        }
      }
    }
  });
}

TEST_CASE("stream: one bias or none, subnormal numbers, not-a-numbers") {
  for (const LSTMBias bias : {LSTMBias::none, LSTMBias::one}) {
    CHECK(same<float>({.hidden = 17, .layers = 2, .outputs = 2, .bias = bias}));
  }
  for (const std::size_t block : {1U, 4U}) {
    Pair<float> pair({.input = 2, .hidden = 9, .sessions = 2, .block = block, .outputs = 1});
    for (const NamedParameter& p : parameters(pair.lstm)) {
      Tensor value = p.value().clone();
      value.mutable_data<float>()[1] = 1e-39F;
      value.mutable_data<float>()[5] = p.name == "bias_hh_l0" ? -1e30F : -0.0F;
      p.set_value(value);
    }
    Stream stream = pair.stream();
    CHECK(pair.same(stream));
    Tensor x = pair.input();
    for (const float odd : {1e-39F, -0.0F, 1e30F, INFINITY, NAN}) {
      x.mutable_data<float>()[1] = odd;
      CHECK(pair.bits(pair.streamed(stream, x)) == pair.bits(pair.expected(x)));
    }
  }
}

TEST_CASE("stream: sessions know nothing of each other") {
  constexpr std::size_t H = 24, B = 7;
  Pair<float> pair({.input = 1, .hidden = H, .sessions = B});
  Stream all = pair.stream(), one(pair.lstm);
  Rng rng(3);
  const Tensor own = rng.normal({20}, 0, 1, DType::float32);
  std::vector<float> y(H), ys(B * H);
  for (std::size_t t = 0; t < 20; ++t) {
    Tensor x = rng.normal({B}, 0, 1, DType::float32);
    x.mutable_data<float>()[4] = own.values<float>()[t];
    all.step(x.values<float>(), ys);
    one.step(own.values<float>().subspan(t, 1), y);
    CHECK(std::equal(y.begin(), y.end(), ys.begin() + 4 * H));
  }
}

TEST_CASE("stream: reset, set_state and refresh") {
  Pair<double> pair({.hidden = 10, .layers = 2, .sessions = 3, .block = 2, .outputs = 4, .ids = 6});
  Stream stream = pair.stream();
  CHECK(pair.same(stream));
  const LSTMState middle = stream.state();
  CHECK(pair.same(stream));

  stream.set_state(middle);
  pair.state = middle;
  CHECK(pair.same(stream));
  Stream other = pair.stream();
  other.set_state(stream.state());
  stream = std::move(other);
  CHECK(pair.same(stream));
  stream.reset();
  pair.state = pair.lstm.zero_state(3);
  CHECK(pair.same(stream));

  // A training step goes past the snapshot, until it is renewed.
  const Tensor x = pair.input();
  const LSTMState before = stream.state();
  const std::vector<double> y = pair.streamed(stream, x);
  const Parameters all = parameters(pair.embedding) + parameters(pair.lstm) + parameters(pair.head);
  SGD sgd(all, {.lr = 0.5});
  {
    Tape tape;
    const Var out = pair.head(tape, pair.lstm(tape, pair.embedding(tape, x)).y);
    tape.backward(mse(out, Tensor::full(out.shape(), 1, DType::float64)));
    sgd.step();
  }
  stream.set_state(before);
  CHECK(pair.streamed(stream, x) == y);
  stream.set_state(before);
  const std::size_t allocated = allocations();
  stream.refresh();
  CHECK(allocations() == allocated);
  CHECK(pair.streamed(stream, x) != y);
  stream.set_state(before);
  pair.state = before;
  CHECK(pair.same(stream));
  // The Parameters are the model's, wherever it goes.
  LSTM moved = std::move(pair.lstm);
  pair.lstm = std::move(moved);
  stream.refresh();
  CHECK(pair.same(stream));
}

TEST_CASE("stream: what cannot be run is refused when it is made") {
  Rng rng(1);
  const LSTM lstm({.input = 3, .hidden = 4, .layers = 2}, rng);
  const auto says = [](const std::string& message, auto make) {
    std::string said = "nothing was thrown";
    try {
      make();
    } catch (const Error& e) {
      said = e.what();
    }
    CHECK(said == message);
  };
  says("[Stream] sessions is 0: it must be at least 1", [&] { Stream(lstm, {.sessions = 0}); });
  says("[Stream] block is 0: it must be at least 1", [&] { Stream(lstm, {.block = 0}); });
  for (const std::size_t many : {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 64}) {
    CHECK_THROWS_AS(Stream(lstm, {.sessions = many}), ShapeError);
    CHECK_THROWS_AS(Stream(lstm, {.block = many}), ShapeError);
    CHECK_THROWS_AS(Stream(lstm, {.sessions = 1U << 31U, .block = many}), ShapeError);
  }
  says("[LSTM] this LSTM has no layers: construct it with LSTMOptions and an Rng first",
       [&] { Stream{LSTM()}; });
  says(
      "[leaf] the parameter is undefined: construct the layer with its sizes and an Rng first, and "
      "do not use it after a move",
      [&] { Stream(lstm, Linear()); });
  says(
      "[linear] weight has shape (O, I) = (1, 5) but x has shape (..., I) = (1, 1, 4): I must "
      "match",
      [&] { Stream(lstm, Linear(5, 1, rng)); });
  says("[linear] input 0 is float32 but input 1 is float64: convert one with to()",
       [&] { Stream(lstm, Linear(4, 1, rng, {.dtype = DType::float64})); });
  says(
      "[lstm] weight_ih has shape (4H, I) = (16, 3) but x has shape (T, B, I) = (1, 1, 2): I must "
      "match (in lstm.0)",
      [&] { Stream(Embedding(7, 2, rng), lstm); });
  LSTM broken({.input = 3, .hidden = 4}, rng);
  broken.layers[0].weight_hh = Parameter(Tensor::zeros({16, 5}));
  says(
      "[lstm] weight_ih has shape (4H, I) = (16, 3) but weight_hh has shape (4H, H) = (16, 5): H "
      "must match (in lstm.0)",
      [&] { Stream{broken}; });
  broken.layers[0].weight_hh = Parameter();
  says(
      "[Parameter] the parameter is undefined: construct the layer with its sizes and an Rng "
      "first, and do not use it after a move",
      [&] { Stream{broken}; });

  const std::string both_directions =
      "[Stream] the layer is bidirectional: its other direction begins at the end of the sequence, "
      "and a stream has none";
  const LSTM both({.input = 3, .hidden = 4, .bidirectional = true}, rng);
  const GRU both_gru({.input = 3, .hidden = 4, .bidirectional = true}, rng);
  says(both_directions, [&] { Stream{both}; });
  says(both_directions, [&] { Stream(both_gru, Linear(8, 1, rng)); });
  says("[GRU] this GRU has no layers: construct it with GRUOptions and an Rng first",
       [&] { Stream{GRU()}; });

  Stream stream(lstm, {.sessions = 2});
  const LSTMState good = stream.state();
  says("[Stream] state.c is undefined: give it a value first", [&] {
    stream.set_state({good.h, Var()});
  });
  says("[Stream] state.h has shape (2, 3, 4): it must be (L, B, H) = (2, 2, 4), as state() is",
       [&] { stream.set_state(lstm.zero_state(3)); });
  says("[Stream] state.c is float64 but the model is float32: convert one with to()", [&] {
    stream.set_state({good.h, Tensor::zeros({2, 2, 4}, DType::float64)});
  });
  Stream gru(GRU({.input = 3, .hidden = 4, .layers = 2}, rng), {.sessions = 2});
  CHECK(!gru.state().c.defined());
  says("[Stream] state.c is given but the model has no LSTM: leave it undefined",
       [&] { gru.set_state(good); });
  gru.set_state({good.h});
}

TEST_CASE("stream: a call that cannot be made ends the program with a message") {
  Rng rng(1);
  const LSTM lstm({.input = 3, .hidden = 4}, rng);
  const Embedding embedding(7, 3, rng);
  Stream numbers(lstm, {.sessions = 2, .block = 5});
  Stream ids(embedding, lstm);
  std::vector<float> x(30), y(40), one(4);
  std::vector<double> x64(30), y64(40);
  CHECK(last_words([&] { numbers.step(x, y); }) == "");
  const auto says = [](const std::string& message, const std::function<void()>& act) {
    const std::string said = last_words(act);
    CAPTURE(said);
    CHECK(said.starts_with(message));
  };
  says(
      "[Stream] x has 29 elements: it must have 30, (n, B, I) = (5, 2, 3); StreamOptions has n and "
      "B",
      [&] { numbers.step(std::span(x).first(29), y); });
  says("[Stream] y has 4 elements: it must have 40, (n, B, O) = (5, 2, 4); ",
       [&] { numbers.step(x, one); });
  says("[Stream] y is float64 but the model is float32: ", [&] { numbers.step(x64, y64); });
  const std::vector<std::int32_t> two = {1, 2};
  says("[Stream] ids has 2 elements: it must have 1, (n, B, 1) = (1, 1, 1); ",
       [&] { ids.step(two, one); });
  for (const std::int32_t id : {7, -1}) {
    const std::vector<std::int32_t> wrong = {id};
    says("[Stream] id " + std::to_string(id) + " does not exist: it must be in [0, 7)",
         [&] { ids.step(wrong, one); });
  }
  says("[Stream] step() was given ids: ", [&] { numbers.step(two, y); });
  says("[Stream] step() was given float32 numbers: ", [&] { ids.step(x, y); });
  const Stream taken = std::move(ids);
  says("[Stream] this Stream was moved from: ", [&] { ids.reset(); });  // NOLINT
}
