#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../tensor.h"

/// Figures of merit of classifiers, over as many batches as one likes: exact whatever the batches'
/// sizes, and whatever stands behind the ends of padded sequences. Sums are float64. A batch that is
/// refused counts nothing. `a += b` adds what b has counted, so that parts of a test can be counted
/// in parallel.
namespace tapegrad {

struct MetricOptions {
  std::int32_t ignore_index = -100;  // rows with this id do not count
  Tensor weights = {};               // (...) like ids, finite, >= 0, of any dtype; undefined: 1
};

/// Share of rows whose largest score is that of the right class.
class Accuracy {
 public:
  /// Counts scores (..., C), logits or probabilities, against ids (...) int32 in [0, C). Of equal
  /// scores the first is the largest. A row of weight 0 is not read. Throws ShapeError, DtypeError,
  /// UsageError for an id or a weight out of range, NonFiniteError for a NaN; then nothing of the
  /// batch is counted.
  void add(const Tensor& scores, const Tensor& ids, const MetricOptions& options = {});
  Accuracy& operator+=(const Accuracy& other);

  /// Returns the share, in [0, 1]. Throws UsageError if nothing was counted.
  double value() const;
  /// Returns the sum of the weights of the rows counted.
  double count() const { return count_; }

 private:
  double right_ = 0, count_ = 0;
};

/// Scores of one class, or their average over classes. All are in [0, 1] but the support.
struct ClassScores {
  double precision = 0;  // of the rows taken for this class, the share that are of it
  double recall = 0;     // of the rows of this class, the share taken for it
  double f1 = 0;         // their harmonic mean
  double support = 0;    // sum of the weights of the rows of this class
};

/// Counts of rows by the class they are of and the class they are taken for.
///
/// A share of no rows is 0, as with scikit-learn's zero_division=0: the precision of a class that
/// was never predicted, the recall of one that never occurred, the F1 of one that was neither.
/// Averages are over all C classes, such ones too; never_predicted() and never_occurred() say how
/// many there are, and text() says it to people.
class ConfusionMatrix {
 public:
  /// Makes an empty C x C matrix. Throws UsageError unless there are at least two classes, and if
  /// the matrix is too large.
  explicit ConfusionMatrix(std::size_t classes);

  /// Counts scores (..., C), as Accuracy::add() does.
  void add(const Tensor& scores, const Tensor& ids, const MetricOptions& options = {});
  /// Counts predicted ids (...) int32 in [0, C) against ids (...). Throws likewise; a prediction of
  /// weight 0 is not read.
  void add_ids(const Tensor& predicted, const Tensor& ids, const MetricOptions& options = {});
  /// Adds another matrix; throws UsageError unless it has as many classes.
  ConfusionMatrix& operator+=(const ConfusionMatrix& other);

  std::size_t classes() const { return classes_; }
  /// Returns the sum of the weights of the rows of class `id` that were taken for `predicted`.
  /// Throws UsageError for a class that does not exist.
  double count(std::size_t id, std::size_t predicted) const;
  /// Returns the sum of all weights.
  double count() const { return total_; }

  /// Returns the share of rows that were taken for their class. This and what follows throw
  /// UsageError if nothing was counted.
  double accuracy() const;
  /// Returns the scores of one class. Throws UsageError for a class that does not exist.
  ClassScores of_class(std::size_t id) const;
  /// Returns the mean of the scores over the classes.
  ClassScores macro() const;
  /// Returns the mean of the scores over the classes, weighted by their supports.
  ClassScores weighted() const;
  /// Returns the scores of the counts of all classes together; as each row has one class and is
  /// taken for one, all three are the accuracy.
  ClassScores micro() const;
  /// Returns the number of classes that no row was taken for, or that no row is of.
  std::size_t never_predicted() const;
  std::size_t never_occurred() const;

  /// Returns a table for people: the scores of each class and their averages, three decimals, and in
  /// words how many classes have no rows. `names`: those of the classes, or empty for their numbers;
  /// else UsageError.
  std::string text(std::span<const std::string> names = {}) const;

 private:
  void count_row(std::size_t id, std::size_t predicted, double weight);
  double row_sum(std::size_t id) const;
  double column_sum(std::size_t predicted) const;

  std::size_t classes_;
  std::vector<double> counts_;  // C x C; rows: what is, columns: what was predicted
  double right_ = 0, total_ = 0;
};

/// Area under the receiver operating characteristic of a binary classifier, exactly: the
/// probability that a positive row has a higher score than a negative one, where equal scores count
/// half (the Mann-Whitney U statistic). Keeps every score, 24 bytes each.
class RocAuc {
 public:
  /// Counts scores (...), logits or probabilities of class 1, against ids (...) int32, 0 or 1. A
  /// score of weight 0 is not read. Throws like Accuracy::add().
  void add(const Tensor& scores, const Tensor& ids, const MetricOptions& options = {});
  RocAuc& operator+=(const RocAuc& other);

  /// Returns the area, in [0, 1]; of scores that tell nothing it is 0.5. Throws UsageError unless
  /// both classes were counted.
  double value() const;
  /// Returns the sum of the weights of the scores counted.
  double count() const;

 private:
  struct Row {
    double score, weight;
    bool positive;
  };
  std::vector<Row> rows_;
};

}  // namespace tapegrad
