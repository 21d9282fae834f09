// Covers core/data/leakage: a line for each way in which test rows get into the training, and none
// where nothing leaks.

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "../../core/data/leakage.h"
#include "../../core/error.h"
#include "../../core/rng.h"
#include "../support/message.h"

using namespace tapegrad;
using tapegrad::testing::message_of;

namespace {

using Lines = std::vector<std::string>;

constexpr Rows train = {0, 1973}, test = {1973, 2820};

Tensor series() {
  Rng rng(1);
  return rng.normal({2820, 2}, 0, 1);
}

SeriesWindows windows() { return {series(), {.look_back = 48, .horizon = 12}}; }

}  // namespace

TEST_CASE("leakage: nothing to report of what is made of its own part") {
  StandardScaler scaler;
  scaler.fit(series(), train);
  const SeriesWindows to_train = windows().inside(train), to_test = windows().targets_in(test);
  CHECK(leakage({train, test, &scaler, &to_train, &to_test}) == Lines{});
  CHECK(leakage({.train = train, .test = test}) == Lines{});
  // The last row before the test part, and a gap, are right.
  scaler.fit(series(), {1900, 1973});
  CHECK(leakage({.train = {0, 1900}, .test = test, .scaler = &scaler}) == Lines{});
  CHECK(to_train.targets(to_train.size() - 1).end == test.begin);
}

TEST_CASE("leakage: a scaler that was fitted on test rows") {
  StandardScaler scaler;
  scaler.fit(series());
  CHECK(leakage({.train = train, .test = test, .scaler = &scaler}) ==
        Lines{"the scaler was fitted on rows 0 to 2819, rows 1973 to 2819 among them, but the test "
              "part begins in row 1973: fit it on the training part, rows 0 to 1972"});
  const Rows too_long = {0, 2000};  // of which those before the test part may be used
  CHECK(leakage({.train = too_long, .test = test, .scaler = &scaler})[1] ==
        "the scaler was fitted on rows 0 to 2819, rows 1973 to 2819 among them, but the test part "
        "begins in row 1973: fit it on the training part, rows 0 to 1972");
  CHECK(leakage({.train = test, .test = train, .scaler = &scaler})[1] ==
        "the scaler was fitted on rows 0 to 2819, rows 0 to 2819 among them, but the test part "
        "begins in row 0: fit it on the training part before that");
  scaler.fit(series(), {1900, 1974});
  CHECK(leakage({.train = train, .test = test, .scaler = &scaler}) ==
        Lines{"the scaler was fitted on rows 1900 to 1973, row 1973 among them, but the test part "
              "begins in row 1973: fit it on the training part, rows 0 to 1972"});
  scaler.fit(series(), {2000, 2820});
  CHECK(leakage({.train = train, .test = {1973, 2000}, .scaler = &scaler}) ==
        Lines{"the scaler was fitted on rows 2000 to 2819, rows 2000 to 2819 among them, but the "
              "test part begins in row 1973: fit it on the training part, rows 0 to 1972"});
}

TEST_CASE("leakage: windows to train with that reach into the test part") {
  // Over the whole, where the first that does not end in time is 1973 - 60 + 1.
  const SeriesWindows all = windows();
  CHECK(leakage({.train = train, .test = test, .train_windows = &all}) ==
        Lines{"847 of 2761 windows to train with end too late, the first of them, window 1914, in "
              "row 1973, but the test part begins in row 1973: make them with inside(train)"});
}

TEST_CASE("leakage: windows to test with whose targets are outside the test part") {
  const SeriesWindows all = windows();
  CHECK(leakage({.train = train, .test = test, .test_windows = &all}) ==
        Lines{"1925 of 2761 windows to test with predict rows outside the test part, the first of "
              "them, window 0, rows 48 to 59, but the test part is rows 1973 to 2819: make them "
              "with targets_in(test)"});
  const SeriesWindows later = all.inside({1980, 2820});
  CHECK(leakage({.train = train, .test = {1973, 2819}, .test_windows = &later}).size() == 1);
}

TEST_CASE("leakage: windows of the whole that were split at random") {
  const SeriesWindows all = windows();
  const Fold fold = k_fold(all.size(), 5, 1)[0];
  const SeriesWindows to_train = all.subset(fold.train), to_test = all.subset(fold.test);
  CHECK(leakage({train, test, nullptr, &to_train, &to_test}).size() == 2);
}

TEST_CASE("leakage: parts that overlap, or are in the wrong order") {
  CHECK(leakage({.train = {0, 2000}, .test = test}) ==
        Lines{"the training part is rows 0 to 1999 but the test part is rows 1973 to 2819: end the "
              "training part before row 1973"});
  CHECK(leakage({.train = test, .test = train}).size() == 1);
}

TEST_CASE("leakage: what is refused, in whole messages") {
  CHECK(message_of([] {
          leakage({.train = {0, 5}});
        }) ==
        "[leakage] the training part has rows 0 to 4 and the test part no rows: both need one");
  const StandardScaler scaler;
  CHECK(message_of([&] { leakage({.train = train, .test = test, .scaler = &scaler}); }) ==
        "[StandardScaler] nothing was fitted: call fit() first");
}
