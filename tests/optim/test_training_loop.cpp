#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../../core/data/batches.h"
#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../core/io/safetensors.h"
#include "../../optim/training/loop.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Writes down all that it is told; ends the training at a step or an epoch.
struct Witness {
  std::uint64_t last_step = 0, last_epoch = 0;
  std::vector<TrainingStep> steps = {};
  std::vector<TrainingEpoch> epochs = {};
  std::vector<TrainingEnd> ends = {};

  std::string on_step(const TrainingStep& step) {
    steps.push_back(step);
    return step.step == last_step ? "the witness has seen enough steps" : "";
  }
  std::string on_epoch(const TrainingEpoch& epoch) {
    epochs.push_back(epoch);
    return epoch.epoch == last_epoch ? "the witness has seen enough epochs" : "";
  }
  void on_end(const TrainingEnd& end) { ends.push_back(end); }
};
struct EndsOnly {
  std::string why = "";
  void on_end(const TrainingEnd& end) { why = end.why; }
};
static_assert(TrainingCallback<Witness> && TrainingCallback<EndsOnly> && !TrainingCallback<int>);

const std::vector<double> three{3, 5, 10};
StepLoss halved(double x) { return x / 2; }

}  // namespace

TEST_CASE("TrainingLoop: callbacks see each step and each epoch, with means over the targets") {
  TrainingLoop loop;
  Witness witness;
  int evaluations = 0;
  const TrainingEnd end = loop.run(
      2, three, [](double x) { return StepLoss(x, x == 10 ? 2 : 1); },
      [&] {
        return Figures{{"valid", 0.5 * ++evaluations}};
      },
      witness);
  CHECK(end.cause == TrainingEnd::Cause::done);
  CHECK(end.why.empty());
  REQUIRE(witness.steps.size() == 6);
  CHECK(witness.steps[1].step == 2);
  CHECK(witness.steps[1].epoch == 1);
  CHECK(witness.steps[1].epochs == 2);
  CHECK(witness.steps[1].loss == 5);
  CHECK(witness.steps[1].mean_loss == 4);
  CHECK(witness.steps[1].done == doctest::Approx(1.0 / 3));
  CHECK(witness.steps[3].mean_loss == 3);
  CHECK(witness.steps[5].done == 1);
  REQUIRE(witness.epochs.size() == 2);
  CHECK(witness.epochs[1].epoch == 2);
  CHECK(witness.epochs[1].step == 6);
  CHECK(witness.epochs[1].figures == Figures{{"train", 7}, {"valid", 1}});
  CHECK(witness.epochs[1]["train"] == (3 + 5 + 2 * 10) / 4.0);
  CHECK(witness.ends.size() == 1);
  CHECK(message_of([&] { (void)witness.epochs[1]["vaild"]; }) ==
        "[TrainingEpoch] there is no figure vaild: there are train, valid");
}

TEST_CASE("TrainingLoop: a second call goes on, wherever the first one ended") {
  for (const std::uint64_t stop_at : {1U, 2U, 3U, 4U, 6U}) {
    std::vector<double> seen;
    TrainingLoop loop;
    Witness first{.last_step = stop_at}, second;
    const auto train = [&](double x) {
      seen.push_back(x);
      return halved(x);
    };
    const TrainingEnd end = loop.run(3, three, train, first);
    CHECK(end.cause == TrainingEnd::Cause::stopped);
    CHECK(end.why == "the witness has seen enough steps");
    CHECK(loop.step() == stop_at);
    CHECK(first.epochs.size() == (stop_at - 1) / 3);  // the end of its last epoch is still to come
    CHECK(loop.run(3, three, train, second).why.empty());
    CHECK(loop.run(3, three, train, second).why.empty());  // nothing is left to do
    CHECK(seen == std::vector<double>{3, 5, 10, 3, 5, 10, 3, 5, 10});
    CHECK(first.epochs.size() + second.epochs.size() == 3);
    CHECK(second.epochs[0]["train"] == 3);
    CHECK(loop.epoch() == 3);
  }
}

TEST_CASE("TrainingLoop: Batches go on by themselves, wherever the first call ended") {
  const TempFolder folder;
  std::vector<std::vector<std::size_t>> all;
  const auto train = [](auto& seen) {
    return [&seen](const std::vector<std::size_t>& places) {
      seen.push_back(places);
      return 1.0;
    };
  };
  Batches whole(7, 3, {.shuffle = 5});
  (void)TrainingLoop().run(3, whole, train(all));
  CHECK(all.size() == 9);
  for (const std::uint64_t stop_at : {1U, 2U, 3U, 4U, 6U}) {
    std::vector<std::vector<std::size_t>> seen;
    TrainingLoop loop, again;
    Witness first{.last_step = stop_at}, second;
    Batches batches(7, 3, {.shuffle = 5}), others(7, 3, {.shuffle = 5});
    (void)loop.run(3, batches, train(seen), first);
    CHECK(first.steps[0].done == doctest::Approx(1.0 / 9));
    save_state(folder / "s", [&](Archive& a) { a("loop", loop), a("batches", batches); });
    load_state(folder / "s", [&](Archive& a) { a("loop", again), a("batches", others); });
    (void)again.run(3, others, train(seen), second);
    CHECK(seen == all);
    CHECK(first.epochs.size() + second.epochs.size() == 3);
  }
}

