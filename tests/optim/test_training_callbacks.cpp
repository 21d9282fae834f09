#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "../../autograd/parameters.h"
#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../optim/sgd.h"
#include "../../optim/training/checkpoint.h"
#include "../../optim/training/early_stopping.h"
#include "../../optim/training/history.h"
#include "../../optim/training/signal_guard.h"
#include "../../optim/training/time_limit.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Two Parameters that share one under another name.
struct Weights {
  Parameter a{Tensor::zeros({2})}, b{Tensor::zeros({3}, DType::float64)}, tied = a.share();
  Parameters all() const { return {{"a", a}, {"b", b}, {"tied", tied}}; }
  void set(double x) {
    a.set_value(Tensor::full({2}, x));
    b.set_value(Tensor::full({3}, -x, DType::float64));
  }
  bool are(double x) const { return a.value().at(1) == x && b.value().at(2) == -x; }
};

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TrainingEpoch epoch_of(std::uint64_t n, Figures figures) {
  return {.epoch = n, .epochs = 9, .step = n, .figures = std::move(figures)};
}

}  // namespace

TEST_CASE("EarlyStopping: keeps the best weights, and ends after epochs without improvement") {
  Weights w;
  EarlyStopping best(w.all(), {.min_change = 0.1, .patience = 3});
  std::vector<std::string> whys;
  double x = 0;
  for (const double figure : {5.0, not_a_number, 4.0, 3.95, 3.95, 3.95}) {
    w.set(++x);
    whys.push_back(best.on_epoch(epoch_of(1, {{"train", 0}, {"valid", figure}})));
  }
  CHECK(whys == std::vector<std::string>{"", "", "", "", "",
                                         "valid was not better than 4, of epoch 3, for 3 epochs"});
  CHECK(best.best() == 4);
  CHECK(best.best_epoch() == 3);
  best.restore();
  CHECK(w.are(3));
}

TEST_CASE("EarlyStopping: maximises, counts from the last improvement, and never takes NaN") {
  Weights w;
  EarlyStopping best(w.all(), {.figure = "accuracy", .maximise = true, .patience = 2});
  CHECK(best.add(not_a_number).empty());
  CHECK(!best.has_best());
  CHECK(message_of([&] { best.restore(); }) ==
        "[EarlyStopping] there is no best epoch yet: no accuracy that is a number was noted");
  CHECK(best.add(not_a_number) == "accuracy was NaN for 2 epochs");
  CHECK(best.add(0.5).empty());
  CHECK(best.add(0.5).empty());
  CHECK(best.add(0.6).empty());
  CHECK(best.add(not_a_number).empty());
  CHECK(best.add(0.1) == "accuracy was not better than 0.6, of epoch 5, for 2 epochs");
  CHECK(best.best_epoch() == 5);
}

TEST_CASE("EarlyStopping: what is saved goes on in a new object") {
  const TempFolder folder;
  for (const bool has_best : {false, true}) {
    Weights w, other;
    EarlyStopping best(w.all(), {.patience = 2}), again(other.all(), {.patience = 2});
    w.set(7);
    (void)best.add(has_best ? 1 : not_a_number);
    save_state(folder / "s", [&](Archive& a) { a("best", best); });
    load_state(folder / "s", [&](Archive& a) { a("best", again); });
    CHECK(again.has_best() == has_best);
    CHECK(!again.add(not_a_number).empty() == !has_best);
    if (has_best) again.restore();
    CHECK(other.are(has_best ? 7 : 0));
  }
  Weights w;
  EarlyStopping best(w.all());
  std::uint64_t epochs = 1, best_epoch = 2;
  double figure = 0.5;
  save_state(folder / "odd", [&](Archive& a) {
    a.fact("best.figure", "valid"), a.fact("best.maximise", 0);
    a("best.epochs", epochs), a("best.best_epoch", best_epoch), a("best.best", figure);
    a("best.weights", w.all());
  });
  CHECK(message_of([&] {
          load_state(folder / "odd", [&](Archive& a) { a("best", best); });
        }).find("best.best_epoch is '2' but must be a number in [0, 1]") != std::string::npos);
  EarlyStopping other(w.all(), {.figure = "loss"});
  CHECK(message_of([&] {
          load_state(folder / "s", [&](Archive& a) { a("best", other); });
        }).ends_with("best.figure is 'valid' in the file but 'loss' here"));
}

