// Covers core/data/series: what each window has, in which rows; windows of a part, and those whose
// targets are in it; what is refused, with whole messages.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../core/data/series.h"
#include "../../core/error.h"
#include "../support/message.h"

using namespace tapegrad;
using tapegrad::testing::message_of;

namespace {

using Places = std::vector<std::size_t>;
using Numbers = std::vector<double>;

/// Row r of column f is 10 r + f.
Tensor series(std::size_t n, std::size_t F, DType dtype = DType::float32) {
  Tensor made = Tensor::zeros({n, F}, DType::float64);
  for (std::size_t k = 0; k < n * F; ++k)
    made.mutable_data<double>()[k] = 10.0 * static_cast<double>(k / F) + static_cast<double>(k % F);
  return made.to(dtype);
}

Numbers elements(const Tensor& t) {
  Numbers all;
  for (std::size_t k = 0; k < t.numel(); ++k) all.push_back(t.at(k));
  return all;
}

}  // namespace

TEST_CASE("series: windows side by side, their targets behind them") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const SeriesWindows windows(series(7, 3, dtype),
                                {.look_back = 2, .horizon = 2, .target = {2, 0}});
    CHECK(windows.size() == 4);
    CHECK(windows.inputs(3) == Rows{3, 5});
    CHECK(windows.targets(3) == Rows{5, 7});
    const auto [x, y] = windows.batch(Places{3, 0});
    CHECK(x.dtype() == dtype);
    CHECK(y.dtype() == dtype);
    CHECK(x.shape() == Shape{2, 2, 3});
    CHECK(elements(x) == Numbers{30, 31, 32, 0, 1, 2, 40, 41, 42, 10, 11, 12});
    CHECK(y.shape() == Shape{2, 2, 2});
    CHECK(elements(y) == Numbers{52, 50, 22, 20, 62, 60, 32, 30});
  }
}

TEST_CASE("series: without named columns all are targets, and (n) is one column") {
  CHECK(elements(SeriesWindows(series(3, 2), {.look_back = 2}).batch(Places{0}).y) ==
        Numbers{20, 21});
  const SeriesWindows one(series(4, 1).reshape({4}), {.look_back = 2});
  CHECK(one.batch(Places{1}).x.shape() == Shape{2, 1, 1});
  CHECK(elements(one.batch(Places{1}).x) == Numbers{10, 20});
  CHECK(elements(one.batch(Places{1}).y) == Numbers{30});
}

TEST_CASE("series: windows inside a part, and with targets in it, for all small parts") {
  for (std::size_t L = 1; L <= 3; ++L) {
    for (std::size_t H = 1; H <= 3; ++H) {
      for (std::size_t stride = 1; stride <= 3; ++stride) {
        const std::size_t n = 12;
        const SeriesWindows all(series(n, 1), {.look_back = L, .horizon = H, .stride = stride});
        for (std::size_t begin = 0; begin < n; ++begin) {
          for (std::size_t end = begin + 1; end <= n; ++end) {
            std::vector<Rows> inside, behind;  // targets, by definition
            for (std::size_t row = begin; row + L + H <= end; row += stride)
              inside.push_back({row + L, row + L + H});
            for (std::size_t row = std::max(begin, L); row + H <= end; row += stride)
              behind.push_back({row, row + H});
            const auto check = [&](const std::vector<Rows>& expected, auto make) {
              if (expected.empty()) {
                CHECK_THROWS_AS(make(), UsageError);
                return;
              }
              const SeriesWindows made = make();
              REQUIRE(made.size() == expected.size());
              for (std::size_t k = 0; k < made.size(); ++k) {
                CHECK(made.targets(k) == expected[k]);
                CHECK(made.inputs(k) == Rows{expected[k].begin - L, expected[k].begin});
              }
            };
            check(inside, [&] { return all.inside({begin, end}); });
            check(behind, [&] { return all.targets_in({begin, end}); });
          }
        }
      }
    }
  }
}

TEST_CASE("series: a subset has the windows chosen") {
  const SeriesWindows all(series(10, 1), {.look_back = 3});
  const SeriesWindows some = all.subset(Places{5, 2});
  CHECK(some.size() == 2);
  CHECK(some.inputs(0) == Rows{5, 8});
  CHECK(elements(some.batch(Places{1}).y) == Numbers{50});
  CHECK(SeriesWindows(series(10, 1), {.look_back = 3, .stride = SIZE_MAX}).size() == 1);
}

