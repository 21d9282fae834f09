#include "metrics.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <string_view>

#include "../check-inl.h"
#include "../dispatch-inl.h"
#include "../fail-inl.h"

namespace tapegrad {
namespace {

double counted(std::string_view metric, double sum, double count) {
  if (count == 0) fail<UsageError>(metric, "nothing was counted: add() something first");
  return sum / count;
}

}  // namespace

void Accuracy::add(const Tensor& scores, const Tensor& ids, const MetricOptions& options) {
  constexpr const char* name = "Accuracy";
  check::defined(name, {{"scores", scores}, {"ids", ids}});
  const Shape& shape = scores.shape();
  if (shape.rank() == 0 || shape.without(-1) != ids.shape()) {
    check::mismatch(name, {"scores", "(..., C)", shape}, {"ids", "(...)", ids.shape()},
                    "the leading axes must match");
  }
  check::real(name, "scores", scores.dtype());
  check::ids(name, ids, shape[-1], &options.ignore_index);
  Tensor weights;
  if (options.weights.defined()) {
    check::equal_shapes(name, "weights", options.weights.shape(), "ids", ids.shape());
    weights = options.weights.to(DType::float64);
    for (const double w : weights.values<double>()) {
      if (!(w >= 0 && std::isfinite(w)))
        fail<UsageError>(name, "a weight is {}: weights must be finite and at least 0", w);
    }
  }
  double right = 0, count = 0;
  dispatch_float(scores.dtype(), [&]<class T>(T) {
    const std::size_t C = shape[-1];
    for (std::size_t r = 0; r < ids.numel(); ++r) {
      const std::int32_t id = ids.data<std::int32_t>()[r];
      const double weight = weights.defined() ? weights.data<double>()[r] : 1;
      if (weight == 0 || id == options.ignore_index) continue;
      const std::span<const T> row = scores.values<T>().subspan(r * C, C);
      if (std::ranges::any_of(row, [](T x) { return std::isnan(x); }))
        fail<NonFiniteError>(name, "row {} of the scores has a NaN", r);
      count += weight;
      if (std::ranges::max_element(row) - row.begin() == id) right += weight;
    }
  });
  right_ += right;
  count_ += count;
}

double Accuracy::value() const { return counted("Accuracy", right_, count_); }

void Perplexity::add(double mean_loss, double count) {
  if (mean_loss < 0)
    fail<UsageError>("Perplexity", "the loss is {}: it must be at least 0", mean_loss);
  if (!(count >= 0 && std::isfinite(count)))
    fail<UsageError>("Perplexity", "count is {}: it must be finite and at least 0", count);
  if (count == 0) return;
  sum_ += mean_loss * count;
  count_ += count;
}

double Perplexity::nats() const { return counted("Perplexity", sum_, count_); }
double Perplexity::bits() const { return nats() / std::numbers::ln2; }
double Perplexity::value() const { return std::exp(nats()); }

}  // namespace tapegrad
