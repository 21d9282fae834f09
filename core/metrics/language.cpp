#include "language.h"

#include <cmath>
#include <numbers>

#include "../fail-inl.h"
#include "weights-inl.h"

namespace tapegrad {

void Perplexity::add(double mean_loss, double count) {
  if (mean_loss < 0)
    fail<UsageError>("Perplexity", "the loss is {}: it must be at least 0", mean_loss);
  if (!(count >= 0 && std::isfinite(count)))
    fail<UsageError>("Perplexity", "count is {}: it must be finite and at least 0", count);
  if (count == 0) return;
  sum_ += mean_loss * count;
  count_ += count;
}

Perplexity& Perplexity::operator+=(const Perplexity& other) {
  sum_ += other.sum_;
  count_ += other.count_;
  return *this;
}

double Perplexity::nats() const { return metrics::mean("Perplexity", sum_, count_); }
double Perplexity::bits() const { return nats() / std::numbers::ln2; }
double Perplexity::value() const { return std::exp(nats()); }

}  // namespace tapegrad
