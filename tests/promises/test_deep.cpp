#include <doctest/doctest.h>
#include <pthread.h>

#include <cmath>
#include <functional>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/tape.h"
#include "../../core/pool.h"
#include "../../core/rng.h"
#include "../support/extended.h"

TEST_SUITE_BEGIN("long runs");

// Long histories on a stack of 256 KiB: whatever recursed, in recording, backward or destruction,
// would overflow it, and what took time or memory in T^2 would not end.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Runs `work` in a thread with a small stack. (Sanitizers need more of it for each call.)
void on_small_stack(std::function<void()> work) {
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstacksize(&attributes, (sanitized ? 1024U : 256U) << 10) == 0);
  pthread_t thread;
  const auto run = [](void* f) -> void* {
    (*static_cast<std::function<void()>*>(f))();
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, run, &work) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  pool::trim();  // these are the largest tapes of all tests
  Tape::release_memory();
}

constexpr std::size_t inputs = 1, hidden = 2;

struct Problem {
  Tensor x;
  LSTMState state;
  std::vector<Parameter> weights;

  explicit Problem(std::size_t steps) {
    Rng rng(1);
    const auto random = [&](const Shape& shape) {
      return rng.normal(shape, 0, 0.5, DType::float64);
    };
    x = random({steps, 1, inputs});
    state = {random({1, hidden}), random({1, hidden})};
    for (const Shape& shape : {Shape{4 * hidden, inputs}, Shape{4 * hidden, hidden},
                               Shape{4 * hidden}, Shape{4 * hidden}}) {
      weights.emplace_back(random(shape));
    }
  }
  LSTMWeights on(Tape& tape) const {
    return {tape.leaf(weights[0]), tape.leaf(weights[1]), tape.leaf(weights[2]),
            tape.leaf(weights[3])};
  }
};

}  // namespace

TEST_CASE("deep: a chain of a million nodes") {
  const std::size_t depth = length(1'000'000, 5'000'000);
  on_small_stack([depth] {
    Tape tape;
    const Var x = tape.leaf(Tensor::scalar(0.5, DType::float64));
    Var y = x;
    for (std::size_t i = 0; i < depth; ++i) y = -y;
    CHECK(tape.size() == depth + 1);
    CHECK(tape.gradient(y, {x})[0].item() == (depth % 2 == 0 ? 1 : -1));
  });
}

TEST_CASE("deep: the gradient of the gradient of a long chain") {
  // y = x (1 + r)^n is linear; its square has second derivative 2 (1 + r)^2n.
  const std::size_t depth = length(100'000, 300'000);
  on_small_stack([depth] {
    Tape tape;
    const Var x = tape.leaf(Tensor::scalar(0.5, DType::float64));
    const double factor = 1 + 1 / static_cast<double>(depth);
    Var y = x;
    for (std::size_t i = 0; i < depth; ++i) y = y * factor;
    const Var d = tape.gradient(square(y), {x}, {.create_graph = true})[0];
    const double dd = tape.gradient(d, {x})[0].item();
    CHECK(dd ==
          doctest::Approx(2 * std::pow(factor, 2 * static_cast<double>(depth))).epsilon(1e-9));
  });
}

TEST_CASE("deep: an LSTM composed of primitives over a long sequence equals the fused one") {
  const std::size_t steps = length(100'000, 300'000);
  on_small_stack([steps] {
    const Problem p(steps);
    const auto gradients = [&](auto&& lstm_of) {
      Tape tape;
      tape.backward(sum(square(lstm_of(p.x, p.state, p.on(tape), Steps{}, RecurrentVariant{}).y)));
      std::vector<Tensor> d;
      for (const Parameter& w : p.weights) {
        d.push_back(w.grad());
        w.data()->zero_grad();
      }
      return d;
    };
    const std::vector<Tensor> composed = gradients(lstm_composed);
    const std::vector<Tensor> fused = gradients(lstm);
    for (std::size_t i = 0; i < fused.size(); ++i) {
      for (std::size_t k = 0; k < fused[i].numel(); ++k) {
        CHECK(composed[i].at(k) == doctest::Approx(fused[i].at(k)).epsilon(1e-9));
      }
    }
  });
}

TEST_CASE("deep: the fused LSTM over a million steps") {
  const std::size_t steps = length(1'000'000, 5'000'000);
  on_small_stack([steps] {
    const Problem p(steps);
    Tape tape;
    const Var x = tape.leaf(p.x);
    const LSTMResult r = lstm(x, p.state, p.on(tape));
    const Vars d = tape.gradient(sum(r.last.h), {x, r.y}, {.retain = true});
    // The first step is forgotten, the last is not; nothing else is but zero or a number.
    CHECK(d[0].value().at(0) == 0);
    CHECK(d[0].value().at(steps * inputs - 1) != 0);
    tape.backward(sum(square(r.y)));
    for (const Parameter& w : p.weights) {
      for (std::size_t k = 0; k < w.grad().numel(); ++k) CHECK(std::isfinite(w.grad().at(k)));
    }
  });
}

TEST_CASE("deep: a tape that is dropped without backward") {
  const std::size_t depth = length(1'000'000, 5'000'000);
  on_small_stack([depth] {
    Tape tape;
    Var y = tape.leaf(Tensor::scalar(0.5, DType::float64));
    for (std::size_t i = 0; i < depth; ++i) y = square(y);
    CHECK(y.item() == 0);
  });
}

TEST_SUITE_END();