TEST_CASE("EarlyStopping: a training that has ended by it goes on by no step") {
  const Weights w;
  EarlyStopping best(w.all(), {.patience = 2});
  TrainingLoop loop;
  const std::vector<double> data{1, 2};
  const auto train = [](double x) { return x; };
  const auto worse = [&] { return static_cast<double>(loop.epoch()); };
  CHECK(loop.run(9, data, train, worse, best).why ==
        "valid was not better than 0, of epoch 1, for 2 epochs");
  CHECK(loop.epoch() == 3);
  CHECK(!loop.run(9, data, train, worse, best).why.empty());
  CHECK(loop.step() == 6);
}

TEST_CASE("EarlyStopping: what is refused") {
  const Weights w;
  CHECK(message_of([] { EarlyStopping best(Parameters{}); }) ==
        "[EarlyStopping] there are no parameters: give those of the model");
  CHECK(message_of([&] { EarlyStopping best(w.all(), {.patience = 0}); }) ==
        "[EarlyStopping] patience is 0: it must be at least 1 epoch");
  CHECK(message_of([&] { EarlyStopping best(w.all(), {.min_change = -1}); }) ==
        "[EarlyStopping] min_change is -1: it must not be negative or NaN");
  EarlyStopping best(w.all());
  CHECK(message_of([&] {
          (void)best.on_epoch(epoch_of(1, {{"train", 1}}));
        }) == "[TrainingEpoch] there is no figure valid: there are train");
}

TEST_CASE("History: figures by name, and files of them") {
  const TempFolder folder;
  History history;
  CHECK(history.size() == 0);
  CHECK(message_of([&] { (void)history["valid"]; }) ==
        "[History] there is no figure valid: there are none yet");
  (void)history.on_epoch(epoch_of(1, {{"train", 0.1}, {"a,\"b\"", not_a_number}}));
  history.add({{"a,\"b\"", -INFINITY}, {"train", 1e-300}});
  CHECK(history.size() == 2);
  CHECK(history["train"] == std::vector<double>{0.1, 1e-300});
  history.write_csv(folder / "h.csv");
  CHECK(content(folder / "h.csv") == "epoch,train,\"a,\"\"b\"\"\"\n1,0.1,nan\n2,1e-300,-inf\n");
  history.write_jsonl(folder / "h.jsonl");
  CHECK(content(folder / "h.jsonl") ==
        "{\"epoch\":1,\"train\":0.1,\"a,\\\"b\\\"\":null}\n"
        "{\"epoch\":2,\"train\":1e-300,\"a,\\\"b\\\"\":null}\n");
  CHECK(message_of([&] { (void)history["valid"]; }) ==
        "[History] there is no figure valid: there are train, a,\"b\"");
  for (const Figures& wrong :
       {Figures{{"train", 1}}, Figures{{"train", 1}, {"b", 1}}, Figures{{"train", 1}, {"train", 1}},
        Figures{{"train", 1}, {"a,\"b\"", 1}, {"c", 1}}}) {
    CHECK_THROWS_AS(history.add(wrong), UsageError);
  }
  CHECK(history.size() == 2);
  CHECK(message_of([] { History().add({}); }) ==
        "[History] epoch 1 has the figures (): they must be those of the first epoch, (), at least "
        "one");
}

TEST_CASE("History: more figures than can be restored are refused") {
  Figures figures;
  for (int k = 0; k < 1000; ++k) figures.emplace_back("f" + std::to_string(k), k);
  const TempFolder folder;
  History history, other;
  history.add(figures);
  save_state(folder / "s", [&](Archive& a) { a("history", history); });
  load_state(folder / "s", [&](Archive& a) { a("history", other); });
  CHECK(other["f999"] == std::vector<double>{999});
  figures.emplace_back("more", 1);
  CHECK(message_of([&] { History().add(figures); }) ==
        "[History] there are 1001 figures: it takes at most 1000 an epoch");
}

TEST_CASE("History and TrainingLog: a figure that would hide another one is refused") {
  const TempFolder folder;
  History history;
  TrainingLog log(folder / "log.jsonl");
  CHECK(message_of([&] {
          history.add({{"a", 1}, {"b", 2}, {"a", 3}});
        }) == "[History] the figure a is there twice: each must have a name of its own");
  CHECK(message_of([&] {
          log.add(1, {{"a", 1}, {"a", 2}});
        }) == "[TrainingLog] the figure a is there twice: each must have a name of its own");
  CHECK(
      message_of([&] {
        log.add(1, {{"epoch", 1}});
      }) ==
      "[TrainingLog] the figure epoch is there twice: each must have a name of its own, and epoch "
      "is the number's");
  CHECK(history.size() == 0);
  CHECK(content(folder / "log.jsonl").empty());
}

