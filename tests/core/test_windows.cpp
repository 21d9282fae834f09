// Covers core/data/windows: every id is a target exactly once but for the first and fewer than B at
// the end, inputs are one step before, windows of a stream follow one another; errors.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "../../core/data/windows.h"
#include "../../core/error.h"
#include "../support/counted.h"

using namespace tapegrad;
using tapegrad::testing::counted;
using tapegrad::testing::values;

static_assert(std::forward_iterator<StreamWindows::Iterator>);

namespace {

using Ids = std::vector<std::int32_t>;

template <class E, class Call>
std::string message(Call call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "not that exception";
}

}  // namespace

TEST_CASE("windows: an example by hand") {
  // P = (12 - 1) / 2 = 5 targets in a stream: windows of 2, 2 and 1 steps; id 11 is left over.
  const StreamWindows windows(counted(12), 2, 2);
  REQUIRE(windows.size() == 3);
  CHECK(windows.at(0).inputs.shape() == Shape{2, 2});
  CHECK(values(windows.at(0).inputs) == Ids{0, 5, 1, 6});
  CHECK(values(windows.at(0).targets) == Ids{1, 6, 2, 7});
  CHECK(values(windows.at(1).inputs) == Ids{2, 7, 3, 8});
  CHECK(values(windows.at(1).targets) == Ids{3, 8, 4, 9});
  CHECK(windows.at(2).inputs.shape() == Shape{1, 2});
  CHECK(windows.at(2).targets.shape() == Shape{1, 2});
  CHECK(values(windows.at(2).inputs) == Ids{4, 9});
  CHECK(values(windows.at(2).targets) == Ids{5, 10});
  CHECK(windows.at(0).first);
  CHECK(!windows.at(1).first);
  CHECK(!windows.at(2).first);
}

TEST_CASE("windows: every target once, for all small n, T and B") {
  int checked = 0;
  for (std::size_t n = 2; n <= 40; ++n) {
    for (std::size_t batch = 1; batch < n; ++batch) {
      for (std::size_t steps = 1; steps * batch + 1 <= n; ++steps) {
        CAPTURE(n);
        CAPTURE(batch);
        CAPTURE(steps);
        Ids times_a_target(n, 0);
        Ids expected_input(batch, -1);  // of each stream: the target before
        std::size_t windows_seen = 0;
        bool right = true;
        const StreamWindows windows(counted(n), steps, batch);
        for (const auto& [x, y, first] : windows) {
          const bool last = windows_seen + 1 == windows.size();
          right = right && first == (windows_seen++ == 0);
          right = right && x.shape() == y.shape() && x.size(1) == batch;
          right = right && (last ? x.size(0) >= 1 && x.size(0) <= steps : x.size(0) == steps);
          for (std::size_t i = 0; i < x.numel(); ++i) {
            const std::int32_t input = values(x)[i], target = values(y)[i];
            std::int32_t& expected = expected_input[i % batch];
            right = right && target == input + 1 && (expected == -1 || input == expected);
            expected = target;
            ++times_a_target[static_cast<std::size_t>(target)];
          }
        }
        CHECK(right);
        CHECK(windows_seen == windows.size());
        const std::size_t used = (n - 1) / batch * batch;
        Ids expected_times(n, 0);
        std::fill_n(expected_times.begin() + 1, used, 1);
        CHECK(times_a_target == expected_times);
        CHECK(n - 1 - used < batch);
        ++checked;
      }
    }
  }
  MESSAGE("combinations of n, T and B: " << checked);
}

TEST_CASE("windows: the shortest text, and one window only") {
  const StreamWindows one(counted(2), 1, 1);
  CHECK(one.size() == 1);
  CHECK(values(one.at(0).inputs) == Ids{0});
  CHECK(values(one.at(0).targets) == Ids{1});
  CHECK(StreamWindows(counted(13), 3, 4).size() == 1);
  CHECK(StreamWindows(counted(16), 3, 4).size() == 1);
  CHECK(StreamWindows(counted(17), 3, 4).size() == 2);
}

TEST_CASE("windows: tensors of their own, over ids that may be a view") {
  const StreamWindows windows(counted(20).slice(5, 14), 2, 2);
  CHECK(values(windows.at(0).inputs) == Ids{5, 9, 6, 10});
  Window window = windows.at(0);
  window.inputs.fill(-1);
  CHECK(values(windows.at(0).inputs) == Ids{5, 9, 6, 10});
  CHECK(values(window.targets) == Ids{6, 10, 7, 11});
}

TEST_CASE("windows: iterators") {
  const StreamWindows windows(counted(10), 2, 1);
  CHECK(std::distance(windows.begin(), windows.end()) == 5);
  auto it = windows.begin();
  CHECK(values((*it++).inputs) == Ids{0, 1});
  CHECK(values((*it).inputs) == Ids{2, 3});
  CHECK(it == std::next(windows.begin()));
}

TEST_CASE("windows: what is refused, in whole messages") {
  const auto usage = [](std::size_t n, std::size_t steps, std::size_t batch) {
    return message<UsageError>([&] { StreamWindows(counted(n), steps, batch); });
  };
  CHECK(usage(12, 3, 4) ==
        "[StreamWindows] ids has shape (n) = (12) but (T, B) = (3, 4): n must be at least B T + 1 "
        "= 13; "
        "take a longer text or a smaller T or B");
  CHECK(usage(0, 1, 1) ==
        "[StreamWindows] ids has shape (n) = (0) but (T, B) = (1, 1): n must be at least B T + 1 = "
        "2; "
        "take a longer text or a smaller T or B");
  const std::size_t huge = std::size_t{1} << 63;
  CHECK(
      usage(5, huge, 4) ==
      "[StreamWindows] ids has shape (n) = (5) but (T, B) = (9223372036854775808, 4): n must be at "
      "least B T + 1 = 36893488147419103232; take a longer text or a smaller T or B");
  CHECK(
      usage(5, 4, huge).starts_with("[StreamWindows] ids has shape (n) = (5) but (T, B) = (4, 92"));
  CHECK(usage(5, 0, 1) == "[StreamWindows] (T, B) = (0, 1): both must be at least 1");
  CHECK(usage(5, 1, 0) == "[StreamWindows] (T, B) = (1, 0): both must be at least 1");
  CHECK(message<ShapeError>([] {
          StreamWindows(counted(6).reshape({2, 3}), 1, 1);
        }) == "[StreamWindows] ids has shape (2, 3) but must have shape (n)");
  CHECK(message<DtypeError>([] { StreamWindows(Tensor::zeros({5}), 1, 1); }) ==
        "[StreamWindows] ids is float32 but must be int32");
  CHECK_THROWS_AS(StreamWindows(Tensor(), 1, 1), UsageError);
  CHECK(message<UsageError>([] { StreamWindows(counted(12), 2, 2).at(3); }) ==
        "[at] window 3 does not exist: there are 3");
}
