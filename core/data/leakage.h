#pragma once

#include <string>
#include <vector>

#include "scalers.h"
#include "series.h"
#include "splits.h"

/// Leakage: knowledge that a training has of the rows by which it is judged.
namespace tapegrad {

/// Data that a forecast is learnt from and judged by, all of one series; a null pointer is not looked
/// at.
struct ForecastData {
  Rows train = {}, test = {};
  const Scaler* scaler = nullptr;
  const SeriesWindows* train_windows = nullptr;
  const SeriesWindows* test_windows = nullptr;
};

/// Returns a line for each way in which test rows leak into the training, with the rows and the
/// cure; none if there is no leakage:
///
///   * the training part does not end before the test part begins;
///   * the scaler was fitted on rows of the test part, or behind it;
///   * windows to train with read or predict such rows, as those do that were made of the whole
///     series and split at random;
///   * windows to test with predict rows that are not in the test part. (They may read earlier rows:
///     at the time of a forecast the past is known.)
///
///     leakage({.train = parts[0], .test = parts[1], .scaler = &scaler, .train_windows = &train})
///     the scaler was fitted on rows 0 to 2819, rows 1973 to 2819 among them, but the test part
///     begins in row 1973: fit it on the training part, rows 0 to 1972
///
/// Throws UsageError if a part has no rows, and for a scaler that was not fitted.
std::vector<std::string> leakage(const ForecastData& data);

}  // namespace tapegrad
