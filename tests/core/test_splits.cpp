// Covers core/data/splits: parts in the order of time, stratified splits, folds; what each refuses,
// with whole messages.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "../../core/data/splits.h"
#include "../../core/error.h"
#include "../../core/rng.h"
#include "../support/counted.h"
#include "../support/message.h"

using namespace tapegrad;
using tapegrad::testing::counted;
using tapegrad::testing::message_of;
using tapegrad::testing::values;

namespace {

using Ids = std::vector<std::int32_t>;
using Places = std::vector<std::size_t>;
using Parts = std::vector<Rows>;

/// Ids with so many members of each class, in random order.
Ids labels(const std::vector<std::size_t>& members, std::uint64_t seed) {
  Ids ids;
  for (std::size_t c = 0; c < members.size(); ++c)
    ids.insert(ids.end(), members[c], static_cast<std::int32_t>(10 * c) - 10);
  Rng rng(seed);
  for (std::size_t k = ids.size(); k > 1; --k) std::swap(ids[k - 1], ids[rng.below(k)]);
  return ids;
}

Tensor tensor(const Ids& ids) { return Tensor::from({ids.size()}, ids); }

/// How many of the places are of class c of labels().
double count(const Places& places, const Ids& ids, std::size_t c) {
  return static_cast<double>(std::ranges::count_if(
      places, [&](std::size_t k) { return ids[k] == static_cast<std::int32_t>(10 * c) - 10; }));
}

/// Whether the parts are in ascending order and have each of 0 to n - 1 exactly once.
bool is_partition(const std::vector<Places>& parts, std::size_t n) {
  Places times(n);
  for (const Places& part : parts) {
    if (!std::ranges::is_sorted(part)) return false;
    for (const std::size_t k : part) {
      if (k >= n) return false;
      ++times[k];
    }
  }
  return std::ranges::all_of(times, [](std::size_t t) { return t == 1; });
}

}  // namespace

TEST_CASE("rows: in words, the last one included") {
  CHECK(to_string(Rows{3, 10}) == "rows 3 to 9");
  CHECK(to_string(Rows{3, 4}) == "row 3");
  CHECK(to_string(Rows{3, 3}) == "no rows");
  CHECK(Rows{3, 10}.size() == 7);
}

TEST_CASE("split_in_time: three parts follow one another, none is lost") {
  CHECK(split_in_time(2820, {0.7, 0.3}) == Parts{{0, 1974}, {1974, 2820}});
  CHECK(split_in_time(100, {0.7, 0.15, 0.15}) == Parts{{0, 70}, {70, 85}, {85, 100}});
  CHECK(split_in_time(3, {0.3, 0.3, 0.4}) == Parts{{0, 1}, {1, 2}, {2, 3}});
  // As the split of a sequence in two.
  for (std::size_t n = 4; n < 60; ++n) {
    const auto [train, valid] = split_in_time(counted(n), 0.3);
    CHECK(split_in_time(n, {0.7, 0.3}) == Parts{{0, train.numel()}, {train.numel(), n}});
  }
}

TEST_CASE("split_in_time: what is refused of fractions, in whole messages") {
  const auto refused = [](std::size_t n, const std::vector<double>& fractions) {
    return message_of([&] { split_in_time(n, fractions); });
  };
  CHECK(refused(10, {1}) ==
        "[split_in_time] fractions has 1 entries: there must be one for each of two parts or more");
  CHECK(refused(10, {0.5, 0.6}) == "[split_in_time] the fractions sum to 1.1: they must sum to 1");
  CHECK(refused(10, {1.5, -0.5}) == "[split_in_time] a fraction is -0.5: each must be above 0");
  CHECK(refused(10, {std::nan(""), 1}) ==
        "[split_in_time] a fraction is nan: each must be above 0");
  CHECK(refused(10, {0.98, 0.02}) ==
        "[split_in_time] part 1 has a fraction of 0.02 of 10 rows and gets none: each part needs "
        "one");
  CHECK(
      refused(0, {0.5, 0.5}) ==
      "[split_in_time] part 0 has a fraction of 0.5 of 0 rows and gets none: each part needs one");
}