TEST_CASE("series: windows share the series, batches do not") {
  Tensor shared = series(4, 1);
  const SeriesWindows windows(shared, {.look_back = 1});
  Tensor x = windows.batch(Places{0}).x;
  x.fill(-1);
  CHECK(shared.at(0) == 0);
  shared.fill(5);
  CHECK(windows.batch(Places{0}).x.at(0) == 5);
}

TEST_CASE("series: what is refused, in whole messages") {
  const auto refused = [](const Tensor& of, const SeriesWindowOptions& options) {
    return message_of([&] { SeriesWindows(of, options); });
  };
  CHECK(refused(series(50, 2), {.look_back = 48, .horizon = 12}) ==
        "[SeriesWindows] the series has 50 rows but look_back is 48 and horizon is 12: a window "
        "needs 60");
  CHECK(refused(series(50, 2), {.look_back = SIZE_MAX, .horizon = SIZE_MAX}) ==
        "[SeriesWindows] the series has 50 rows but look_back is 18446744073709551615 and horizon "
        "is 18446744073709551615: a window needs 36893488147419103232");
  CHECK(refused(series(5, 2), {}) ==
        "[SeriesWindows] look_back is 0, horizon is 1 and stride is 1: all must be at least 1");
  CHECK(refused(series(5, 2), {.look_back = 1, .horizon = 0}) ==
        "[SeriesWindows] look_back is 1, horizon is 0 and stride is 1: all must be at least 1");
  CHECK(refused(series(5, 2), {.look_back = 1, .stride = 0}) ==
        "[SeriesWindows] look_back is 1, horizon is 1 and stride is 0: all must be at least 1");
  CHECK(refused(series(5, 2), {.look_back = 1, .target = {0, 2}}) ==
        "[SeriesWindows] target column 2 does not exist: the series has 2");
  CHECK(refused(Tensor::zeros({2, 3, 4}), {.look_back = 1}) ==
        "[SeriesWindows] series has shape (2, 3, 4): it must be (n, F) or (n)");
  CHECK(refused(Tensor(), {.look_back = 1}) ==
        "[SeriesWindows] series is undefined: give it a value first");
  CHECK_THROWS_AS(SeriesWindows(Tensor::zeros({5}, DType::int32), {.look_back = 1}), DtypeError);

  const SeriesWindows windows(series(20, 1), {.look_back = 4, .horizon = 2});
  CHECK(message_of([&] {
          windows.inside({5, 10});
        }) == "[inside] the part has 5 rows but look_back is 4 and horizon is 2: a window needs 6");
  CHECK(message_of([&] {
          windows.inside({5, 21});
        }) ==
        "[inside] rows [5, 21) are asked for but the series has 20: begin must be below end, and "
        "end at most 20");
  CHECK(message_of([&] {
          windows.targets_in({0, 5});
        }) ==
        "[targets_in] the part is rows 0 to 4, look_back is 4 and horizon is 2: it must have 2 "
        "rows from row 4 on");
  CHECK(message_of([&] {
          windows.targets_in({7, 7});
        }) ==
        "[targets_in] rows [7, 7) are asked for but the series has 20: begin must be below end, "
        "and end at most 20");
  CHECK(message_of([&] {
          (void)windows.batch(Places{0, 15});
        }) == "[batch] window 15 does not exist: there are 15");
  CHECK(message_of([&] { (void)windows.batch({}); }) ==
        "[batch] no windows are asked for: there must be one");
  CHECK(message_of([&] { (void)windows.subset({}); }) ==
        "[subset] no windows are asked for: there must be one");
  CHECK(message_of([&] { (void)windows.inputs(15); }) ==
        "[inputs] window 15 does not exist: there are 15");
  CHECK(message_of([&] { (void)windows.targets(15); }) ==
        "[targets] window 15 does not exist: there are 15");
}

TEST_CASE("series: all windows are those of all places") {
  const SeriesWindows windows(series(5, 1), {.look_back = 2});
  CHECK(elements(windows.all().x) == elements(windows.batch(Places{0, 1, 2}).x));
  CHECK(elements(windows.all().y) == elements(windows.batch(Places{0, 1, 2}).y));
}
