#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "forecast_report.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::scores {

/// Checked input of a report; forecasts, lower and upper are (n, H), row-major.
struct Forecasts {
  std::span<const double> series;
  std::span<const std::size_t> origins;
  std::span<const double> values;
  std::span<const double> lower, upper;  // or empty
  std::size_t season;
  double level;

  std::size_t steps() const { return values.size() / origins.size(); }
  /// Column h of (n, H).
  std::vector<double> column(std::span<const double> table, std::size_t h) const;
  /// The series `back` rows before the rows forecast in column h.
  std::vector<double> truth(std::size_t h, std::size_t back = 0) const;
};

/// Scores of column h, which is h + 1 steps ahead.
HorizonScores horizon(const Forecasts& forecasts, std::size_t h);
ResidualScores residuals(const Forecasts& forecasts);

}  // namespace tapegrad::scores

#pragma GCC visibility pop
