// Covers core/data/batches: every place once an epoch, in another order each; what a killed run goes
// on with; how much bucketing saves; what is refused, with whole messages.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "../../core/data/batches.h"
#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../core/rng.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Places = std::vector<std::size_t>;
using Epoch = std::vector<Places>;

Epoch rest_of_epoch(Batches& batches) {
  Epoch epoch;
  for (const auto& chosen : batches) epoch.push_back(chosen);
  return epoch;
}

Places joined(const Epoch& epoch) {
  Places all;
  for (const Places& chosen : epoch) all.insert(all.end(), chosen.begin(), chosen.end());
  return all;
}

Places counted(std::size_t n) {
  Places all(n);
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

Places sorted(Places places) {
  std::ranges::sort(places);
  return places;
}

/// Lengths in [1, 100], and how many steps padding adds to those of the sequences.
Places lengths(std::size_t n) {
  Rng rng(3);
  Places made(n);
  for (std::size_t& length : made) length = 1 + rng.below(100);
  return made;
}
std::size_t padded_steps(const Epoch& epoch, const Places& of) {
  std::size_t steps = 0;
  for (const Places& chosen : epoch) {
    std::size_t longest = 0;
    for (const std::size_t k : chosen) longest = std::max(longest, of[k]);
    for (const std::size_t k : chosen) steps += longest - of[k];
  }
  return steps;
}

}  // namespace

TEST_CASE("batches: in order, the last one perhaps smaller") {
  Batches batches(7, 3);
  CHECK(batches.size() == 3);
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    CHECK(batches.epoch() == epoch);
    CHECK(rest_of_epoch(batches) == Epoch{{0, 1, 2}, {3, 4, 5}, {6}});
  }
  Batches without(7, 3, {.drop_last = true});
  CHECK(without.size() == 2);
  CHECK(rest_of_epoch(without) == Epoch{{0, 1, 2}, {3, 4, 5}});
  Batches one(3, SIZE_MAX);
  CHECK(one.size() == 1);
  CHECK(rest_of_epoch(one) == Epoch{{0, 1, 2}});
}

TEST_CASE("batches: in random order every place once, in another order each epoch") {
  Batches batches(100, 8, {.shuffle = 1}), again(100, 8, {.shuffle = 1}),
      other(100, 8, {.shuffle = 2});
  const Epoch first = rest_of_epoch(batches), second = rest_of_epoch(batches);
  CHECK(first.size() == batches.size());
  CHECK(sorted(joined(first)) == counted(100));
  CHECK(sorted(joined(second)) == counted(100));
  CHECK(first != second);
  CHECK(first == rest_of_epoch(again));
  CHECK(second == rest_of_epoch(again));
  CHECK(first != rest_of_epoch(other));
  // From a second implementation of Philox and the rules, in Python: no version may change them.
  Batches few(6, 4, {.shuffle = 7});
  CHECK(rest_of_epoch(few) == Epoch{{1, 3, 4, 0}, {5, 2}});
  CHECK(rest_of_epoch(few) == Epoch{{5, 3, 1, 2}, {4, 0}});
}

TEST_CASE("batches: every place comes first about equally often") {
  Batches batches(5, 1, {.shuffle = 1});
  Places firsts(5);
  for (int epoch = 0; epoch < 5000; ++epoch) ++firsts[rest_of_epoch(batches)[0][0]];
  for (const std::size_t times : firsts) {
    CHECK(times > 880);  // 1000 less 4 standard deviations
    CHECK(times < 1120);
  }
}

TEST_CASE("batches: other places are dropped in each epoch") {
  Batches batches(10, 4, {.shuffle = 1, .drop_last = true});
  Places seen;
  for (int epoch = 0; epoch < 20; ++epoch) {
    const Places places = joined(rest_of_epoch(batches));
    CHECK(places.size() == 8);
    seen.insert(seen.end(), places.begin(), places.end());
  }
  seen = sorted(seen);
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  CHECK(seen == counted(10));
}

