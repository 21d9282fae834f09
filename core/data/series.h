#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "../tensor.h"
#include "splits.h"

/// Windows of a series of numbers, to learn forecasts from.
namespace tapegrad {

struct SeriesWindowOptions {
  std::size_t look_back = 0;             // L, rows that are read; must be given
  std::size_t horizon = 1;               // H, rows to predict, which follow those that are read
  std::size_t stride = 1;                // rows from one window to the next
  std::vector<std::size_t> target = {};  // columns to predict; none: all
};

/// Windows side by side, as the recurrent layers take them.
struct SeriesBatch {
  Tensor x;  // (L, B, F)
  Tensor y;  // (H, B, F'), the target columns of the H rows that follow
};

/// Windows of a series (n, F), or (n) with F = 1: each is L rows to read and the H rows behind them
/// to predict. Windows know their rows, so that leakage() can tell what has been seen.
///
///     const std::vector<Rows> parts = split_in_time(series.size(0), {0.7, 0.3});
///     const SeriesWindows windows(scaled, {.look_back = 48, .horizon = 12, .target = {2}});
///     const SeriesWindows train = windows.inside(parts[0]), test = windows.targets_in(parts[1]);
///     for (const auto& chosen : Batches(train.size(), 32, {.shuffle = seed})) {
///       const auto [x, y] = train.batch(chosen); ...
class SeriesWindows {
 public:
  /// Makes all windows of `series`, float32 or float64, which is shared, not copied. Window k begins
  /// in row k stride. Throws UsageError unless L, H and stride are at least 1, the target columns
  /// exist, and n is at least L + H; ShapeError, DtypeError.
  SeriesWindows(Tensor series, SeriesWindowOptions options);

  /// Returns the windows all of whose rows are in `part`, those that are read and those to predict:
  /// window k begins in row part.begin + k stride. Throws UsageError for rows that do not exist, and
  /// unless there are L + H of them.
  SeriesWindows inside(const Rows& part) const;
  /// Returns the windows whose rows to predict are in `part`, while those that are read may lie
  /// before it: at the time of a forecast the past is known. The first row that window k predicts is
  /// part.begin + k stride, or L + k stride if there are fewer than L rows before the part. Throws
  /// UsageError for rows that do not exist, and if no window is left.
  SeriesWindows targets_in(const Rows& part) const;
  /// Returns those windows that `places` has the places of. Throws UsageError for no places, and for
  /// one that does not exist.
  SeriesWindows subset(std::span<const std::size_t> places) const;

  /// Returns the number of windows, at least 1.
  std::size_t size() const { return begins_.size(); }
  /// Returns the rows that window k reads, and those that it predicts. Throws UsageError unless k <
  /// size().
  Rows inputs(std::size_t k) const;
  Rows targets(std::size_t k) const;

  /// Returns the B windows of these places, which may repeat, in tensors of their own. Throws
  /// UsageError for no places, and for one that does not exist.
  SeriesBatch batch(std::span<const std::size_t> places) const;
  /// Returns all windows side by side.
  SeriesBatch all() const;

 private:
  SeriesWindows spaced(std::size_t first, std::size_t end) const;

  Tensor series_;  // (n, F)
  SeriesWindowOptions options_;
  std::vector<std::size_t> begins_;  // first row of each window
};

}  // namespace tapegrad
