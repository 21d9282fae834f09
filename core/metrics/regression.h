#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "../tensor.h"

/// Figures of merit of predictions of numbers, over as many batches as one likes: exact whatever the
/// batches' sizes, and whatever stands behind the ends of padded sequences. Sums are float64. A
/// batch that is refused counts nothing.
namespace tapegrad {

/// Errors of predictions y' of targets y, all elements of all batches taken as one list, with
/// weights w. `a += b` adds what b has counted.
class RegressionMetrics {
 public:
  /// Counts predictions against targets of their shape and dtype; weights like targets, finite, >= 0,
  /// of any dtype, undefined: 1. An element of weight 0 is not read. Throws ShapeError, DtypeError,
  /// UsageError for a weight out of range, NonFiniteError for a number that is not finite; then
  /// nothing of the batch is counted.
  void add(const Tensor& predictions, const Tensor& targets, const Tensor& weights = {});
  RegressionMetrics& operator+=(const RegressionMetrics& other);

  /// Returns the sum of the weights of the elements counted. What follows throws UsageError if
  /// nothing was.
  double count() const { return targets_.weight; }
  /// Returns the mean squared error, sum w (y' - y)^2 / sum w.
  double mse() const;
  /// Returns the root of mse(), in the targets' unit.
  double rmse() const;
  /// Returns the mean absolute error, sum w |y' - y| / sum w.
  double mae() const;
  /// Returns the mean absolute percentage error as a share, sum w |(y' - y) / y| / sum w: 0.1 is
  /// 10 %. Throws UsageError if a target is 0, of which no error is a percentage.
  double mape() const;
  /// Returns the coefficient of determination, 1 - sum w (y' - y)^2 / sum w (y - mean)^2: 1 is
  /// perfect, 0 is no better than the mean of the targets, below 0 is worse. The deviations from
  /// the mean are summed without cancellation (Chan, Golub and LeVeque 1983). Throws UsageError if
  /// the targets are constant.
  double r2() const;

 private:
  /// Sum of weights, mean, and sum of squared deviations from the mean. The mean is origin + mean,
  /// with the first number as origin: of numbers far from 0 that are near each other no digit is
  /// lost.
  struct Moments {
    double weight = 0, origin = 0, mean = 0, deviations = 0;
    void merge(const Moments& other);
  };
  Moments targets_;
  double squared_ = 0, absolute_ = 0, relative_ = 0;
  std::size_t zeros_ = 0;  // targets of 0
};

struct ESROptions {
  double pre_emphasis = 0;  // a of the filter 1 - a z^-1, in [0, 1); 0.85 and 0.95 are usual
};

/// Error-to-signal ratio of audio, sum w (f(y') - f(y))^2 / sum w f(y)^2, where f is the
/// pre-emphasis filter f(y)[t] = y[t] - a y[t - 1] (Wright et al. 2019), as
/// esr_loss() without its other terms. The filter's state is carried from chunk to chunk.
class ESR {
 public:
  /// Throws UsageError for a pre_emphasis out of range.
  explicit ESR(const ESROptions& options = {});

  /// Counts a chunk (T, ...) of as many sequences as the chunk before, which goes on where that
  /// ended. Arguments and errors are those of RegressionMetrics::add(), and UsageError for a chunk
  /// whose other axes are not those of the chunk before. An element of weight 0 is not read, and is
  /// 0 to the filter.
  void add(const Tensor& predictions, const Tensor& targets, const Tensor& weights = {});
  /// Begins new sequences: what is before their first step is 0.
  void restart() { last_.reset(); }

  /// Returns the ratio: 0 is perfect, 1 is as bad as silence. Throws UsageError if nothing but
  /// silence was counted.
  double value() const;

 private:
  /// Of each sequence, the error and the target at the last step.
  struct Last {
    Shape shape;  // of a step
    std::vector<double> error, target;
  };
  double pre_emphasis_;
  std::optional<Last> last_;
  double errors_ = 0, signal_ = 0;
};

}  // namespace tapegrad