TEST_CASE("batches: a loop that was left goes on, a finished one begins the next epoch") {
  Batches batches(6, 2);
  for (const auto& chosen : batches) {
    CHECK(chosen == Places{0, 1});
    break;
  }
  CHECK(batches.epoch() == 0);
  CHECK(rest_of_epoch(batches) == Epoch{{2, 3}, {4, 5}});
  CHECK(batches.epoch() == 1);
  CHECK(rest_of_epoch(batches).size() == 3);
}

TEST_CASE("batches: a run that is killed after any batch goes on with the same ones") {
  const TempFolder folder;
  const auto make = [](bool buckets) {
    const BatchOptions options{.shuffle = 5};
    return buckets ? Batches::bucketed(lengths(50), 7, options) : Batches(50, 7, options);
  };
  for (const bool buckets : {false, true}) {
    for (std::size_t killed_after = 1; killed_after <= 24; ++killed_after) {
      // Saved as a training is: behind the step, in the middle of the loop.
      Batches whole = make(buckets);
      Epoch expected;
      while (whole.epoch() < 3) {
        for (const auto& chosen : whole) {
          expected.push_back(chosen);
          if (expected.size() == killed_after)
            save_state(folder / "s", [&](Archive& a) { a("batches", whole); });
        }
      }
      Batches resumed = make(buckets);
      load_state(folder / "s", [&](Archive& a) { a("batches", resumed); });
      Epoch rest(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(killed_after));
      while (resumed.epoch() < 3) {
        for (const auto& chosen : resumed) rest.push_back(chosen);
      }
      CHECK(rest == expected);
    }
  }
}

TEST_CASE("batches: a state restored in a loop has the order of its own epoch") {
  const TempFolder folder;
  Batches late(50, 7, {.shuffle = 5});
  while (late.epoch() < 2) rest_of_epoch(late);
  (void)*late.begin();
  save_state(folder / "s", [&](Archive& a) { a("batches", late); });
  const Epoch expected = rest_of_epoch(late);
  Batches batches(50, 7, {.shuffle = 5});
  Epoch seen;
  for (auto batch = batches.begin(); batch != batches.end(); ++batch) {
    if (batches.epoch() == 0)
      load_state(folder / "s", [&](Archive& a) { a("batches", batches); });
    else
      seen.push_back(*batch);
  }
  CHECK(seen == expected);
}

TEST_CASE("batches: a state of other batches is refused") {
  const TempFolder folder;
  Batches batches(50, 7, {.shuffle = 5});
  save_state(folder / "s", [&](Archive& a) { a("b", batches); });
  const auto refusal = [&](Batches other) {
    const std::string message =
        message_of([&] { load_state(folder / "s", [&](Archive& a) { a("b", other); }); });
    return message.substr(message.rfind(": ") + 2);
  };
  CHECK(refusal({51, 7, {.shuffle = 5}}) == "b.n is '50' in the file but '51' here");
  CHECK(refusal({50, 8, {.shuffle = 5}}) == "b.size is '7' in the file but '8' here");
  CHECK(refusal({50, 7, {.shuffle = 6}}) == "b.shuffle is '5' in the file but '6' here");
  CHECK(refusal({50, 7}) == "b.shuffle is '5' in the file but 'none' here");
  CHECK(refusal({50, 7, {.shuffle = 5, .drop_last = true}}) ==
        "b.drop_last is '0' in the file but '1' here");
  CHECK(refusal(Batches::bucketed(lengths(50), 7, {.shuffle = 5})).starts_with("b.lengths is '"));
  Batches buckets = Batches::bucketed({1, 2}, 1), others = Batches::bucketed({2, 1}, 1);
  save_state(folder / "s", [&](Archive& a) { a("b", buckets); });
  CHECK(refusal(others).starts_with("b.lengths is '"));
}

