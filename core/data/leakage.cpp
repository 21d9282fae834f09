#include "leakage.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>

#include "../fail-inl.h"

namespace tapegrad {
namespace {

/// Counts the windows k for which wrong(k) holds, and remembers the first.
struct Count {
  std::size_t n = 0, first = 0;

  template <class Wrong>
  Count(const SeriesWindows& windows, Wrong wrong) {
    for (std::size_t k = 0; k < windows.size(); ++k) {
      if (wrong(k) && n++ == 0) first = k;
    }
  }
};

}  // namespace

std::vector<std::string> leakage(const ForecastData& data) {
  const Rows &train = data.train, &test = data.test;
  if (train.begin >= train.end || test.begin >= test.end) {
    fail<UsageError>("leakage", "the training part has {} and the test part {}: both need one",
                     to_string(train), to_string(test));
  }
  std::vector<std::string> lines;
  if (train.end > test.begin) {
    lines.push_back(fmt::format(
        "the training part is {} but the test part is {}: end the training part before row {}",
        to_string(train), to_string(test), test.begin));
  }
  if (data.scaler != nullptr && data.scaler->fitted_on().end > test.begin) {
    const Rows rows = data.scaler->fitted_on(), late = {std::max(rows.begin, test.begin), rows.end};
    const Rows early = {train.begin, std::min(train.end, test.begin)};
    lines.push_back(fmt::format(
        "the scaler was fitted on {}, {} among them, but the test part begins in row {}: fit it on "
        "the training part{}",
        to_string(rows), to_string(late), test.begin,
        early.begin < early.end ? ", " + to_string(early) : " before that"));
  }
  if (data.train_windows != nullptr) {
    const SeriesWindows& windows = *data.train_windows;
    const Count late(windows, [&](std::size_t k) { return windows.targets(k).end > test.begin; });
    if (late.n > 0) {
      lines.push_back(fmt::format(
          "{} of {} windows to train with end too late, the first of them, window {}, in row {}, "
          "but the test part begins in row {}: make them with inside(train)",
          late.n, windows.size(), late.first, windows.targets(late.first).end - 1, test.begin));
    }
  }
  if (data.test_windows != nullptr) {
    const SeriesWindows& windows = *data.test_windows;
    const Count outside(windows, [&](std::size_t k) {
      const Rows rows = windows.targets(k);
      return rows.begin < test.begin || rows.end > test.end;
    });
    if (outside.n > 0) {
      lines.push_back(fmt::format(
          "{} of {} windows to test with predict rows outside the test part, the first of them, "
          "window {}, {}, but the test part is {}: make them with targets_in(test)",
          outside.n, windows.size(), outside.first, to_string(windows.targets(outside.first)),
          to_string(test)));
    }
  }
  return lines;
}

}  // namespace tapegrad
