#pragma once

#include <cstdint>

#include "../tensor.h"

/// Figures of merit over as many batches as one likes: exact whatever the batches' sizes, and
/// whatever stands behind the ends of padded sequences.
namespace tapegrad {

struct MetricOptions {
  std::int32_t ignore_index = -100;  // rows with this id do not count
  Tensor weights;                    // (...) like ids, finite, >= 0, of any dtype; undefined: 1
};

/// Share of rows whose largest score is that of the right class.
class Accuracy {
 public:
  /// Counts scores (..., C), logits or probabilities, against ids (...) int32 in [0, C). Of equal
  /// scores the first is the largest. A row of weight 0 is not read. Throws ShapeError, DtypeError,
  /// UsageError for an id or a weight out of range, NonFiniteError for a NaN; then nothing of the
  /// batch is counted.
  void add(const Tensor& scores, const Tensor& ids, const MetricOptions& options = {});

  /// Returns the share, in [0, 1]. Throws UsageError if nothing was counted.
  double value() const;
  /// Returns the sum of the weights of the rows counted.
  double count() const { return count_; }

 private:
  double right_ = 0, count_ = 0;
};

/// Perplexity of a language model, e to the mean loss of a token in nats.
class Perplexity {
 public:
  /// Counts a mean loss in nats over `count` tokens, as cross_entropy() returns it. An infinite loss (a
  /// token was thought impossible) stays so, and so does a NaN. Throws UsageError for a loss below 0,
  /// and unless the count is finite and >= 0.
  void add(double mean_loss, double count);

  /// Returns the mean loss of a token in nats. Throws UsageError if nothing was counted.
  double nats() const;
  /// Returns the mean loss of a token in bits: of a character model, bits per character.
  double bits() const;
  /// Returns the perplexity, e to nats().
  double value() const;

 private:
  double sum_ = 0, count_ = 0;
};

}  // namespace tapegrad