TEST_CASE("batches: buckets pad a tenth of what a shuffle does, and are in random order") {
  const Places of = lengths(2000);
  Batches shuffled(2000, 16, {.shuffle = 1}), buckets = Batches::bucketed(of, 16, {.shuffle = 1});
  const Epoch first = rest_of_epoch(buckets), second = rest_of_epoch(buckets);
  CHECK(sorted(joined(first)) == counted(2000));
  const std::size_t plain = padded_steps(rest_of_epoch(shuffled), of);
  MESSAGE("padded steps: " << plain << " shuffled, " << padded_steps(first, of) << " in buckets, "
                           << std::accumulate(of.begin(), of.end(), std::size_t{0}) << " steps");
  for (const Epoch& epoch : {first, second}) CHECK(padded_steps(epoch, of) * 10 < plain);
  CHECK(first != second);
  // Neither the batches' order nor who is with whom stays: of 125 batches few have their length.
  Epoch a = first, b = second;
  for (Epoch* const epoch : {&a, &b}) {
    for (Places& chosen : *epoch) chosen = sorted(chosen);
    std::ranges::sort(*epoch);
  }
  CHECK(a != b);
  std::size_t rising = 0;
  for (std::size_t k = 1; k < first.size(); ++k) rising += of[first[k][0]] > of[first[k - 1][0]];
  CHECK(rising > first.size() / 3);
  CHECK(rising < first.size() * 2 / 3);
}

TEST_CASE("batches: buckets in order go from the shortest to the longest") {
  Batches batches = Batches::bucketed({5, 1, 4, 1, 3}, 2);
  CHECK(rest_of_epoch(batches) == Epoch{{1, 3}, {4, 2}, {0}});
  // Which sequences are dropped does not depend on their length.
  Batches without = Batches::bucketed({9, 1, 4, 1, 3}, 2, {.shuffle = 1, .drop_last = true});
  Places seen;
  for (int epoch = 0; epoch < 30; ++epoch) {
    for (const std::size_t k : joined(rest_of_epoch(without))) seen.push_back(k);
  }
  CHECK(std::ranges::count(seen, 0U) > 10);
}

TEST_CASE("batches: what is refused, in whole messages") {
  CHECK(message_of([] { Batches(0, 3); }) ==
        "[Batches] n is 0 and size is 3: both must be at least 1");
  CHECK(message_of([] { Batches(3, 0); }) ==
        "[Batches] n is 3 and size is 0: both must be at least 1");
  CHECK(message_of([] { Batches(3, 4, {.drop_last = true}); }) ==
        "[Batches] n is 3 and size is 4: with drop_last no batch is left; take a smaller size");
  CHECK(message_of([] { Batches::bucketed({}, 4); }) ==
        "[Batches] n is 0 and size is 4: both must be at least 1");
}

// {.shuffle = false} would be the seed 0.
static_assert(!std::is_constructible_v<ShuffleSeed, bool>);
static_assert(std::is_constructible_v<ShuffleSeed, int> &&
              std::is_constructible_v<ShuffleSeed, std::uint64_t>);

TEST_CASE("batches: of the places of a part") {
  const std::vector<std::size_t> part{4, 9, 2, 7, 5};
  Batches in_order(part, 2), shuffled(part, 2, {.shuffle = 3}), plain(5, 2, {.shuffle = 3});
  std::vector<std::vector<std::size_t>> seen, expected;
  for (const auto& places : in_order) seen.push_back(places);
  CHECK(seen == std::vector<std::vector<std::size_t>>{{4, 9}, {2, 7}, {5}});
  seen.clear();
  for (const auto& places : shuffled) seen.push_back(places);
  for (auto places : plain) {
    for (std::size_t& place : places) place = part[place];
    expected.push_back(places);
  }
  CHECK(seen == expected);
}

TEST_CASE("batches: one that is put back comes again, in a loop that goes on and in the next") {
  Batches batches(5, 2);
  CHECK(message_of([&] { batches.put_back(); }) ==
        "[Batches] there is no batch to put back: loop over them first");
  Epoch seen;
  for (const auto& places : batches) {
    seen.push_back(places);
    if (seen.size() == 2) batches.put_back();
    if (seen.size() == 4) break;
  }
  batches.put_back();
  CHECK(seen == Epoch{{0, 1}, {2, 3}, {2, 3}, {4}});
  CHECK(rest_of_epoch(batches) == Epoch{{4}});
  CHECK(batches.epoch() == 1);
}