TEST_CASE("split_stratified: each class's share to one member, and the parts' sizes near theirs") {
  for (const std::vector<double>& fractions :
       {std::vector{0.7, 0.3}, {0.29, 0.71}, {0.6, 0.2, 0.2}, {0.5, 0.25, 0.15, 0.1}}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const std::vector<std::size_t> members = {100, 4, 37, 5, 250};
      const Ids ids = labels(members, seed);
      const std::vector<Places> parts = split_stratified(tensor(ids), fractions, seed);
      CHECK(is_partition(parts, ids.size()));
      REQUIRE(parts.size() == fractions.size());
      for (std::size_t p = 0; p < parts.size(); ++p) {
        for (std::size_t c = 0; c < members.size(); ++c) {
          const double exact = fractions[p] * static_cast<double>(members[c]);
          CHECK(std::abs(count(parts[p], ids, c) - exact) < 1);
        }
        CHECK(std::abs(static_cast<double>(parts[p].size()) -
                       fractions[p] * static_cast<double>(ids.size())) < 2);
      }
    }
  }
  // A hundred small classes: no part is starved by their rounding.
  const Ids small = labels(std::vector<std::size_t>(100, 3), 1);
  CHECK(split_stratified(tensor(small), {0.8, 0.2}, 1)[1].size() == 60);
  // What a class has exactly, a part gets.
  const Ids exact = labels({100, 100}, 1);
  CHECK(count(split_stratified(tensor(exact), {0.71, 0.29}, 1)[1], exact, 0) == 29);
}

TEST_CASE("split_stratified: a seed repeats, another one draws other members") {
  const Tensor ids = tensor(labels({30, 30}, 1));
  const auto one = split_stratified(ids, {0.5, 0.5}, 1);
  CHECK(one == split_stratified(ids, {0.5, 0.5}, 1));
  CHECK(one != split_stratified(ids, {0.5, 0.5}, 2));
  // From a second implementation of Philox and the rules, in Python: no version may change it.
  CHECK(split_stratified(Tensor::from({8}, {0, 0, 0, 0, 1, 1, 1, 1}), {0.5, 0.5}, 7)[0] ==
        Places{1, 2, 5, 6});
}

TEST_CASE("split_stratified: what is refused, in whole messages") {
  const auto refused = [](const Tensor& ids) {
    return message_of([&] { split_stratified(ids, {0.5, 0.3, 0.2}, 1); });
  };
  CHECK(refused(Tensor::from({3}, {4, 4, 4})) ==
        "[split_stratified] ids has 3 members of 1 classes: there must be two classes or more; "
        "k_fold splits without them");
  CHECK(refused(Tensor::empty({0}, DType::int32)) ==
        "[split_stratified] ids has 0 members of 0 classes: there must be two classes or more; "
        "k_fold splits without them");
  CHECK(refused(Tensor::from({5}, {4, 4, 4, -1, -1})) ==
        "[split_stratified] class -1 has 2 members for 3 parts: it must have one for each; take "
        "fewer parts, or leave the class out");
  CHECK(refused(Tensor::zeros({2, 2}, DType::int32)) ==
        "[split_stratified] ids has shape (2, 2): it must be (n)");
  CHECK(refused(Tensor()) == "[split_stratified] ids is undefined: give it a value first");
  CHECK(message_of([] {
          split_stratified(Tensor::from({4}, {4, 4, 5, 5}), {0.99, 0.01}, 1);
        }) ==
        "[split_stratified] part 1 has a fraction of 0.01 of 4 members and gets none: each part "
        "needs one");
  CHECK(refused(Tensor::zeros({4})) ==
        "[split_stratified] ids is float32: it must be int32; convert it with to()");
  CHECK_THROWS_AS(split_stratified(counted(4), {0.5, 0.6}, 1), UsageError);
}