TEST_CASE("TrainingLoop: all callbacks are called, and the first reason counts") {
  TrainingLoop loop;
  Witness early{.last_epoch = 2}, also{.last_epoch = 2};
  EndsOnly ends;
  const TrainingEnd end = loop.run(5, three, halved, early, also, ends);
  CHECK(end.why == "the witness has seen enough epochs");
  CHECK(loop.epoch() == 2);
  CHECK(also.epochs.size() == 2);
  CHECK(ends.why == end.why);
}

TEST_CASE("TrainingLoop: a loss that is not finite ends the training, and says where") {
  for (const double bad : {std::nan(""), -std::nan(""), double(INFINITY)}) {
    TrainingLoop loop;
    Witness witness;
    const TrainingEnd end = loop.run(
        4, three, [&](double x) { return loop.step() == 4 ? bad : x; }, witness);
    CHECK(end.cause == TrainingEnd::Cause::diverged);
    CHECK(end.why == "the loss of step 5 (epoch 2) is " +
                         std::string(std::isnan(bad) ? "nan" : "infinite") +
                         ": the weights are useless; a lower learning rate or clip_norm is the "
                         "usual cure");
    CHECK(witness.steps.size() == 5);
    CHECK(witness.ends.size() == 1);
  }
}

TEST_CASE("TrainingLoop: an epoch may be made for its number, and without a size") {
  TrainingLoop loop;
  Witness witness;
  std::vector<double> seen;
  const auto source = [](std::uint64_t epoch) {
    return std::vector<double>(epoch + 1, static_cast<double>(epoch));
  };
  (void)loop.run(
      3, source, [&](double x) { return seen.push_back(x), x; }, witness);
  CHECK(seen == std::vector<double>{0, 1, 1, 2, 2, 2});
  CHECK(witness.steps[1].done == doctest::Approx(1.5 / 3));

  struct Endless {  // an input range that does not know its length
    struct End {};
    struct Iterator {
      int k = 0;
      double operator*() const { return k; }
      Iterator& operator++() { return ++k, *this; }
      bool operator==(End) const { return k == 2; }
    };
    Iterator begin() const { return {}; }
    End end() const { return {}; }
  };
  TrainingLoop other;
  Witness blind;
  (void)other.run(
      1, Endless{}, [](double x) { return x; }, blind);
  CHECK(blind.steps.size() == 2);
  CHECK(blind.steps[1].done == 0);
}

TEST_CASE("TrainingLoop: a callback's limit counts where it is nearer than the last epoch") {
  struct Limit {
    double share;
    std::string on_step(const TrainingStep&) const { return ""; }
    double used() const { return share; }
  };
  TrainingLoop loop;
  Limit far{0.1}, near{0.5};
  Witness witness;
  (void)loop.run(1, three, halved, far, near, witness);
  CHECK(witness.steps[0].done == 0.5);
  CHECK(witness.steps[1].done == doctest::Approx(2.0 / 3));
  Limit over{1};
  CHECK(loop.run(2, three, halved, over, witness).why ==
        "a limit was used up before the first step");
  CHECK(loop.step() == 3);
}

TEST_CASE("TrainingLoop: an evaluation may be a number, and callbacks temporaries") {
  TrainingLoop loop;
  Witness witness;
  (void)loop.run(
      1, three, halved, [] { return 0.5; }, witness, EndsOnly{});
  CHECK(witness.epochs[0]["valid"] == 0.5);
}

TEST_CASE("TrainingLoop: its position is saved and restored in the middle of an epoch") {
  const TempFolder folder;
  TrainingLoop loop;
  Witness stops{.last_step = 5};
  (void)loop.run(3, three, halved, stops);
  save_state(folder / "loop.state", [&](Archive& a) { a("loop", loop); });
  TrainingLoop other;
  load_state(folder / "loop.state", [&](Archive& a) { a("loop", other); });
  Witness witness;
  std::vector<double> seen;
  (void)other.run(
      3, three, [&](double x) { return seen.push_back(x), halved(x); }, witness);
  CHECK(seen == std::vector<double>{10, 3, 5, 10});
  CHECK(witness.epochs[0].figures == Figures{{"train", 3}});
  CHECK(witness.steps[0].step == 6);

  TensorFile file = load_tensors(folder / "loop.state");
  file.metadata["loop.steps_of_epoch"] = "6";
  save_tensors(folder / "wrong", file);
  CHECK(message_of([&] {
          load_state(folder / "wrong", [&](Archive& a) { a("loop", other); });
        }).find("loop.steps_of_epoch is '6' but must be a number in [0, 5]") != std::string::npos);
}

