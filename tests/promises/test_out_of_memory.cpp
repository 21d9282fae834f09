#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "../../autograd/inspect/hooks.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/parameters.h"
#include "../../autograd/tape.h"
#include "../../core/pool.h"
#include "../../layers/model/module.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"
#include "../support/char_lm.h"
#include "../support/heap.h"
#include "../support/temp_folder.h"

TEST_SUITE_BEGIN("long runs");

// The n-th request for memory fails, for every n: whatever threw has changed nothing, has leaked
// nothing, and done again it gives the bits that it would have given.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t vocabulary = 5, embed = 3, hidden = 4;

CharLM make_model(std::uint64_t seed) {
  Rng rng(seed);
  return {{vocabulary, embed, rng},
          {{.input = embed, .hidden = hidden, .layers = 2, .dropout = 0.2}, rng},
          {hidden, vocabulary, rng}};
}

/// Bits of tensors, and numbers, one after the other.
class Bits {
 public:
  void add(const Tensor& t) {
    if (!t.defined()) return bits_.push_back('-');
    const std::size_t bytes = t.numel() * size_of(t.dtype());
    const void* elements =
        t.dtype() == DType::int32 ? static_cast<const void*>(t.data<int>()) : t.data<float>();
    bits_.append(static_cast<const char*>(elements), bytes);
  }
  void add(std::uint64_t number) { bits_ += std::to_string(number) + ' '; }
  bool operator==(const Bits&) const = default;

 private:
  std::string bits_;
};

Bits bits_of(const Parameters& parameters) {
  Bits bits;
  for (const NamedParameter& p : parameters) {
    bits.add(p.value());
    bits.add(p.grad());
  }
  return bits;
}

/// Everything that a training step may change.
struct Training {
  enum Phase { construct, forward, backward, again, clip, move, carry, done };

  CharLM model = make_model(1);
  LSTMState state = model.lstm.zero_state(2);
  std::optional<Adam> adam;
  std::uint64_t pass = 0;
  Phase phase = construct;
  std::vector<Bits>* before = nullptr;  // where to note what all was like before each phase

  Bits bits() {
    Bits bits = bits_of(parameters(model));
    bits.add(state.h.value());
    bits.add(state.c.value());
    bits.add(pass);
    if (!adam) return bits;
    for (std::size_t i = 0; i < adam->parameters().size(); ++i) {
      const Adam::State s = adam->state(i);
      bits.add(s.steps);
      bits.add(s.m);
      bits.add(s.v);
    }
    return bits;
  }

  /// A step as in README.md, of two batches. After a throw it can be done again.
  void step() {
    begin(construct);
    if (!adam) adam.emplace(parameters(model), AdamOptions{.lr = 1e-2});
    begin(forward);
    adam->zero_grad();
    Tape tape = Tape::training({.seed = 1, .pass = pass});
    auto [loss, next] = loss_of(tape, 0);
    begin(backward);
    tape.backward(loss);
    begin(again);
    {
      Tape second = Tape::training({.seed = 2, .pass = pass});
      second.backward(loss_of(second, 1).first);
    }
    begin(clip);
    clip_grad_norm(adam->parameters(), 0.1);
    begin(move);
    adam->step();
    begin(carry);
    state = next.detach();
    ++pass;
    begin(done);
  }

 private:
  void begin(Phase next) {
    phase = next;
    if (before != nullptr) before->push_back(bits());
  }

  std::pair<Var, LSTMState> loss_of(Tape& tape, std::int32_t first) const {
    const std::vector<std::int32_t> ids{first, 1, 2, 3, 4, first};
    const Tensor x = Tensor::from<std::int32_t>({3, 2}, ids);
    auto [h, next] = model.lstm(tape, model.embed(tape, x), state);
    return {cross_entropy(model.head(tape, h), x), next};
  }
};

void empty_pools() {
  pool::trim();
  Tape::release_memory();
}

/// What came of f() when an allocation was to fail.
struct Outcome {
  bool happened;  // there was such an allocation
  bool threw;     // not for a request that may fail, such as the buffer of std::stable_sort
};

/// Calls f() from empty pools with the n-th allocation failing.
template <class F>
Outcome fail(std::size_t n, bool lasting, const F& f) {
  empty_pools();
  const FailingAllocation failing(n, lasting);
  bool threw = false;
  try {
    f();
  } catch (const std::bad_alloc&) {
    threw = true;
  }
  return {failing.happened(), threw};
}

/// Calls run(n, lasting) for n = 1, 2, ... until its outcome is that there is no n-th allocation.
template <class Run>
void for_every_allocation(const Run& run) {
  for (const bool lasting : {false, true}) {
    std::size_t n = 1, threw = 0;
    for (bool happened = true; happened; ++n) {
      INFO("allocation ", n, ", all after it too: ", lasting);
      const Outcome outcome = run(n, lasting);
      happened = outcome.happened;
      threw += outcome.threw ? 1 : 0;
    }
    CHECK(threw > 0);
    // A single failure is got over where the pool has idle memory to give back before it asks again.
    if (lasting) CHECK(threw > 10);
    if (lasting) CHECK(threw + 5 > n);
  }
}

}  // namespace

