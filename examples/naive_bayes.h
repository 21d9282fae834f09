#pragma once

#include <tapegrad/tapegrad.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace examples {

/// Features of a text: its symbols, in runs of 1 to `order`, with marks at both ends.
std::vector<std::string> ngrams(const std::vector<std::string>& symbols, std::size_t order);

/// A classifier that takes features for independent of each other (Manning, Raghavan, Schuetze 2008,
/// chapter 13, the multinomial model):
///
///   log P(c | text) = log P(c) + sum_f log((count(f, c) + alpha) / (count(c) + alpha V))
class NaiveBayes {
 public:
  using Texts = std::vector<std::vector<std::string>>;  // the features of each text

  /// Counts texts of the classes `labels` (n) int32 in [0, classes).
  NaiveBayes(const Texts& texts, const tapegrad::Tensor& labels, std::size_t classes, double alpha);

  /// Returns the class of each text, (n) int32. Features that were never counted do not count.
  tapegrad::Tensor classify(const Texts& texts) const;

 private:
  double alpha_;
  std::vector<double> log_prior_, total_;  // of each class; total_: of its features
  std::unordered_map<std::string, std::vector<double>> counts_;
};

}  // namespace examples