TEST_CASE("k_fold: each place is tested once, by folds of equal size, whatever n and k") {
  for (std::size_t n = 2; n <= 23; ++n) {
    for (std::size_t k = 2; k <= n; ++k) {
      const std::vector<Fold> folds = k_fold(n, k, 3);
      REQUIRE(folds.size() == k);
      std::vector<Places> tests;
      for (const Fold& fold : folds) {
        CHECK(is_partition({fold.train, fold.test}, n));
        CHECK((fold.test.size() == n / k || fold.test.size() == (n + k - 1) / k));
        tests.push_back(fold.test);
      }
      CHECK(is_partition(tests, n));
    }
  }
  CHECK(k_fold(20, 4, 1)[0].test == k_fold(20, 4, 1)[0].test);
  CHECK(k_fold(20, 4, 1)[0].test != k_fold(20, 4, 2)[0].test);
}

TEST_CASE("k_fold_stratified: each class, too, is spread to one member") {
  const std::vector<std::size_t> members = {31, 5, 14};
  const Ids ids = labels(members, 1);
  std::vector<Places> tests;
  for (const Fold& fold : k_fold_stratified(tensor(ids), 5, 1)) {
    CHECK(is_partition({fold.train, fold.test}, ids.size()));
    CHECK(fold.test.size() == 10);
    for (std::size_t c = 0; c < members.size(); ++c)
      CHECK(std::abs(count(fold.test, ids, c) - static_cast<double>(members[c]) / 5) < 1);
    tests.push_back(fold.test);
  }
  CHECK(is_partition(tests, ids.size()));
}

TEST_CASE("k_fold: what is refused, in whole messages") {
  CHECK(message_of([] { k_fold(10, 1, 0); }) == "[k_fold] k is 1: there must be two folds or more");
  CHECK(message_of([] { k_fold(4, 5, 0); }) ==
        "[k_fold] k is 5 but n is 4: each fold needs a place to test, so k must be at most n");
  const Tensor ids = Tensor::from({5}, {1, 1, 1, 2, 2});
  CHECK(message_of([&] { k_fold_stratified(ids, 1, 0); }) ==
        "[k_fold_stratified] k is 1: there must be two folds or more");
  CHECK(message_of([&] { k_fold_stratified(ids, 3, 0); }) ==
        "[k_fold_stratified] class 2 has 2 members for 3 parts: it must have one for each; take "
        "fewer parts, or leave the class out");
}

TEST_CASE("rolling_origin: growing and sliding training parts, a gap, steps") {
  const auto folds = rolling_origin(10, {.train = 4, .horizon = 2});
  REQUIRE(folds.size() == 3);
  for (std::size_t j = 0; j < 3; ++j) {
    CHECK(folds[j].train == Rows{0, 4 + 2 * j});
    CHECK(folds[j].test == Rows{4 + 2 * j, 6 + 2 * j});
  }
  const auto sliding =
      rolling_origin(12, {.train = 4, .horizon = 2, .step = 3, .gap = 1, .sliding = true});
  REQUIRE(sliding.size() == 2);
  CHECK(sliding[0].train == Rows{0, 4});
  CHECK(sliding[0].test == Rows{5, 7});
  CHECK(sliding[1].train == Rows{3, 7});
  CHECK(sliding[1].test == Rows{8, 10});
  CHECK(rolling_origin(7, {.train = 4, .horizon = 2, .gap = 1}).size() == 1);
  CHECK(rolling_origin(8, {.train = 4, .horizon = 2, .step = 1, .gap = 1}).size() == 2);
  CHECK(rolling_origin(9, {.train = 4, .step = SIZE_MAX}).size() == 1);
}