TEST_CASE("History: what is saved goes on in a new object, whatever that had") {
  const TempFolder folder;
  History history, none, other;
  history.add({{"a", 1}, {"b", not_a_number}}), history.add({{"a", 3}, {"b", 4}});
  other.add({{"c", 5}});
  const auto copy = [&](History& from, History& to) {
    save_state(folder / "s", [&](Archive& a) { a("history", from); });
    load_state(folder / "s", [&](Archive& a) { a("history", to); });
  };
  copy(history, other);
  CHECK(other.names() == std::vector<std::string>{"a", "b"});
  CHECK(other["a"] == std::vector<double>{1, 3});
  CHECK(std::isnan(other["b"][0]));
  copy(none, other);
  CHECK(other.size() == 0);
  CHECK(other.names().empty());
}

TEST_CASE("TrainingLog: appends a line an epoch, after a program that was killed too") {
  const TempFolder folder;
  for (const char* const name : {"log.csv", "log.jsonl"}) {
    const auto path = folder / name;
    History history;
    {
      TrainingLog log(path);
      CHECK(content(path).empty());
      (void)log.on_epoch(epoch_of(1, {{"train", 0.5}}));
      history.add({{"train", 0.5}});
    }
    write(path, content(path) + "{\"epo");  // cut off in the middle of a line
    TrainingLog log(path);
    log.add(2, {{"train", not_a_number}});
    history.add({{"train", not_a_number}});
    std::string(name).ends_with("csv") ? history.write_csv(folder / "whole")
                                       : history.write_jsonl(folder / "whole");
    CHECK(content(path) == content(folder / "whole"));
  }
  TrainingLog log(folder / "log.csv");
  CHECK(message_of([&] {
          log.add(3, {{"valid", 1}});
        })
            .ends_with("/log.csv: its first line is epoch,train but the columns are epoch,valid: "
                       "give another file"));
  write(folder / "half.csv", "epoch,tr");  // not even a whole first line
  TrainingLog half(folder / "half.csv");
  half.add(1, {{"train", 2}});
  CHECK(content(folder / "half.csv") == "epoch,train\n1,2\n");
  CHECK(message_of([] { TrainingLog other("log.txt"); }) ==
        "[TrainingLog] log.txt: its name must end in .csv or .jsonl");
  CHECK_THROWS_AS(TrainingLog("no/such/folder/log.csv"), FileError);
}

TEST_CASE("TrainingLog: epochs that come again take the place of those that were undone") {
  const TempFolder folder;
  for (const std::string kind : {"csv", "jsonl"}) {
    const auto path = folder / ("log." + kind);
    const auto add = [](TrainingLog& log, std::uint64_t first, std::uint64_t last, double x) {
      for (std::uint64_t n = first; n <= last; ++n) log.add(n, {{"train", x}});
    };
    const auto line = [&](const std::string& n, const std::string& x) {
      return kind == "csv" ? n + "," + x + "\n" : "{\"epoch\":" + n + ",\"train\":" + x + ".0}\n";
    };
    const std::string header = kind == "csv" ? "epoch,train\n" : "";
    TrainingLog first(path), again(path);
    add(first, 1, 11, 1);
    add(again, 3, 4, 2);  // from a checkpoint that was saved after epoch 2
    CHECK(content(path) ==
          header + line("1", "1") + line("2", "1") + line("3", "2") + line("4", "2"));
    add(again, 2, 3, 3);  // an older state was restored in the same program
    CHECK(content(path) == header + line("1", "1") + line("2", "3") + line("3", "3"));
    TrainingLog anew(path);
    add(anew, 1, 1, 4);
    CHECK(content(path) == header + line("1", "4"));
  }
  write(folder / "log.jsonl", "{\"run\":7}\n{\"epoch\":1}\n{\"epoch\":2}\n{\"note\":\"a\"}\n");
  TrainingLog log(folder / "log.jsonl");
  log.add(2, {{"a", 1}});  // other programs' lines stay
  CHECK(content(folder / "log.jsonl") ==
        "{\"run\":7}\n{\"epoch\":1}\n{\"note\":\"a\"}\n{\"epoch\":2,\"a\":1.0}\n");
  log.add(0, {{"a", 2}});  // of a loop by hand that counts from 0
  CHECK(content(folder / "log.jsonl") ==
        "{\"run\":7}\n{\"note\":\"a\"}\n{\"epoch\":0,\"a\":2.0}\n");
}