TEST_CASE("out of memory: a training step, from the optimizer's construction on") {
  for (const std::size_t steps_before : {0U, 1U}) {
    const auto make = [&] {
      auto t = std::make_unique<Training>();
      if (steps_before == 0) return t;
      t->step();
      t->phase = Training::construct;
      return t;
    };
    std::vector<Bits> expected;
    {
      const auto t = make();
      t->before = &expected;
      t->step();
    }
    REQUIRE(expected.size() == Training::done + 1);
    empty_pools();
    std::size_t baseline = 0;
    std::array<bool, Training::done> failed{};
    for_every_allocation([&](std::size_t n, bool lasting) {
      Outcome outcome{};
      {
        const auto t = make();
        outcome = fail(n, lasting, [&] { t->step(); });
        if (outcome.threw) {
          failed[t->phase] = true;
          // zero_grad() is what forward begins with: it cannot throw.
          const auto same_as = t->phase == Training::forward ? Training::backward : t->phase;
          INFO("phase ", t->phase);
          CHECK(t->bits() == expected[same_as]);
          t->step();
        }
        CHECK(t->bits() == expected.back());
      }
      empty_pools();
      if (baseline == 0) baseline = blocks_in_use();
      CHECK(blocks_in_use() == baseline);
      return outcome;
    });
    // construct, forward, backward, again, clip, move, carry: which of them need memory
    const bool cold = steps_before == 0;
    CHECK(failed == std::array{cold, true, true, true, false, cold, false});
  }
}

TEST_CASE("out of memory: gradients of gradients, hooks and kept gradients") {
  CharLM model = make_model(1);
  const Parameters all = parameters(model);
  for (const NamedParameter& p : all) p.set_grad(Tensor::full(p.value().shape(), 1));
  const Bits before = bits_of(all);
  const Tensor x = Tensor::of({2, 2, embed}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3});
  const auto penalty = [&] {
    Tape tape = Tape::evaluation();
    const Var in = tape.leaf(x);
    const auto [h, next] = model.lstm(tape, in);
    hook(h, [](const Var& d) { return d * 2.0; });
    retain_grad(h);
    const Vars d = tape.gradient(sum(square(h)), {in}, {.create_graph = true});
    tape.backward(sum(square(d[0])));
  };
  const auto restore = [&] {
    for (const NamedParameter& p : all) p.set_grad(Tensor::full(p.value().shape(), 1));
  };
  penalty();
  const Bits after = bits_of(all);
  restore();
  std::size_t baseline = 0;
  for_every_allocation([&](std::size_t n, bool lasting) {
    const Outcome outcome = fail(n, lasting, penalty);
    if (outcome.threw) {
      CHECK(bits_of(all) == before);
      penalty();
    }
    CHECK(bits_of(all) == after);
    restore();
    empty_pools();
    if (baseline == 0) baseline = blocks_in_use();
    CHECK(blocks_in_use() == baseline);
    return outcome;
  });
}

TEST_CASE("out of memory: a tape that was thrown at goes on") {
  Parameter a(Tensor::scalar(2)), b(Tensor::scalar(3)), c(Tensor::scalar(5));
  for_every_allocation([&](std::size_t n, bool lasting) {
    for (Parameter* p : {&a, &b, &c}) p->zero_grad();
    empty_pools();
    Tape tape;
    Var y;
    const auto forward = [&] { y = square(tape.leaf(a)) * tape.leaf(b) * tape.leaf(c); };
    const Outcome outcome = fail(n, lasting, forward);
    if (outcome.threw) forward();
    tape.backward(y);
    CHECK(a.grad().item() == 60);
    CHECK(b.grad().item() == 20);
    CHECK(c.grad().item() == 12);
    return outcome;
  });
}

TEST_CASE("out of memory: a file is the old one or the new one") {
  const TempFolder folder;
  CharLM from = make_model(1), to = make_model(2);
  const auto path = folder / "model";
  save_parameters(path, parameters(to));
  const std::string old_file = slurp(path);
  const auto save = [&] { save_parameters(path, parameters(from), {{"name", "value"}}); };
  save();
  const std::string new_file = slurp(path);
  for_every_allocation([&](std::size_t n, bool lasting) {
    spill(path, old_file);
    const Outcome outcome = fail(n, lasting, save);
    CHECK(slurp(path) == (outcome.threw ? old_file : new_file));
    CHECK(folder.names() == std::set<std::string>{"model"});
    return outcome;
  });
}

TEST_CASE("out of memory: loading, and SGD's first step") {
  const TempFolder folder;
  CharLM from = make_model(1), into = make_model(2);
  const Parameters source = parameters(from), target = parameters(into);
  save_parameters(folder / "model", source);
  const Bits before = bits_of(target), wanted = bits_of(source);
  std::vector<Tensor> old;
  for (const NamedParameter& p : target) old.push_back(p.value().clone());
  for_every_allocation([&](std::size_t n, bool lasting) {
    const Outcome outcome = fail(n, lasting, [&] { load_parameters(folder / "model", target); });
    CHECK(bits_of(target) == (outcome.threw ? before : wanted));
    for (std::size_t i = 0; i < target.size(); ++i) target[i].set_value(old[i]);
    return outcome;
  });

  for (const NamedParameter& p : source) p.set_grad(Tensor::full(p.value().shape(), 1));
  const auto train = [&](std::size_t n, bool lasting) {
    load_parameters(folder / "model", source);
    SGD sgd(source, {.lr = 0.1, .momentum = 0.9});
    const Bits start = bits_of(source);
    const Outcome outcome = fail(n, lasting, [&] { sgd.step(); });
    if (outcome.threw) {
      CHECK(bits_of(source) == start);
      sgd.step();
    }
    return outcome;
  };
  train(SIZE_MAX / 2, false);
  const Bits moved = bits_of(source);
  for_every_allocation([&](std::size_t n, bool lasting) {
    const Outcome outcome = train(n, lasting);
    CHECK(bits_of(source) == moved);
    return outcome;
  });
}

TEST_SUITE_END();
