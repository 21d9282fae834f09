#pragma once

#include <tapegrad/tapegrad.h>

#include <cstddef>
#include <span>
#include <vector>

namespace examples {

/// A linear forecast: the next value is a constant and a weighted sum of the p values before it, which
/// least squares find.
///
///   x_t = c + sum_k w_k x_{t-k},   k = 1 ... p
class Autoregression {
 public:
  /// Fits the values of `rows`. Throws UsageError unless there are more than 2p + 1 of them.
  Autoregression(std::span<const double> series, const tapegrad::Rows& rows, std::size_t order);

  std::size_t order() const { return weights_.size() - 1; }
  /// Returns the forecasts of `horizon` values from row `origin` on, of the values before: each is
  /// made with those forecast before it.
  std::vector<double> forecast(std::span<const double> series, std::size_t origin,
                               std::size_t horizon) const;

 private:
  std::vector<double> weights_;  // c, w_1, ... w_p
};

/// Root mean squared error at each of `horizon` steps, of forecasts made in each row from which all
/// steps are in `part`.
std::vector<double> rmse_by_step(const Autoregression& model, std::span<const double> series,
                                 const tapegrad::Rows& part, std::size_t horizon);

}  // namespace examples
