#include "ngram.h"

#include <tapegrad/tapegrad.h>

#include <bit>
#include <cmath>

namespace examples {
namespace {

/// How often a sequence of ids was seen, and, for a history, how many different ids followed.
struct Count {
  std::uint64_t key = 0;
  std::uint32_t seen = 0;  // 0: a free slot
  std::uint32_t types = 0;
};

/// Spreads keys over a table, and hashes sequences that do not fit into 64 bits (Steele et al.
/// 2014, SplitMix64).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// A hash table with open addressing: at most half full, so that a search is a step or two.
class Counts {
 public:
  /// The count of `key`, which is new if its `seen` is 0. Valid until the next call.
  Count& operator[](std::uint64_t key) {
    if (2 * used_ >= slots_.size()) grow();
    Count& slot = slots_[place(key)];
    if (slot.seen == 0) {
      slot.key = key;
      ++used_;
    }
    return slot;
  }
  Count find(std::uint64_t key) const { return slots_[place(key)]; }

 private:
  std::size_t place(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = mix(key) & mask;
    while (slots_[i].seen != 0 && slots_[i].key != key) i = (i + 1) & mask;
    return i;
  }
  void grow() {
    const std::vector<Count> old = std::exchange(slots_, std::vector<Count>(2 * slots_.size()));
    for (const Count& slot : old)
      if (slot.seen != 0) slots_[place(slot.key)] = slot;
  }

  std::vector<Count> slots_ = std::vector<Count>(1 << 10);
  std::size_t used_ = 0;
};

/// Makes a key of a few ids: packed side by side if they fit into 64 bits, else hashed.
class Keys {
 public:
  Keys(std::size_t vocabulary, std::size_t order)
      : bits_(static_cast<std::size_t>(std::bit_width(vocabulary - 1))),
        exact_(bits_ * order <= 64) {}

  std::uint64_t operator()(std::span<const std::int32_t> ids) const {
    std::uint64_t key = 0;
    for (const std::int32_t id : ids) {
      const auto bits = static_cast<std::uint64_t>(id);
      key = exact_ ? (key << bits_ | bits) : mix(key ^ bits);
    }
    return key;
  }

 private:
  std::size_t bits_;
  bool exact_;
};

void check(std::span<const std::int32_t> ids, std::string_view name, std::size_t vocabulary) {
  if (ids.empty())
    throw tapegrad::UsageError("[ngram_losses] " + std::string(name) +
                               " has no ids: there must be at least one");
  for (const std::int32_t id : ids)
    if (id < 0 || static_cast<std::size_t>(id) >= vocabulary)
      throw tapegrad::UsageError("[ngram_losses] " + std::string(name) + " holds the id " +
                                 std::to_string(id) + " but vocabulary is " +
                                 std::to_string(vocabulary) + ": ids must be in [0, vocabulary)");
}

}  // namespace

std::vector<double> ngram_losses(std::span<const std::int32_t> train,
                                 std::span<const std::int32_t> valid, std::size_t vocabulary,
                                 std::size_t max_order) {
  check(train, "train", vocabulary);
  check(valid, "valid", vocabulary);
  std::vector<std::int32_t> text(train.begin(), train.end());
  text.insert(text.end(), valid.begin(), valid.end());
  const std::span<const std::int32_t> ids(text);

  // P_{k-1} of every id of `valid`; one order is counted, used and forgotten after the other.
  std::vector<double> probability(valid.size(), 1 / static_cast<double>(vocabulary));
  std::vector<double> losses;
  for (std::size_t order = 1; order <= max_order; ++order) {
    const std::size_t history = order - 1;
    const Keys key(vocabulary, order);
    Counts histories, grams;
    for (std::size_t i = history; i < train.size(); ++i) {
      Count& h = histories[key(ids.subspan(i - history, history))];
      Count& hc = grams[key(ids.subspan(i - history, order))];
      ++h.seen;
      if (hc.seen++ == 0) ++h.types;
    }

    double loss = 0;
    for (std::size_t v = 0; v < valid.size(); ++v) {
      const std::size_t i = train.size() + v;
      if (i >= history) {
        const Count h = histories.find(key(ids.subspan(i - history, history)));
        const Count hc = grams.find(key(ids.subspan(i - history, order)));
        const double types = h.types;
        if (h.seen != 0) probability[v] = (hc.seen + types * probability[v]) / (h.seen + types);
      }
      loss -= std::log(probability[v]);
    }
    losses.push_back(loss / static_cast<double>(valid.size()));
  }
  return losses;
}

}  // namespace examples
