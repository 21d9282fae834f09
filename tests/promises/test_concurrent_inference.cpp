#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "../../autograd/ops/loss.h"
#include "../../autograd/parameters.h"
#include "../../core/threads.h"
#include "../../layers/dropout.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/model/clone.h"
#include "../../layers/recurrent/lstm.h"
#include "../../optim/adam.h"
#include "../support/kernel_cases.h"
#include "../support/threads.h"

TEST_SUITE_BEGIN("threads");

// One const model in many threads, each with tapes of its own; and models trained side by side. The
// thread sanitizer (-Db_sanitize=thread) watches these, too.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t vocabulary = 7, hidden = 24, steps = 6, batch = 40;  // two blocks of rows

struct Model {
  Embedding embed;
  LSTM lstm;
  Linear head;
  Dropout dropout;
  void visit(auto&& v) {
    v("embed", embed);
    v("lstm", lstm);
    v("head", head);
    v("dropout", dropout);
  }
  Var operator()(Tape& tape, const Tensor& ids, const LSTMState& state) const {
    return head(tape, dropout(tape, lstm(tape, embed(tape, ids), state).y));
  }
};

Model model() {
  Rng rng(4);
  return {Embedding(vocabulary, 5, rng),
          LSTM({.input = 5, .hidden = hidden, .layers = 2, .dropout = 0.3}, rng),
          Linear(hidden, vocabulary, rng),
          {0.2}};
}

/// Ids (T, B) of a pass.
Tensor drawn(std::uint64_t pass) {
  Rng rng(pass, "ids");
  Tensor ids = Tensor::empty({steps, batch}, DType::int32);
  for (std::int32_t& id : ids.mutable_values<std::int32_t>())
    id = static_cast<std::int32_t>(rng.uniform() * static_cast<double>(vocabulary));
  return ids;
}

std::vector<float> logits(const Model& m, std::uint64_t pass) {
  Tape tape = Tape::inference();
  const Var y = m(tape, drawn(pass), m.lstm.zero_state(batch));
  const auto values = y.value().values<float>();
  return {values.begin(), values.end()};
}

/// The weights after a few training steps.
std::vector<Tensor> trained(const Model& m, std::uint64_t seed) {
  Adam adam(parameters(m), {.lr = 1e-2});
  for (std::uint64_t pass = 0; pass < 12; ++pass) {
    const Tensor ids = drawn(seed + pass);
    Tape tape = Tape::training({.seed = seed, .pass = pass});
    const Var loss = cross_entropy(m(tape, ids, m.lstm.zero_state(batch)), ids);
    adam.zero_grad();
    tape.backward(loss);
    adam.step();
  }
  std::vector<Tensor> weights;
  for (const NamedParameter& p : parameters(m)) weights.push_back(p.value());
  return weights;
}

/// f(0), ..., f(count - 1) at the same time.
template <class F>
void side_by_side(std::size_t count, F f) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) threads.emplace_back(f, i);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("concurrent inference: four threads share a const model and get the bits of one") {
  constexpr std::uint64_t passes = 50;
  const Model m = model();
  std::vector<std::vector<float>> alone;
  for (std::uint64_t pass = 0; pass < passes; ++pass) alone.push_back(logits(m, pass));
  for (const std::size_t kernel_threads : {1U, 2U}) {
    const Threads number(kernel_threads);
    std::atomic<int> different{0};
    side_by_side(4, [&](std::size_t thread) {
      for (std::uint64_t pass = 0; pass < passes; ++pass) {
        const std::uint64_t which = (pass + 13 * thread) % passes;  // each its own order
        if (logits(m, which) != alone[which]) ++different;
      }
    });
    CHECK(different == 0);
  }
}

TEST_CASE("concurrent inference: a model is also cloned and listed while others use it") {
  const Model m = model();
  const std::vector<float> expected = logits(m, 0);
  const std::string description = parameters(m).describe();
  std::atomic<int> different{0};
  side_by_side(4, [&](std::size_t) {
    for (int round = 0; round < 5; ++round) {
      if (logits(clone(m), 0) != expected || parameters(m).describe() != description) ++different;
    }
  });
  CHECK(different == 0);
}

TEST_CASE("concurrent inference: gradient() of one model in four threads") {
  const Model m = model();
  const auto gradients = [&](std::uint64_t pass) {
    const Tensor ids = drawn(pass);
    Tape tape = Tape::training({.seed = 2, .pass = pass});
    Vars leaves;
    for (const NamedParameter& p : parameters(m)) leaves.push_back(tape.leaf(p));
    const Var loss = cross_entropy(m(tape, ids, m.lstm.zero_state(batch)), ids);
    std::vector<Tensor> result;
    for (const Var& d : tape.gradient(loss, leaves)) result.push_back(d.value());
    return result;
  };
  std::vector<std::vector<Tensor>> alone;
  for (std::uint64_t pass = 0; pass < 8; ++pass) alone.push_back(gradients(pass));
  const Threads two(2);
  std::atomic<int> different{0};
  side_by_side(4, [&](std::size_t thread) {
    for (std::uint64_t pass = 0; pass < 8; ++pass) {
      const std::uint64_t which = (pass + 3 * thread) % 8;
      if (!std::ranges::equal(gradients(which), alone[which], same_bits)) ++different;
    }
  });
  CHECK(different == 0);
}

TEST_CASE("concurrent inference: two threads train two models at once") {
  std::vector<std::vector<Tensor>> alone;
  for (std::size_t i = 0; i < 2; ++i) alone.push_back(trained(model(), 100 * i));
  for (const std::size_t kernel_threads : {1U, 2U}) {
    const Threads number(kernel_threads);
    std::vector<std::vector<Tensor>> together(2);
    side_by_side(2, [&](std::size_t i) { together[i] = trained(model(), 100 * i); });
    for (std::size_t i = 0; i < 2; ++i) CHECK(std::ranges::equal(together[i], alone[i], same_bits));
  }
}

TEST_CASE("concurrent inference: one trains its copy while others infer with the original") {
  const Model m = model();
  const std::vector<float> expected = logits(m, 0);
  std::atomic<int> different{0};
  side_by_side(3, [&](std::size_t i) {
    if (i == 0) {
      (void)trained(clone(m), 1);
      return;
    }
    for (int round = 0; round < 20; ++round) {
      if (logits(m, 0) != expected) ++different;
    }
  });
  CHECK(different == 0);
}

TEST_SUITE_END();
