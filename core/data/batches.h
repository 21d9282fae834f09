#pragma once

#include "../cxx20.h"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

/// Examples in batches: which are learnt together, and in what order.
namespace tapegrad {

class Archive;

/// Seed of random orders: any integer, but no bool, which would pass for 0 or 1.
struct ShuffleSeed {
  std::uint64_t value;

  template <std::integral I>
  requires(!std::same_as<I, bool>)
      // NOLINTNEXTLINE(google-explicit-constructor): {.shuffle = 1}
      ShuffleSeed(I seed)
      : value(static_cast<std::uint64_t>(seed)) {}
};

struct BatchOptions {
  std::optional<ShuffleSeed> shuffle = {};  // seed of new orders each epoch; none: in order
  bool drop_last = false;                   // leaves out the last batch if it is smaller
};

/// The places 0 to n - 1 of examples in batches, epoch after epoch. A loop over the object is an
/// epoch, and the next loop is the next one; a loop that was left goes on where it was.
///
///     Batches batches(sequences.size(), 32, {.shuffle = seed});
///     while (batches.epoch() < epochs) {
///       for (const auto& chosen : batches) {      // std::vector<std::size_t>
///         const auto [x, lengths] = pad_sequences(sequences, chosen); ...
///
/// The order is a function of seed and epoch, the same on all machines. So a run whose state() was
/// saved goes on in the middle of an epoch with the same batches: those that a loop has looked at,
/// the present one among them, are done, but for one that was put_back().
class Batches {
 public:
  class Iterator;

  /// Throws UsageError unless n and size are at least 1 and there is a batch.
  Batches(std::size_t n, std::size_t size, const BatchOptions& options = {});
  /// Hands out these places, as those of a part of a split, in place of 0 to n - 1. Throws likewise.
  Batches(std::vector<std::size_t> places, std::size_t size, const BatchOptions& options = {});
  /// Returns batches of sequences of about equal lengths, so that little is padded: with a shuffle,
  /// of a random order 32 batches at a time are sorted by length and cut, and the batches put in
  /// random order; without one all are sorted, the shortest first. Throws likewise.
  static Batches bucketed(std::vector<std::size_t> lengths, std::size_t size,
                          const BatchOptions& options = {});

  /// Returns the number of batches of an epoch.
  std::size_t size() const { return n_ / size_ + (n_ % size_ != 0 && !options_.drop_last ? 1 : 0); }
  /// Returns the number of epochs that are finished.
  std::uint64_t epoch() const { return epoch_; }

  Iterator begin() &;
  Iterator begin() && = delete;  // an iterator refers to the batches: name them first
  std::default_sentinel_t end() const { return {}; }

  /// Puts the last batch of this epoch back, so that it comes again: an exception, for example, has
  /// ended its step. Throws UsageError if none was handed out.
  void put_back();

  /// Saves or restores the place in the order; other numbers, options or lengths are refused.
  void state(Archive& a);

 private:
  std::vector<std::vector<std::size_t>> made() const;
  bool next();

  std::size_t n_, size_;
  BatchOptions options_;
  std::vector<std::size_t> lengths_;  // none: not bucketed
  std::vector<std::size_t> places_;   // none: 0 to n - 1
  std::uint64_t epoch_ = 0;
  std::size_t done_ = 0;  // batches of this epoch that were looked at
  std::vector<std::vector<std::size_t>> batches_;
  std::optional<std::uint64_t> made_for_;  // the epoch of batches_
};

/// Steps through the rest of an epoch.
class Batches::Iterator {
 public:
  using value_type = std::vector<std::size_t>;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = std::input_iterator_tag;

  explicit Iterator(Batches& batches) : batches_(&batches), there_(batches.next()) {}

  const std::vector<std::size_t>& operator*() const {
    return batches_->batches_[batches_->done_ - 1];
  }
  Iterator& operator++() {
    there_ = batches_->next();
    return *this;
  }
  void operator++(int) { ++*this; }
  bool operator==(std::default_sentinel_t) const { return !there_; }

 private:
  Batches* batches_;
  bool there_;
};

}  // namespace tapegrad
