#include <doctest/doctest.h>
#include <tapegrad/tapegrad.h>

#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "../../examples/ngram.h"

using examples::ngram_losses;
using tapegrad::Rng;

namespace {

using Ids = std::vector<std::int32_t>;

/// The definition, word by word: recursion over maps of whole histories.
class BruteForce {
 public:
  BruteForce(const Ids& train, std::size_t vocabulary, std::size_t max_order)
      : vocabulary_(vocabulary) {
    for (std::size_t i = 0; i < train.size(); ++i)
      for (std::size_t k = 0; k < max_order && k <= i; ++k)
        ++followers_[Ids(train.begin() + static_cast<std::ptrdiff_t>(i - k),
                         train.begin() + static_cast<std::ptrdiff_t>(i))][train[i]];
  }

  /// P(c | h) of the model whose order is one more than the length of h.
  double probability(const Ids& h, std::int32_t c) const {
    const double lower = h.empty() ? 1 / static_cast<double>(vocabulary_)
                                   : probability(Ids(h.begin() + 1, h.end()), c);
    const auto found = followers_.find(h);
    if (found == followers_.end()) return lower;
    double total = 0;
    for (const auto& [id, count] : found->second) total += count;
    const auto types = static_cast<double>(found->second.size());
    const auto here = found->second.find(c);
    return ((here == found->second.end() ? 0 : here->second) + types * lower) / (total + types);
  }

  double loss(const Ids& train, const Ids& valid, std::size_t order) const {
    Ids text = train;
    double sum = 0;
    for (const std::int32_t c : valid) {
      const std::size_t k = std::min(order - 1, text.size());
      sum -= std::log(probability(Ids(text.end() - static_cast<std::ptrdiff_t>(k), text.end()), c));
      text.push_back(c);
    }
    return sum / static_cast<double>(valid.size());
  }

 private:
  std::size_t vocabulary_;
  std::map<Ids, std::map<std::int32_t, double>> followers_;
};

/// A text in which histories matter: every id depends on one of the two before it. At most 20
/// different ids, spread over the vocabulary, so that long histories come back.
Ids random_text(std::size_t length, std::size_t vocabulary, Rng& rng) {
  const std::size_t kinds = std::min<std::size_t>(vocabulary, 20);
  const std::size_t apart = vocabulary / kinds;
  std::vector<std::size_t> text;
  for (std::size_t i = 0; i < length; ++i) {
    const std::size_t before = i < 2 ? 0 : text[i - 1 - rng.below(2)];
    text.push_back((3 * before + rng.below(3)) % kinds);
  }
  Ids ids;
  for (const std::size_t kind : text) ids.push_back(static_cast<std::int32_t>(kind * apart));
  return ids;
}

}  // namespace

TEST_CASE("ngram: an example worked out by hand") {
  // a = 0, b = 1, c = 2: train "abab", valid "ac".
  // Order 1: count a 2, b 2 of 4, 2 types, P_0 = 1/3. P(a) = (2 + 2/3) / 6 = 4/9, P(c) = 1/9.
  // Order 2: after b (once, 1 type: a) P(a|b) = (1 + 4/9) / 2 = 13/18;
  //          after a (twice, 1 type: b) P(c|a) = (0 + 1/9) / 3 = 1/27.
  // Order 3: after ab (twice as text, once followed, by a) P(a|ab) = (1 + 13/18) / 2 = 31/36;
  //          after ba (once, by b) P(c|ba) = (0 + 1/27) / 2 = 1/54.
  // Order 4: after bab, never followed: 31/36; after aba (once, by b): (0 + 1/54) / 2 = 1/108.
  const std::vector<double> losses = ngram_losses(Ids{0, 1, 0, 1}, Ids{0, 2}, 3, 4);
  REQUIRE(losses.size() == 4);
  const auto mean = [](double p, double q) { return -(std::log(p) + std::log(q)) / 2; };
  CHECK(losses[0] == doctest::Approx(mean(4. / 9, 1. / 9)).epsilon(1e-14));
  CHECK(losses[1] == doctest::Approx(mean(13. / 18, 1. / 27)).epsilon(1e-14));
  CHECK(losses[2] == doctest::Approx(mean(31. / 36, 1. / 54)).epsilon(1e-14));
  CHECK(losses[3] == doctest::Approx(mean(31. / 36, 1. / 108)).epsilon(1e-14));
}

TEST_CASE("ngram: equal to brute force over maps") {
  Rng rng(5);
  // For the last three the longest sequences do not fit into 64 bits and are hashed. There are more
  // sequences than a table has slots at first.
  for (const std::size_t vocabulary :
       std::initializer_list<std::size_t>{1, 2, 7, 128, 129, 2048, 2049, 100'000}) {
    CAPTURE(vocabulary);
    const Ids train = random_text(2500, vocabulary, rng);
    const Ids valid = random_text(300, vocabulary, rng);
    const BruteForce brute(train, vocabulary, 7);
    const std::vector<double> losses = ngram_losses(train, valid, vocabulary, 7);
    for (std::size_t order = 1; order <= 7; ++order) {
      CAPTURE(order);
      CHECK(losses[order - 1] == doctest::Approx(brute.loss(train, valid, order)).epsilon(1e-12));
    }
  }
}

TEST_CASE("ngram: probabilities of all ids sum to 1") {
  Rng rng(6);
  const std::size_t vocabulary = 5;
  const Ids train = random_text(60, vocabulary, rng);
  double sums[3] = {};
  for (std::int32_t c = 0; c < 5; ++c) {
    const std::vector<double> losses = ngram_losses(train, Ids{c}, vocabulary, 3);
    for (std::size_t k = 0; k < 3; ++k) sums[k] += std::exp(-losses[k]);
  }
  for (const double sum : sums) CHECK(sum == doctest::Approx(1).epsilon(1e-13));
}

TEST_CASE("ngram: a training text shorter than the histories") {
  const BruteForce brute(Ids{1}, 2, 6);
  const std::vector<double> losses = ngram_losses(Ids{1}, Ids{0, 1, 1}, 2, 6);
  for (std::size_t order = 1; order <= 6; ++order)
    CHECK(losses[order - 1] ==
          doctest::Approx(brute.loss(Ids{1}, Ids{0, 1, 1}, order)).epsilon(1e-14));
}

TEST_CASE("ngram: what it refuses") {
  CHECK_THROWS_WITH_AS(ngram_losses({}, Ids{0}, 2, 3),
                       "[ngram_losses] train has no ids: there must be at least one",
                       tapegrad::UsageError);
  CHECK_THROWS_AS(ngram_losses(Ids{0}, {}, 2, 3), tapegrad::UsageError);
  CHECK_THROWS_WITH_AS(
      ngram_losses(Ids{0, 2}, Ids{0}, 2, 3),
      "[ngram_losses] train holds the id 2 but vocabulary is 2: ids must be in [0, vocabulary)",
      tapegrad::UsageError);
  CHECK_THROWS_AS(ngram_losses(Ids{0}, Ids{-1}, 2, 3), tapegrad::UsageError);
}
