#pragma once

#include "../cxx20.h"

#include <concepts>

/// Figures of merit of language models.
namespace tapegrad {

/// Perplexity of a language model, e to the mean loss of a token in nats.
class Perplexity {
 public:
  /// Counts a mean loss in nats over `count` tokens, as cross_entropy() returns it. An infinite loss (a
  /// token was thought impossible) stays so, and so does a NaN. Throws UsageError for a loss below 0,
  /// and unless the count is finite and >= 0.
  void add(double mean_loss, double count);
  void add(double mean_loss, std::integral auto count) {
    add(mean_loss, static_cast<double>(count));
  }
  Perplexity& operator+=(const Perplexity& other);

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
