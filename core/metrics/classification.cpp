#include "classification.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string_view>

#include "../check-inl.h"
#include "../dispatch-inl.h"
#include "../fail-inl.h"
#include "weights-inl.h"

namespace tapegrad {
namespace {

/// A row that counts.
struct Counted {
  std::size_t row;
  std::size_t id;
  double weight;
};

/// Checks everything but the predictions.
std::vector<Counted> counted_rows(std::string_view metric, const Tensor& ids, std::size_t classes,
                                  const MetricOptions& options) {
  check::ids(metric, ids, classes, &options.ignore_index);
  const metrics::Weights weights(metric, options.weights, "ids", ids.shape());
  std::vector<Counted> rows;
  for (std::size_t r = 0; r < ids.numel(); ++r) {
    const std::int32_t id = ids.data<std::int32_t>()[r];
    if (weights[r] == 0 || id == options.ignore_index) continue;
    rows.push_back({r, static_cast<std::size_t>(id), weights[r]});
  }
  return rows;
}

struct Predicted {
  std::size_t id, predicted;
  double weight;
};

std::vector<Predicted> predictions(std::string_view metric, const Tensor& scores, const Tensor& ids,
                                   const MetricOptions& options) {
  check::defined(metric, {{"scores", scores}, {"ids", ids}});
  const Shape& shape = scores.shape();
  if (shape.rank() == 0 || shape.without(-1) != ids.shape()) {
    check::mismatch(metric, {"scores", "(..., C)", shape}, {"ids", "(...)", ids.shape()},
                    "the leading axes must match");
  }
  check::real(metric, "scores", scores.dtype());
  const std::size_t C = shape[-1];
  std::vector<Predicted> found;
  for (const auto& [r, id, weight] : counted_rows(metric, ids, C, options)) {
    dispatch_float(scores.dtype(), [&, row = r, id = id, weight = weight]<class T>(T) {
      const std::span<const T> row_scores = scores.values<T>().subspan(row * C, C);
      if (std::ranges::any_of(row_scores, [](T x) { return std::isnan(x); }))
        fail<NonFiniteError>(metric, "row {} of the scores has a NaN", row);
      const auto largest = std::ranges::max_element(row_scores) - row_scores.begin();
      found.push_back({id, static_cast<std::size_t>(largest), weight});
    });
  }
  return found;
}

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

/// sum_k weight(k) of_class(k) / sum_k weight(k); the supports are summed.
template <class Weight>
ClassScores average(const ConfusionMatrix& matrix, Weight weight) {
  ClassScores sum;
  double total = 0;
  for (std::size_t k = 0; k < matrix.classes(); ++k) {
    const ClassScores s = matrix.of_class(k);
    const double w = weight(s);
    sum.precision += w * s.precision;
    sum.recall += w * s.recall;
    sum.f1 += w * s.f1;
    sum.support += s.support;
    total += w;
  }
  return {sum.precision / total, sum.recall / total, sum.f1 / total, sum.support};
}

constexpr const char* matrix_name = "ConfusionMatrix";

/// Returns the number of classes k of which sum(k) is 0; throws UsageError if nothing was counted.
template <class Sum>
std::size_t without_rows(const ConfusionMatrix& matrix, Sum sum) {
  (void)metrics::mean(matrix_name, 0, matrix.count());
  std::size_t found = 0;
  for (std::size_t k = 0; k < matrix.classes(); ++k) {
    if (sum(k) == 0) ++found;
  }
  return found;
}

void check_class(std::size_t id, std::size_t classes) {
  if (id < classes) return;
  fail<UsageError>(matrix_name, "class {} does not exist: classes are in [0, {})", id, classes);
}

}  // namespace

void Accuracy::add(const Tensor& scores, const Tensor& ids, const MetricOptions& options) {
  for (const Predicted& p : predictions("Accuracy", scores, ids, options)) {
    count_ += p.weight;
    if (p.predicted == p.id) right_ += p.weight;
  }
}

Accuracy& Accuracy::operator+=(const Accuracy& other) {
  right_ += other.right_;
  count_ += other.count_;
  return *this;
}

double Accuracy::value() const { return metrics::mean("Accuracy", right_, count_); }

ConfusionMatrix::ConfusionMatrix(std::size_t classes) : classes_(classes) {
  constexpr std::size_t most = 10000;  // 800 MB
  if (classes < 2 || classes > most)
    fail<UsageError>(matrix_name, "{} classes: there must be from 2 to {}", classes, most);
  counts_.resize(classes * classes);
}

void ConfusionMatrix::add(const Tensor& scores, const Tensor& ids, const MetricOptions& options) {
  if (scores.defined() && scores.rank() > 0 && scores.size(-1) != classes_) {
    fail<ShapeError>(matrix_name, "scores has shape {}: its last axis must be C = {}",
                     scores.shape(), classes_);
  }
  for (const Predicted& p : predictions(matrix_name, scores, ids, options))
    count_row(p.id, p.predicted, p.weight);
}

void ConfusionMatrix::add_ids(const Tensor& predicted, const Tensor& ids,
                              const MetricOptions& options) {
  check::defined(matrix_name, {{"predicted", predicted}, {"ids", ids}});
  check::equal_shapes(matrix_name, "predicted", predicted.shape(), "ids", ids.shape());
  if (predicted.dtype() != DType::int32) {
    fail<DtypeError>(matrix_name, "predicted is {}: it must be int32; add() takes scores",
                     predicted.dtype());
  }
  const std::vector<Counted> rows = counted_rows(matrix_name, ids, classes_, options);
  const auto column = [&](std::size_t r) {
    return static_cast<std::size_t>(predicted.data<std::int32_t>()[r]);  // below 0: huge
  };
  for (const Counted& c : rows) {
    if (column(c.row) < classes_) continue;
    fail<UsageError>(matrix_name,
                     "predicted is {} at position {} of shape {}: it must be in [0, {})",
                     predicted.data<std::int32_t>()[c.row], c.row, predicted.shape(), classes_);
  }
  for (const Counted& c : rows) count_row(c.id, column(c.row), c.weight);
}

ConfusionMatrix& ConfusionMatrix::operator+=(const ConfusionMatrix& other) {
  if (other.classes_ != classes_) {
    fail<UsageError>(matrix_name, "one has {} classes, the other {}: they must have as many",
                     classes_, other.classes_);
  }
  std::ranges::transform(counts_, other.counts_, counts_.begin(), std::plus<>());
  right_ += other.right_;
  total_ += other.total_;
  return *this;
}

double ConfusionMatrix::count(std::size_t id, std::size_t predicted) const {
  check_class(id, classes_);
  check_class(predicted, classes_);
  return counts_[id * classes_ + predicted];
}

void ConfusionMatrix::count_row(std::size_t id, std::size_t predicted, double weight) {
  counts_[id * classes_ + predicted] += weight;
  if (id == predicted) right_ += weight;  // in total_'s order, so that no rounding makes it more
  total_ += weight;
}

double ConfusionMatrix::row_sum(std::size_t id) const {
  const auto row = counts_.begin() + static_cast<std::ptrdiff_t>(id * classes_);
  return std::accumulate(row, row + static_cast<std::ptrdiff_t>(classes_), 0.0);
}

double ConfusionMatrix::column_sum(std::size_t predicted) const {
  double sum = 0;
  for (std::size_t id = 0; id < classes_; ++id) sum += counts_[id * classes_ + predicted];
  return sum;
}

double ConfusionMatrix::accuracy() const { return metrics::mean(matrix_name, right_, count()); }

ClassScores ConfusionMatrix::of_class(std::size_t id) const {
  check_class(id, classes_);
  (void)metrics::mean(matrix_name, 0, count());
  const double right = counts_[id * classes_ + id], is = row_sum(id), predicted = column_sum(id);
  return {share(right, predicted), share(right, is), share(2 * right, is + predicted), is};
}

ClassScores ConfusionMatrix::macro() const {
  return average(*this, [](const ClassScores&) { return 1.0; });
}

ClassScores ConfusionMatrix::weighted() const {
  return average(*this, [](const ClassScores& s) { return s.support; });
}

ClassScores ConfusionMatrix::micro() const {
  const double a = accuracy();
  return {a, a, a, count()};
}

std::size_t ConfusionMatrix::never_predicted() const {
  return without_rows(*this, [this](std::size_t k) { return column_sum(k); });
}

std::size_t ConfusionMatrix::never_occurred() const {
  return without_rows(*this, [this](std::size_t k) { return row_sum(k); });
}

std::string ConfusionMatrix::text(std::span<const std::string> names) const {
  if (!names.empty() && names.size() != classes_)
    fail<UsageError>(matrix_name, "{} names for {} classes: give each one", names.size(), classes_);
  std::size_t width = std::string_view("weighted").size();
  for (const std::string& name : names) width = std::max(width, name.size());
  std::string table = fmt::format("{:<{}}{:>11}{:>9}{:>9}{:>12}\n", "class", width, "precision",
                                  "recall", "F1", "support");
  const auto add_line = [&](std::string_view name, const ClassScores& s) {
    table += fmt::format("{:<{}}{:>11.3f}{:>9.3f}{:>9.3f}{:>12.8g}\n", name, width, s.precision,
                         s.recall, s.f1, s.support);
  };
  for (std::size_t k = 0; k < classes_; ++k)
    add_line(names.empty() ? std::to_string(k) : names[k], of_class(k));
  add_line("macro", macro());
  add_line("weighted", weighted());
  table += fmt::format("accuracy {:.3f}\n", accuracy());
  const auto add_empty = [&](std::size_t number, std::string_view words) {
    if (number == 0) return;
    table += fmt::format("{} of {} classes {}\n", number, classes_, words);
  };
  add_empty(never_predicted(), "never predicted: their precision counts as 0");
  add_empty(never_occurred(), "never occurred: their recall counts as 0");
  return table;
}

void RocAuc::add(const Tensor& scores, const Tensor& ids, const MetricOptions& options) {
  constexpr const char* name = "RocAuc";
  check::defined(name, {{"scores", scores}, {"ids", ids}});
  check::equal_shapes(name, "scores", scores.shape(), "ids", ids.shape());
  check::real(name, "scores", scores.dtype());
  std::vector<Row> added;
  for (const Counted& c : counted_rows(name, ids, 2, options)) {
    const double score = scores.at(c.row);
    if (std::isnan(score)) {
      fail<NonFiniteError>(name, "score {} of shape {} is NaN", c.row, scores.shape());
    }
    added.push_back({score, c.weight, c.id == 1});
  }
  rows_.insert(rows_.end(), added.begin(), added.end());
}

RocAuc& RocAuc::operator+=(const RocAuc& other) {
  const std::vector<Row> added = other.rows_;  // which may be this one's
  rows_.insert(rows_.end(), added.begin(), added.end());
  return *this;
}

double RocAuc::count() const {
  return std::accumulate(rows_.begin(), rows_.end(), 0.0,
                         [](double sum, const Row& r) { return sum + r.weight; });
}

double RocAuc::value() const {
  std::vector<Row> rows = rows_;
  std::ranges::sort(rows, {}, &Row::score);
  double negatives = 0, positives = 0;
  for (const Row& row : rows) (row.positive ? positives : negatives) += row.weight;
  if (positives == 0 || negatives == 0) {
    fail<UsageError>("RocAuc", "of {} scores counted none is {}: both classes must occur",
                     rows.size(), positives == 0 ? "positive" : "negative");
  }
  double area = 0, below = 0;
  for (std::size_t i = 0; i < rows.size();) {
    const double score = rows[i].score;
    double equal_positives = 0, equal_negatives = 0;  // of this score
    for (; i < rows.size() && rows[i].score == score; ++i)
      (rows[i].positive ? equal_positives : equal_negatives) += rows[i].weight;
    area += equal_positives / positives * ((below + equal_negatives / 2) / negatives);
    below += equal_negatives;
  }
  return std::min(area, 1.0);  // which sums of weights, rounded, exceed
}

}  // namespace tapegrad