TEST_CASE("TrainingLog: a name with line breaks is the same column in the next program") {
  const TempFolder folder;
  const std::string whole = "epoch,\"a,\nb\"\n1,2\n2,3\n";
  for (const std::string there : {"", "epoch,\"a,\n", "epoch,\"a,\nb\"\n", "epoch,\"a,\nb\"\n1"}) {
    write(folder / "log.csv", there);
    for (std::uint64_t n = 1; n <= 2; ++n)
      TrainingLog(folder / "log.csv").add(n, {{"a,\nb", static_cast<double>(n + 1)}});
    CHECK(content(folder / "log.csv") == whole);
  }
  CHECK(message_of([&] {
          TrainingLog(folder / "log.csv").add(3, {{"a", 4}});
        })
            .ends_with("/log.csv: its first line is epoch,\\\"a, but the columns are epoch,a: give "
                       "another file"));
  TrainingLog log(folder / "log.csv");
  log.add(3, {{"a,\nb", 4}});
  CHECK_THROWS_AS(log.add(4, {{"a", 5}}), FileError);  // in one program, too
  CHECK(content(folder / "log.csv") == whole + "3,4\n");
}

TEST_CASE("TrainingLog: a file that was moved away meanwhile begins anew, with its header") {
  const TempFolder folder;
  TrainingLog log(folder / "log.csv");
  log.add(1, {{"a", 2}});
  std::filesystem::remove(folder / "log.csv");
  log.add(2, {{"a", 3}});
  CHECK(content(folder / "log.csv") == "epoch,a\n2,3\n");
}

TEST_CASE("Checkpoint: saves at epochs, now and then within them, at the end, and never NaN") {
  const TempFolder folder;
  const auto path = folder / "run.state";
  std::uint64_t number = 0;
  const auto state = [&](Archive& a) { a("number", number); };
  const auto saved = [&] {
    std::uint64_t stored = 0;
    load_state(path, [&](Archive& a) { a("number", stored); });
    return stored;
  };
  Checkpoint checkpoint(path, state, {.epochs = 2});
  CHECK(!checkpoint.resume());
  CHECK(message_of([&] {
          Checkpoint twice(path, [&](Archive& a) { a("n", number), a("n", number); });
          (void)twice.resume();
        }) == "[save_state] two parts are called n: give the objects names of their own");
  number = 1;
  (void)checkpoint.on_epoch(epoch_of(1, {}));
  CHECK(!std::filesystem::exists(path));
  (void)checkpoint.on_epoch(epoch_of(2, {}));
  CHECK(saved() == 1);
  number = 2;
  (void)checkpoint.on_step({});
  CHECK(saved() == 1);
  checkpoint.on_end({TrainingEnd::Cause::diverged, "nan"});
  CHECK(saved() == 1);
  checkpoint.on_end({TrainingEnd::Cause::stopped, "SIGINT"});
  CHECK(saved() == 2);
  number = 7;
  checkpoint.on_end({});  // nothing was done since
  CHECK(saved() == 2);

  number = 3;
  Checkpoint often(path, state, {.seconds = 1e-9});
  (void)often.on_step({.loss = not_a_number});
  CHECK(saved() == 2);
  (void)often.on_step({.loss = 1});
  CHECK(saved() == 3);
  number = 9;
  CHECK(often.resume());
  CHECK(number == 3);

  often.remove();
  CHECK(!often.resume());
  often.remove();

  CHECK(message_of([&] { Checkpoint c(path, state, {.seconds = 0}); }) ==
        "[Checkpoint] seconds is 0: it must be > 0");
  CHECK(message_of([&] { Checkpoint c(path, state, {.epochs = 0}); }) ==
        "[Checkpoint] epochs is 0: it must be at least 1");
  CHECK(message_of([&] { Checkpoint c(path, nullptr); }) ==
        "[Checkpoint] there is no state: give a function that names its parts");
  CHECK_THROWS_AS(Checkpoint(folder / "no/folder", state), FileError);
}