TEST_CASE("TrainingLoop: an exception leaves the position behind the last whole step") {
  TrainingLoop loop;
  bool fails = true;
  std::vector<double> seen;
  const auto train = [&](double x) {
    if (x == 10 && fails) throw UsageError("[test] no");
    return seen.push_back(x), x;
  };
  CHECK_THROWS_AS(loop.run(1, three, train), UsageError);
  CHECK(loop.step() == 2);
  fails = false;
  (void)loop.run(1, three, train);
  CHECK(seen == three);
}

TEST_CASE(
    "TrainingLoop: after an evaluation that threw no step is done again, of Batches neither") {
  const TempFolder folder;
  TrainingLoop loop, again;
  Batches batches(4, 1), others(4, 1);
  bool fails = true;
  std::size_t steps = 0, evaluations = 0;
  const auto train = [&](const auto&) { return ++steps, 1.0; };
  const auto evaluate = [&] {
    if (fails) throw UsageError("[test] no");
    return ++evaluations, Figures{};
  };
  CHECK_THROWS_AS(loop.run(2, batches, train, evaluate), UsageError);
  save_state(folder / "s", [&](Archive& a) { a("loop", loop), a("batches", batches); });
  fails = false;
  (void)loop.run(2, batches, train, evaluate);
  CHECK(steps == 8);
  CHECK(evaluations == 2);
  CHECK(batches.epoch() == 2);

  load_state(folder / "s", [&](Archive& a) { a("loop", again), a("batches", others); });
  (void)again.run(2, others, train, evaluate);
  CHECK(steps == 8 + 4);
  CHECK(evaluations == 2 + 2);
}

TEST_CASE("TrainingLoop: a batch whose step threw comes again, one whose callback threw does not") {
  struct Throws {
    std::uint64_t step;
    std::string on_step(const TrainingStep& s) const {
      if (s.step == step) throw UsageError("[test] no");
      return "";
    }
  };
  Batches batches(5, 1, {.shuffle = 3}), whole(5, 1, {.shuffle = 3});
  std::vector<std::vector<std::size_t>> seen, all;
  (void)TrainingLoop().run(2, whole,
                           [&](const auto& places) { return all.push_back(places), 1.0; });
  TrainingLoop loop;
  int throws = 2;
  const auto train = [&](const auto& places) {
    if (loop.step() == 6 && throws-- > 0) throw UsageError("[test] no");
    if (loop.step() == 7 && throws-- > -2) return StepLoss(1, 0);  // refused by the loop
    return seen.push_back(places), StepLoss(1);
  };
  int exceptions = 0;
  for (bool ended = false; !ended;) {
    try {
      (void)loop.run(2, batches, train, Throws{4});
      ended = true;
    } catch (const UsageError&) {
      ++exceptions;
    }
  }
  CHECK(exceptions == 4);
  CHECK(seen == all);
  CHECK(loop.step() == 10);
}

TEST_CASE("TrainingLoop: a function may return Batches, its own or new ones") {
  for (const bool own : {true, false}) {
    Batches batches(5, 2);
    std::vector<std::size_t> seen;
    TrainingLoop loop;
    Witness stops{.last_step = 2};
    const auto train = [&](const auto& places) { return seen.push_back(places[0]), 1.0; };
    const auto the_same = [&](std::uint64_t) -> Batches& { return batches; };
    const auto new_ones = [](std::uint64_t) { return Batches(5, 2); };
    for (int call = 0; call < 2; ++call) {
      own ? (void)loop.run(2, the_same, train, stops) : (void)loop.run(2, new_ones, train, stops);
    }
    CHECK(seen == std::vector<std::size_t>{0, 2, 4, 0, 2, 4});
  }
}

TEST_CASE("TrainingLoop: an epoch that goes on after a loss that is not finite can be saved") {
  const TempFolder folder;
  TrainingLoop loop, again;
  Witness stops{.last_step = 3}, witness;
  const auto train = [&](double x) { return loop.step() == 1 ? std::nan("") : x; };
  CHECK(loop.run(1, three, train).cause == TrainingEnd::Cause::diverged);
  CHECK(loop.run(1, three, train, stops).cause == TrainingEnd::Cause::stopped);
  CHECK(stops.steps[0].mean_loss == 6.5);
  save_state(folder / "s", [&](Archive& a) { a("loop", loop); });
  load_state(folder / "s", [&](Archive& a) { a("loop", again); });
  (void)again.run(1, three, train, witness);
  CHECK(witness.epochs[0]["train"] == 6.5);
}

TEST_CASE("TrainingLoop: what is refused") {
  TrainingLoop loop;
  CHECK(message_of([&] { loop.run(1, std::vector<double>{}, halved); }) ==
        "[TrainingLoop] the epoch has no steps: the source must have an element");
  CHECK(message_of([&] { loop.run(1, three, [](double x) { return StepLoss(x, 0); }); }) ==
        "[TrainingLoop] step 1 has a loss over 0 targets: their number must be finite and > 0");
  CHECK(loop.step() == 0);
}
