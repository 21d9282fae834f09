#include "truncation_bias.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "../../autograd/ops/elementwise.h"
#include "../../core/check-inl.h"
#include "../../core/fail-inl.h"

namespace tapegrad {
namespace {

constexpr const char* name = "truncation_bias";

/// Gradients of all Parameters, each as numbers in float64.
using Gradients = std::vector<std::vector<double>>;

void add_gradient(Gradients& sum, Tape& tape, const Var& loss,
                  const std::vector<NamedParameter>& parameters) {
  Vars leaves;
  for (const NamedParameter& p : parameters) leaves.push_back(tape.leaf(p));
  const Vars gradients = tape.gradient(loss, leaves);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const Tensor& g = gradients[i].value();
    sum[i].resize(g.numel());
    for (std::size_t k = 0; k < g.numel(); ++k) sum[i][k] += g.at(k);
  }
}

/// Sums over the elements of two gradients, f and g. Squares of what has almost vanished are 0 in a
/// double.
struct Sums {
  long double full = 0, truncated = 0, product = 0, difference = 0;

  void add(const std::vector<double>& truncated_gradient,
           const std::vector<double>& full_gradient) {
    for (std::size_t k = 0; k < full_gradient.size(); ++k) {
      const long double g = truncated_gradient[k], f = full_gradient[k];
      full += f * f;
      truncated += g * g;
      product += g * f;
      difference += (g - f) * (g - f);
    }
  }
  TruncatedGradient compared(const std::string& of) const {
    const long double f = std::sqrt(full), g = std::sqrt(truncated);
    const bool same = f == 0 && g == 0, one = f == 0 || g == 0;
    return {.name = of,
            .cosine = same  ? 1
                      : one ? 0
                            : static_cast<double>(product / (f * g)),
            .error = same ? 0 : static_cast<double>(std::sqrt(difference) / f),
            .norm = static_cast<double>(f)};
  }
};

}  // namespace

TruncationBias detail::truncation_bias(const SequenceModel& model, const Vars& first,
                                       const Tensor& x, const WindowLoss& loss,
                                       const Parameters& parameters,
                                       const TruncatedBPTTOptions& options) {
  check_windows(name, options);
  check::defined(name, {{"x", x}});
  if (x.rank() == 0 || x.size(0) == 0) {
    check::wrong_shape(name, "x", x.shape(), "(N, B, ...) with N >= 1");
  }
  std::vector<NamedParameter> learned;
  for (const NamedParameter& p : parameters.distinct()) {
    if (p.requires_grad()) learned.push_back(p);
  }
  if (learned.empty()) {
    fail<UsageError>(name, "no Parameter learns: give it some that are not frozen");
  }

  const std::size_t steps = x.size(0);
  const Vars start = detached(first);
  Gradients truncated(learned.size()), full(learned.size());
  StreamPast past{start, {}};
  Tape whole = Tape::evaluation();
  Vars state = start;
  Var sum;
  for (std::size_t begin = 0; begin < steps; begin += std::min(options.k1, steps)) {
    const Tensor window = x.slice(begin, begin + std::min(options.k1, steps - begin));
    Tape tape = Tape::evaluation();
    add_gradient(truncated, tape, loss(tape, past.run(tape, options, window, model), begin),
                 learned);
    Unrolled<Vars> result = model(whole, window, state);
    const Var part = loss(whole, result.y, begin);
    sum = sum.defined() ? sum + part : part;
    state = std::move(result.last);
  }
  add_gradient(full, whole, sum, learned);

  TruncationBias bias;
  Sums all;
  for (std::size_t i = 0; i < learned.size(); ++i) {
    Sums one;
    one.add(truncated[i], full[i]);
    all.add(truncated[i], full[i]);
    bias.parameters.push_back(one.compared(learned[i].name));
  }
  bias.all = all.compared("all");
  return bias;
}

std::string TruncationBias::text() const {
  std::size_t width = std::size("gradient") - 1;
  for (const TruncatedGradient& p : parameters) width = std::max(width, p.name.size());
  std::string result =
      fmt::format("{:{}}  {:>9}  {:>9}  {:>9}\n", "gradient", width, "cosine", "error", "norm");
  const auto line = [&](const TruncatedGradient& g) {
    result +=
        fmt::format("{:{}}  {:9.6f}  {:9.3g}  {:9.3g}\n", g.name, width, g.cosine, g.error, g.norm);
  };
  line(all);
  for (const TruncatedGradient& p : parameters) line(p);
  return result;
}

}  // namespace tapegrad