TEST_CASE("rolling_origin: what is refused, in whole messages") {
  const auto refused = [](std::size_t n, const RollingOriginOptions& options) {
    return message_of([&] { rolling_origin(n, options); });
  };
  CHECK(refused(6, {.train = 4, .horizon = 2, .gap = 1}) ==
        "[rolling_origin] the series has 6 rows but train is 4, gap is 1 and horizon is 2: one "
        "fold needs 7 rows");
  constexpr std::size_t huge = std::size_t{1} << 60;  // of such numbers a double loses 1
  CHECK(refused(huge, {.train = huge - 1, .horizon = 1, .step = huge / 2, .gap = 1}) ==
        "[rolling_origin] the series has 1152921504606846976 rows but train is "
        "1152921504606846975, gap is 1 and horizon is 1: one fold needs 1152921504606846976 rows");
  CHECK(refused(6, {.train = SIZE_MAX, .horizon = 2}) ==
        "[rolling_origin] the series has 6 rows but train is 18446744073709551615, gap is 0 and "
        "horizon is 2: one fold needs 18446744073709551616 rows");
  CHECK(refused(6, {.train = 4, .gap = SIZE_MAX - 2}) ==
        "[rolling_origin] the series has 6 rows but train is 4, gap is 18446744073709551613 and "
        "horizon is 1: one fold needs 18446744073709551616 rows");
  CHECK(refused(6, {.horizon = 2}) ==
        "[rolling_origin] train is 0 and horizon is 2: both must be at least 1");
  CHECK(refused(6, {.train = 2, .horizon = 0}) ==
        "[rolling_origin] train is 2 and horizon is 0: both must be at least 1");
}

TEST_CASE("split_in_time: the last part is for validation, nothing is lost or mixed") {
  for (std::size_t n = 2; n <= 50; ++n) {
    for (const double fraction : {0.1, 0.29, 0.5, 0.9}) {
      const double exact = fraction * static_cast<double>(n);
      if (exact < 0.5 || exact > static_cast<double>(n) - 0.51) continue;
      const auto [train, valid] = split_in_time(counted(n), fraction);
      CHECK(std::abs(static_cast<double>(valid.numel()) - exact) <= 0.5);
      Ids joined = values(train);
      for (const std::int32_t id : values(valid)) joined.push_back(id);
      CHECK(joined == values(counted(n)));
    }
  }
  const Tensor whole = counted(100);
  const auto [train, valid] = split_in_time(whole, 0.29);  // 0.29 * 100 is 28.999999999999996
  CHECK(valid.numel() == 29);
  CHECK(train.shares_elements_with(whole));
  CHECK(valid.shares_elements_with(whole));
  const auto [past, future] = split_in_time(Tensor::zeros({10, 3}), 0.2);
  CHECK(past.shape() == Shape{8, 3});
  CHECK(future.shape() == Shape{2, 3});
}

TEST_CASE("split_in_time: what is refused, in whole messages") {
  const auto usage = [](std::size_t n, double fraction) {
    return message_of([&] { split_in_time(counted(n), fraction); });
  };
  CHECK(usage(10, 0) == "[split_in_time] valid_fraction is 0 but must be between 0 and 1");
  CHECK(usage(10, 1) == "[split_in_time] valid_fraction is 1 but must be between 0 and 1");
  CHECK(usage(10, -0.5) == "[split_in_time] valid_fraction is -0.5 but must be between 0 and 1");
  CHECK(usage(10, std::numeric_limits<double>::quiet_NaN()) ==
        "[split_in_time] valid_fraction is nan but must be between 0 and 1");
  CHECK(usage(4, 0.1) ==
        "[split_in_time] a valid_fraction of 0.1 leaves 4 of 4 entries for training and 0 for "
        "validation: both need one");
  CHECK(usage(4, 0.9) ==
        "[split_in_time] a valid_fraction of 0.9 leaves 0 of 4 entries for training and 4 for "
        "validation: both need one");
  CHECK(usage(0, 0.5) ==
        "[split_in_time] a valid_fraction of 0.5 leaves 0 of 0 entries for training and 0 for "
        "validation: both need one");
  CHECK(message_of([] { split_in_time(Tensor::scalar(1), 0.5); }) ==
        "[split_in_time] the sequence is a scalar: its first axis must be time");
}
