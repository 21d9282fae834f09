#include "splits.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <string_view>
#include <utility>

#include "../check-inl.h"
#include "../fail-inl.h"
#include "../rng.h"
#include "shuffle-inl.h"

namespace tapegrad {
namespace {

using Places = std::vector<std::size_t>;

constexpr double tiny = 1e-9;  // above the rounding of sums of fractions, below any share

void check_fractions(std::string_view where, const std::vector<double>& fractions) {
  if (fractions.size() < 2) {
    fail<UsageError>(where,
                     "fractions has {} entries: there must be one for each of two parts or "
                     "more",
                     fractions.size());
  }
  for (const double fraction : fractions) {
    if (!(fraction > 0))  // true for NaN
      fail<UsageError>(where, "a fraction is {}: each must be above 0", fraction);
  }
  const double sum = std::accumulate(fractions.begin(), fractions.end(), 0.0);
  if (!(std::abs(sum - 1) <= tiny))
    fail<UsageError>(where, "the fractions sum to {}: they must sum to 1", sum);
}

/// The places of each class's members in ids (n), each class in a random order of its own.
std::map<std::int32_t, Places> classes_of(std::string_view where, const Tensor& ids,
                                          std::size_t parts, std::uint64_t seed) {
  check::defined(where, {{"ids", ids}});
  if (ids.rank() != 1) check::wrong_shape(where, "ids", ids.shape(), "(n)");
  if (ids.dtype() != DType::int32)
    fail<DtypeError>(where, "ids is {}: it must be int32; convert it with to()", ids.dtype());
  std::map<std::int32_t, Places> classes;
  for (std::size_t k = 0; k < ids.numel(); ++k) classes[ids.data<std::int32_t>()[k]].push_back(k);
  if (classes.size() < 2) {
    fail<UsageError>(where,
                     "ids has {} members of {} classes: there must be two classes or more; "
                     "k_fold splits without them",
                     ids.numel(), classes.size());
  }
  Rng rng(seed, where);
  for (auto& [id, members] : classes) {
    if (members.size() < parts) {
      fail<UsageError>(where,
                       "class {} has {} members for {} parts: it must have one for each; "
                       "take fewer parts, or leave the class out",
                       id, members.size(), parts);
    }
    shuffle(members, rng);
  }
  return classes;
}

/// Deals the places out to k folds in turn, so that any run of them is spread evenly.
std::vector<Fold> folds_of(const Places& order, std::size_t k) {
  Places fold_of(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) fold_of[order[i]] = i % k;
  std::vector<Fold> folds(k);
  for (std::size_t place = 0; place < order.size(); ++place) {
    for (std::size_t f = 0; f < k; ++f)
      (f == fold_of[place] ? folds[f].test : folds[f].train).push_back(place);
  }
  return folds;
}

void check_folds(std::string_view where, std::size_t k) {
  if (k < 2) fail<UsageError>(where, "k is {}: there must be two folds or more", k);
}

}  // namespace

std::string to_string(const Rows& rows) {
  if (rows.begin >= rows.end) return "no rows";
  if (rows.size() == 1) return fmt::format("row {}", rows.begin);
  return fmt::format("rows {} to {}", rows.begin, rows.end - 1);
}

Split split_in_time(const Tensor& sequence, double valid_fraction) {
  if (sequence.rank() == 0) {
    fail<ShapeError>("split_in_time", "the sequence is a scalar: its first axis must be time");
  }
  // Written so that NaN is refused, too.
  if (!(valid_fraction > 0 && valid_fraction < 1)) {
    fail<UsageError>("split_in_time", "valid_fraction is {} but must be between 0 and 1",
                     valid_fraction);
  }
  const std::size_t n = sequence.size(0);
  const auto valid =
      static_cast<std::size_t>(std::llround(valid_fraction * static_cast<double>(n)));
  if (valid == 0 || valid >= n) {
    fail<UsageError>("split_in_time",
                     "a valid_fraction of {} leaves {} of {} entries for training and {} for "
                     "validation: both need one",
                     valid_fraction, n - std::min(valid, n), n, valid);
  }
  return {sequence.slice(0, n - valid), sequence.slice(n - valid, n)};
}

std::vector<Rows> split_in_time(std::size_t n, const std::vector<double>& fractions) {
  check_fractions("split_in_time", fractions);
  std::vector<Rows> parts(fractions.size());
  double behind = 0;
  for (std::size_t p = fractions.size(), end = n; p-- > 0; end = parts[p].begin) {
    behind += fractions[p];
    const auto rows = static_cast<std::size_t>(std::llround(behind * static_cast<double>(n)));
    parts[p] = {p == 0 ? 0 : n - std::min(rows, n), end};
  }
  for (std::size_t p = 0; p < parts.size(); ++p) {
    if (parts[p].begin == parts[p].end) {
      fail<UsageError>("split_in_time",
                       "part {} has a fraction of {} of {} rows and gets none: "
                       "each part needs one",
                       p, fractions[p], n);
    }
  }
  return parts;
}

std::vector<Places> split_stratified(const Tensor& ids, const std::vector<double>& fractions,
                                     std::uint64_t seed) {
  constexpr const char* name = "split_stratified";
  check_fractions(name, fractions);
  const std::size_t n_parts = fractions.size();
  std::vector<Places> parts(n_parts);
  std::vector<double> of_all(n_parts);  // what a part is short of
  for (const auto& [id, members] : classes_of(name, ids, n_parts, seed)) {
    std::vector<double> of_class(n_parts);
    for (std::size_t p = 0; p < n_parts; ++p) {
      of_class[p] = fractions[p] * static_cast<double>(members.size());
      of_all[p] += of_class[p];
    }
    // First whole members; what is left of a class goes to the parts that are short of most.
    const auto need = [&](std::size_t p) {
      return std::pair(of_class[p] > 1 - tiny ? 2 : of_class[p] > tiny ? 1 : 0, of_all[p]);
    };
    for (const std::size_t place : members) {
      std::size_t neediest = 0;
      for (std::size_t p = 1; p < n_parts; ++p) {
        if (need(p) > need(neediest)) neediest = p;
      }
      parts[neediest].push_back(place);
      of_class[neediest] -= 1;
      of_all[neediest] -= 1;
    }
  }
  for (std::size_t p = 0; p < n_parts; ++p) {
    if (parts[p].empty()) {
      fail<UsageError>(name,
                       "part {} has a fraction of {} of {} members and gets none: each part needs "
                       "one",
                       p, fractions[p], ids.numel());
    }
    std::ranges::sort(parts[p]);
  }
  return parts;
}

std::vector<Fold> k_fold(std::size_t n, std::size_t k, std::uint64_t seed) {
  check_folds("k_fold", k);
  if (k > n) {
    fail<UsageError>("k_fold",
                     "k is {} but n is {}: each fold needs a place to test, so k must "
                     "be at most n",
                     k, n);
  }
  Places order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Rng rng(seed, "k_fold");
  shuffle(order, rng);
  return folds_of(order, k);
}

std::vector<Fold> k_fold_stratified(const Tensor& ids, std::size_t k, std::uint64_t seed) {
  check_folds("k_fold_stratified", k);
  Places order;
  for (const auto& [id, members] : classes_of("k_fold_stratified", ids, k, seed))
    order.insert(order.end(), members.begin(), members.end());
  return folds_of(order, k);
}

std::vector<RollingFold> rolling_origin(std::size_t n, const RollingOriginOptions& o) {
  if (o.train == 0 || o.horizon == 0) {
    fail<UsageError>("rolling_origin", "train is {} and horizon is {}: both must be at least 1",
                     o.train, o.horizon);
  }
  // Written so that no sum overflows or is rounded; the message's is a double.
  if (o.train > n || o.gap > n - o.train || o.horizon > n - o.train - o.gap) {
    const double needed =
        static_cast<double>(o.train) + static_cast<double>(o.gap) + static_cast<double>(o.horizon);
    fail<UsageError>("rolling_origin",
                     "the series has {} rows but train is {}, gap is {} and horizon is {}: one "
                     "fold needs {:.0f} rows",
                     n, o.train, o.gap, o.horizon, needed);
  }
  const std::size_t step = o.step == 0 ? o.horizon : o.step;
  std::vector<RollingFold> folds;
  // Written so that no sum overflows, whatever the step.
  for (std::size_t moved = 0, most = n - o.train - o.gap - o.horizon;; moved += step) {
    const std::size_t end = o.train + moved, test = end + o.gap;
    folds.push_back({{o.sliding ? moved : 0, end}, {test, test + o.horizon}});
    if (most - moved < step) return folds;
  }
}

}  // namespace tapegrad
