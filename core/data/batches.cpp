#include "batches.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "../fail-inl.h"
#include "../io/archive.h"
#include "../rng.h"
#include "shuffle-inl.h"

namespace tapegrad {
namespace {

/// FNV-1a of numbers on which the order depends.
std::uint64_t hash(const std::vector<std::size_t>& numbers) {
  return std::accumulate(
      numbers.begin(), numbers.end(), std::uint64_t{0xcbf29ce484222325},
      [](std::uint64_t h, std::size_t number) { return (h ^ number) * 0x100000001b3U; });
}

constexpr std::size_t sorted_batches = 32;  // enough for little padding, few enough to mix

}  // namespace

Batches::Batches(std::size_t n, std::size_t size, const BatchOptions& options)
    : n_(n), size_(std::min(size, n)), options_(options) {
  if (n == 0 || size == 0)
    fail<UsageError>("Batches", "n is {} and size is {}: both must be at least 1", n, size);
  if (options.drop_last && size > n) {
    fail<UsageError>("Batches",
                     "n is {} and size is {}: with drop_last no batch is left; take a "
                     "smaller size",
                     n, size);
  }
}

Batches::Batches(std::vector<std::size_t> places, std::size_t size, const BatchOptions& options)
    : Batches(places.size(), size, options) {
  places_ = std::move(places);
}

Batches Batches::bucketed(std::vector<std::size_t> lengths, std::size_t size,
                          const BatchOptions& options) {
  Batches made(lengths.size(), size, options);
  made.lengths_ = std::move(lengths);
  return made;
}

Batches::Iterator Batches::begin() & { return Iterator(*this); }

/// Goes on to the next batch; at the end of the epoch to the beginning of the next one, and returns
/// false.
bool Batches::next() {
  if (made_for_ != epoch_) {  // in a loop, too: a state may be restored there
    batches_ = made();
    made_for_ = epoch_;
  }
  const bool there = done_ < size();
  done_ = there ? done_ + 1 : 0;
  if (!there) ++epoch_;
  return there;
}

void Batches::put_back() {
  if (done_ == 0)
    fail<UsageError>("Batches", "there is no batch to put back: loop over them first");
  --done_;
}

std::vector<std::vector<std::size_t>> Batches::made() const {
  std::vector<std::size_t> order(n_);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Rng rng(RandomKey::of(options_.shuffle.value_or(0).value, epoch_, "Batches").bits);
  if (options_.shuffle) shuffle(order, rng);
  // Before they are sorted, or the longest sequences would be left out.
  if (options_.drop_last) order.resize(size() * size_);
  const auto at = [&](std::size_t place) {
    return order.begin() + static_cast<std::ptrdiff_t>(std::min(place, order.size()));
  };
  if (!lengths_.empty()) {
    const std::size_t together = options_.shuffle ? size_ * sorted_batches : n_;
    for (std::size_t k = 0; k < order.size(); k += together)
      std::stable_sort(at(k), at(k + together),
                       [&](std::size_t a, std::size_t b) { return lengths_[a] < lengths_[b]; });
  }
  std::vector<std::vector<std::size_t>> batches;
  for (std::size_t b = 0; b < size(); ++b) batches.emplace_back(at(b * size_), at((b + 1) * size_));
  if (!lengths_.empty() && options_.shuffle) shuffle(batches, rng);
  for (std::vector<std::size_t>& batch : batches) {
    for (std::size_t& place : batch) place = places_.empty() ? place : places_[place];
  }
  return batches;
}

void Batches::state(Archive& a) {
  a.fact("n", n_);
  a.fact("size", size_);
  a.fact("shuffle", options_.shuffle ? std::to_string(options_.shuffle->value) : "none");
  a.fact("drop_last", std::uint64_t{options_.drop_last});
  a.fact("lengths", hash(lengths_));
  a.fact("places", hash(places_));
  a("epoch", epoch_);
  a("done", done_, std::size_t{0}, size());
}

}  // namespace tapegrad
