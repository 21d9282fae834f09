#include <doctest/doctest.h>
#include <sys/prctl.h>

#include <fstream>
#include <optional>
#include <string>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/tape.h"
#include "../../core/data/windows.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../support/char_lm.h"
#include "../support/extended.h"
#include "../support/heap.h"

TEST_SUITE_BEGIN("long runs");

// Training for days must not grow: neither what the heap has given (the pool takes its blocks from
// operator new, so they count), nor what the system says of this process.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// KiB that this process has in memory and no file behind them; nothing if the system does not say.
/// (What statm says is cheaper, and wrong by up to 64 pages for each processor.)
std::optional<std::size_t> resident() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;) {
    std::size_t kib = 0;
    if (word == "Anonymous:" && rollup >> kib) return kib;
  }
  return {};
}

/// Runs `step` many times; nothing may have grown since the first few.
template <class Step>
void check_growth(std::size_t steps, Step&& step) {
  constexpr std::size_t warm_up = 100;
  ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);  // or the system might make pages huge meanwhile
  std::size_t blocks = 0, bytes = 0;
  std::optional<std::size_t> before;
  for (std::size_t i = 0; i < warm_up + steps; ++i) {
    step(i);
    if (i + 1 != warm_up) continue;
    before = resident();
    blocks = blocks_in_use();
    bytes = bytes_in_use();
  }
  CHECK(blocks_in_use() == blocks);
  CHECK(bytes_in_use() < bytes + 1000);
  if (sanitized) return;  // it keeps what was freed
  if (!before) {
    MESSAGE("skipped: memory of the process: the system does not say");
    return;
  }
  CHECK(*resident() <= *before + 24);  // 1,000 of malloc's smallest blocks are 31 KiB
}

}  // namespace

TEST_CASE("growth: training, with a state that is carried from pass to pass") {
  Rng rng(1);
  CharLM model{
      {5, 3, rng}, {{.input = 3, .hidden = 4, .layers = 2, .dropout = 0.2}, rng}, {4, 5, rng}};
  Adam adam(parameters(model));
  Tensor ids = Tensor::empty({2 * 4 * 3 + 1}, DType::int32);
  for (std::size_t i = 0; i < ids.numel(); ++i) {
    ids.mutable_data<std::int32_t>()[i] = static_cast<std::int32_t>(i * i % 5);
  }
  const StreamWindows windows(ids, 4, 2);
  LSTMState state = model.lstm.zero_state(2);
  check_growth(length(2'000, 100'000), [&](std::size_t i) {
    const Window w = windows.at(i % windows.size());
    if (w.first) state = model.lstm.zero_state(2);
    Tape tape = Tape::training({.seed = 1, .pass = i});
    auto [h, next] = model.lstm(tape, model.embed(tape, w.inputs), state);
    const Var loss = cross_entropy(model.head(tape, h), w.targets);
    adam.zero_grad();
    tape.backward(loss);
    clip_grad_norm(adam.parameters(), 1.0);
    adam.step();
    state = next.detach();
  });
}

TEST_CASE("growth: a million passes over one endless sequence") {
  Rng rng(1);
  const LSTM lstm({.input = 1, .hidden = 2}, rng);
  const Tensor x = Tensor::full({2, 1, 1}, 0.5);
  LSTMState state = lstm.zero_state(1);
  check_growth(length(20'000, 1'000'000), [&](std::size_t) {
    Tape tape;
    const auto [h, next] = lstm(tape, x, state);
    tape.backward(sum(square(h)));
    state = next.detach();
  });
  CHECK(state.h.value().at(0) != 0);
}

TEST_CASE("growth: passes of many lengths, gradients of gradients, and passes that are dropped") {
  Rng rng(1);
  const LSTM lstm({.input = 1, .hidden = 2}, rng);
  const Tensor x = Tensor::full({7, 1, 1}, 0.5);
  check_growth(length(1'000, 50'000), [&](std::size_t i) {
    Tape tape = i % 3 == 0 ? Tape::training({.seed = 1, .pass = i}) : Tape::evaluation();
    const Var in = tape.leaf(x.slice(0, 1 + i % 7));
    const Var h = lstm(tape, in).y;
    if (i % 2 == 0) return;
    const Vars d = tape.gradient(sum(square(h)), {in}, {.create_graph = i % 5 == 0});
    if (i % 5 == 0) tape.backward(sum(square(d[0])));
  });
}

TEST_SUITE_END();
