#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../tensor.h"

/// Data cut into parts for training, validation and test. Every random split is a function of its
/// seed, the same on all machines.
namespace tapegrad {

/// Rows [begin, end) of a series, counted along its first axis, the time.
struct Rows {
  std::size_t begin = 0, end = 0;

  std::size_t size() const { return end - begin; }
  bool operator==(const Rows&) const = default;
};
/// Returns "rows 0 to 9", the last one included; "row 0" for one and "no rows" for none.
std::string to_string(const Rows& rows);

struct Split {
  Tensor train, valid;
};

/// Cuts a sequence in two along its first axis, the time: the last `valid_fraction` of its n
/// entries, rounded to a whole number of them, is `valid`, all before is `train`. The order is kept
/// and the parts are views.
///
/// Throws ShapeError for a scalar, UsageError unless 0 < valid_fraction < 1 and both parts have an
/// entry.
Split split_in_time(const Tensor& sequence, double valid_fraction);

/// Cuts n rows into parts that follow one another in time: the last part begins n times its
/// fraction, rounded, before the end, the last two begin n times the sum of their fractions before
/// it, and so on.
///
///     const std::vector<Rows> parts = split_in_time(series.size(0), {0.7, 0.15, 0.15});
///
/// Throws UsageError unless there are two fractions or more, each above 0, their sum is 1, and every
/// part gets a row.
std::vector<Rows> split_in_time(std::size_t n, const std::vector<double>& fractions);

/// Draws a random split of the places 0 to n - 1 of ids (n), int32, in which every part has each
/// class's share: of n_c members of a class, a part with fraction f gets f n_c, rounded up or down,
/// and its size, too, comes near f n. Each part's places are in ascending order.
///
///     const auto parts = split_stratified(labels, {0.8, 0.2}, seed);   // train, test
///
/// Throws ShapeError, DtypeError; UsageError for fractions as above, for ids of one class only, for
/// a class with fewer members than there are parts, and for a part that gets no member.
std::vector<std::vector<std::size_t>> split_stratified(const Tensor& ids,
                                                       const std::vector<double>& fractions,
                                                       std::uint64_t seed);

/// Places to train with and to test with, in ascending order.
struct Fold {
  std::vector<std::size_t> train, test;
};

/// Draws k folds of the places 0 to n - 1 for cross-validation: each place is in one fold's test,
/// and the tests' sizes differ by one at most. Throws UsageError unless 2 <= k <= n.
std::vector<Fold> k_fold(std::size_t n, std::size_t k, std::uint64_t seed);

/// Draws k folds in which each class's members, too, are spread over the tests, to one member. ids
/// (n), int32. Throws UsageError for k < 2, for ids of one class only, and for a class with fewer
/// than k members; ShapeError, DtypeError.
std::vector<Fold> k_fold_stratified(const Tensor& ids, std::size_t k, std::uint64_t seed);

struct RollingOriginOptions {
  std::size_t train = 0;    // rows of the first fold's training part; must be given
  std::size_t horizon = 1;  // rows of a test
  std::size_t step = 0;     // rows from one fold to the next; 0: the horizon, so no test overlaps
  std::size_t gap = 0;      // rows left out between training and test
  bool sliding = false;     // the training part keeps its length; else it grows from row 0
};

struct RollingFold {
  Rows train, test;
};

/// Returns the folds of rolling-origin cross-validation of a series of n rows (Tashman 2000), from
/// the earliest on: training always ends before its test begins.
///
///   train [j step if sliding, else 0;  train + j step)
///   test  [train + j step + gap;       train + j step + gap + horizon),   j = 0, 1, ...
///
/// Throws UsageError unless train and horizon are at least 1 and n is at least train + gap +
/// horizon.
std::vector<RollingFold> rolling_origin(std::size_t n, const RollingOriginOptions& options);

}  // namespace tapegrad