TEST_CASE("a training that was stopped and resumed ends with the bits of one that was not") {
  const TempFolder folder;
  struct Run {
    Weights w;
    SGD sgd{w.all().with_prefix("b"), {.lr = 0.1, .momentum = 0.9}};
    EarlyStopping best{w.all(), {.figure = "train"}};
    History history;
    TrainingLoop loop;

    StepLoss train(double x) {
      Tensor grad = Tensor::empty({3}, DType::float64);
      for (std::size_t k = 0; k < 3; ++k)
        grad.mutable_data<double>()[k] = std::sin(w.b.value().at(k) + x);
      w.b.set_grad(grad);
      sgd.step();
      return w.b.value().at(0);
    }
    std::function<void(Archive&)> state() {
      return [this](Archive& a) {
        a("loop", loop), a("weights", w.all()), a("sgd", sgd), a("best", best);
        a("history", history);
      };
    }
  };
  struct StopAfter {
    std::uint64_t step;
    std::string on_step(const TrainingStep& s) const { return s.step == step ? "stop" : ""; }
  };
  const std::vector<double> data{1, 2, 3, 4};
  Run whole;
  (void)whole.loop.run(
      3, data, [&](double x) { return whole.train(x); }, whole.best, whole.history);
  for (const std::uint64_t stop : {1U, 4U, 7U}) {
    std::filesystem::remove(folder / "run");
    {
      Run run;
      StopAfter stops{stop};
      Checkpoint checkpoint(folder / "run", run.state());
      (void)run.loop.run(
          3, data, [&](double x) { return run.train(x); }, run.best, run.history, stops,
          checkpoint);
    }
    Run run;
    Checkpoint checkpoint(folder / "run", run.state());
    REQUIRE(checkpoint.resume());
    (void)run.loop.run(
        3, data, [&](double x) { return run.train(x); }, run.best, run.history, checkpoint);
    for (std::size_t k = 0; k < 3; ++k) CHECK(run.w.b.value().at(k) == whole.w.b.value().at(k));
    CHECK(run.history["train"] == whole.history["train"]);
    CHECK(run.best.best_epoch() == whole.best.best_epoch());
  }
}

TEST_CASE("TimeLimit: ends the training, and counts what was used before") {
  const TempFolder folder;
  CHECK(TimeLimit(INFINITY).on_step({}).empty());
  CHECK(TimeLimit(INFINITY).used() == 0);
  TimeLimit limit(1e-9), long_one(3600);
  CHECK(limit.on_step({.step = 7}) == "the 1e-09 seconds were over after step 7");
  CHECK(limit.used() == 1);
  CHECK(long_one.on_step({}).empty());
  CHECK(long_one.used() < 0.5);
  double used = 3000;
  save_state(folder / "s", [&](Archive& a) { a("seconds", used); });
  load_state(folder / "s", [&](Archive& a) { long_one.state(a); });
  CHECK(long_one.seconds() >= 3000);
  CHECK(long_one.used() > 0.8);
  CHECK(message_of([] { TimeLimit never(0); }) == "[TimeLimit] seconds is 0: it must be > 0");
}

TEST_CASE("SignalGuard: a signal ends the training after its step; afterwards all is as before") {
  REQUIRE(SignalGuard::received() == 0);
  CHECK(SignalGuard::name() == nullptr);
  struct sigaction before {
  }, after{};
  (void)sigaction(SIGINT, nullptr, &before);
  TrainingLoop loop;
  const std::vector<double> data{1, 2, 3};
  {
    SignalGuard guard;
    CHECK(message_of([] { SignalGuard second; }) ==
          "[SignalGuard] there is one already: pass it on, or end its scope first");
    const auto train = [&](double x) {
      if (loop.step() == 1) (void)std::raise(SIGINT);
      return x;
    };
    CHECK(loop.run(2, data, train, guard).why ==
          "SIGINT came: ended after step 2, with what was learned so far");
    CHECK(SignalGuard::received() == SIGINT);
    CHECK(std::string(SignalGuard::name()) == "SIGINT");
    SignalGuard::forget();
    CHECK(loop.run(1, data, train, guard).why.empty());
    CHECK(loop.step() == 3);
  }
  (void)sigaction(SIGINT, nullptr, &after);
  CHECK((after.sa_handler == before.sa_handler));
}

TEST_CASE(
    "SignalGuard: a training with a guard of its own is not ended by an earlier one's signal") {
  const std::vector<double> data{1, 2, 3};
  for (int training = 0; training < 2; ++training) {
    TrainingLoop loop;
    SignalGuard guard;
    CHECK(SignalGuard::received() == 0);
    (void)loop.run(
        2, data, [](double x) { return x; }, guard);
    CHECK(loop.step() == 6);
    (void)std::raise(SIGINT);
    CHECK(!loop.run(
                   3, data, [](double x) { return x; }, guard)
               .why.empty());
    CHECK(loop.step() == 7);
  }
  CHECK(SignalGuard::received() == SIGINT);  // for the exit status of a program
  SignalGuard::forget();
}
