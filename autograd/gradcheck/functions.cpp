#include "functions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "blocks-inl.h"
#include "diagnosis-inl.h"
#include "random-inl.h"
#include "summary-inl.h"

namespace tapegrad::detail {
namespace {

using Values = std::vector<double>;
using Product = VectorJacobianProduct;

constexpr std::uint64_t weights_stream = 0x77;  // not the seed of the sample

/// f with what was seen of it: the outputs at every x asked for, and what is wrong with it.
class Outputs {
 public:
  Outputs(const VectorFunction& f, const Values& x, const GradcheckOptions& options)
      : f_(f), x_(x), reseed_(options.reseed) {
    problem_ = start();
  }

  const std::string& problem() const { return problem_; }
  std::size_t size() const { return first_.size(); }
  std::size_t calls() const { return calls_; }
  void reseed() const {
    if (reseed_) reseed_();
  }

  /// f(x), of the right size or all NaN. Several outputs are differentiated at the same places.
  const Values& at(const Values& x) {
    Moved moved;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (x[i] != x_[i]) moved.emplace_back(i, x[i]);
    }
    const auto [place, is_new] = seen_.try_emplace(std::move(moved));
    if (is_new) place->second = fresh(x);
    return place->second;
  }
  /// f(x) without memory, for one number made of all outputs.
  Values fresh(const Values& x) {
    Values y = call(x);
    if (y.size() == first_.size()) return y;
    if (problem_.empty()) {
      problem_ = "f gave " + plural(first_.size(), "number", "numbers") + " at x but " +
                 std::to_string(y.size()) + " beside it: the size must not depend on the values";
    }
    return Values(first_.size(), std::numeric_limits<double>::quiet_NaN());
  }
  /// To be asked at the end: what went wrong on the way, or whether a state was kept.
  std::string afterwards() {
    if (problem_.empty() && !same(call(x_), first_)) {
      problem_ = "f at x is not what it was at first: it keeps state between calls";
    }
    return problem_;
  }

  static bool same(const Values& a, const Values& b) {
    return a.size() == b.size() && std::ranges::equal(a, b, [](double u, double v) {
             return u == v || (std::isnan(u) && std::isnan(v));
           });
  }

 private:
  using Moved = std::vector<std::pair<std::size_t, double>>;  ///< where x is not as it was

  Values call(const Values& x) {
    ++calls_;
    reseed();
    return f_(x);
  }
  std::string start() {
    if (!f_) return "no function was given: it must be callable";
    if (x_.empty()) return "x is empty: there is nothing to check";
    for (std::size_t i = 0; i < x_.size(); ++i) {
      if (std::isfinite(x_[i])) continue;
      return "x[" + std::to_string(i) + "] is " + formatted("%.17g", x_[i]) + ": it must be finite";
    }
    first_ = call(x_);
    if (first_.empty()) return "f gave no numbers: there is nothing to check";
    for (std::size_t i = 0; i < first_.size(); ++i) {
      if (std::isfinite(first_[i])) continue;
      return "output " + std::to_string(i) + " of f is " + formatted("%.17g", first_[i]) +
             ": it must be finite at the given x";
    }
    if (same(call(x_), first_)) return {};
    return "f is not deterministic: two calls at the same x differ; dropout? set the seed of all "
           "random draws in `reseed`; or it keeps state between calls";
  }

  const VectorFunction& f_;
  const Values& x_;
  const std::function<void()>& reseed_;
  Values first_;
  std::map<Moved, Values> seen_;
  std::size_t calls_ = 0;
  std::string problem_;
};

/// The product at x and `with`, if all that must hold of it does; else `problem` says what does
/// not.
Values examined(const Product& product, const Outputs& f, const Values& x, const Values& with,
                std::size_t size, std::string& problem) {
  if (!product) {
    problem = "no product was given: it must be callable";
    return {};
  }
  const auto call = [&](const Values& argument) {
    f.reseed();
    return product(x, argument);
  };
  Values result = call(with);
  if (result.size() != size) {
    problem = "the product gave " + plural(result.size(), "number", "numbers") + ": it must give " +
              std::to_string(size);
    return {};
  }
  for (std::size_t i = 0; i < size && problem.empty(); ++i) {
    if (std::isfinite(result[i])) continue;
    problem = "entry " + std::to_string(i) + " of the product is " + formatted("%.17g", result[i]) +
              ": it must be finite";
  }
  if (problem.empty() && !Outputs::same(call(with), result)) {
    problem =
        "a second call of the product with the same arguments gave another result: it is not "
        "repeatable, or adds to what is there";
  }
  if (!problem.empty()) return {};
  const Values nothing = call(Values(with.size(), 0.0));
  if (nothing.size() != size || std::ranges::any_of(nothing, [](double v) { return v != 0; })) {
    problem = "the product with a vector of zeros is not zero: it must be linear in that vector";
    return {};
  }
  return result;
}

GradBlock block_over(const char* name, Values& x, std::vector<std::size_t> shape,
                     std::function<double(std::size_t)> gradient) {
  GradBlock block;
  block.name = name;
  block.shape = std::move(shape);
  block.get = [&x](std::size_t i) { return x[i % x.size()]; };  // of J[i, k] it is x[k]
  block.set = [&x](std::size_t i, double v) { x[i] = v; };
  block.gradient = std::move(gradient);
  return block;
}

GradcheckReport report_on(const GradBlock& block, const std::string& reason,
                          const GradcheckOptions& options) {
  GradcheckReport report;
  report.reason = reason;
  report.seed = options.seed;
  report.blocks.emplace_back();
  report.blocks[0].block = block;
  report.blocks[0].size = block.size();
  return report;
}

GradcheckOptions for_engine(GradcheckOptions options) {
  options.reseed = options.backward = {};
  options.branches = {};
  options.where = {};
  return options;
}

/// m outputs, each differentiated for n values: an engine run an output. `block` (m, n) has
/// the claimed derivatives; `values` are what the stencil moves and `output` reads.
GradcheckReport check_each(const GradBlock& block, Values& values,
                           const std::function<const Values&()>& output, Outputs& f,
                           const GradcheckOptions& options) {
  const std::size_t m = f.size(), n = values.size();
  GradcheckReport all = report_on(block, "", options);
  GradBlockSummary& summary = all.blocks[0];
  for (std::size_t i = 0; i < m; ++i) {
    GradcheckOptions own = for_engine(options);
    own.strict = false;
    if (own.only_block == block.name && own.only_entry < m * n) {
      if (own.only_entry / n != i) continue;
      own.only_entry %= n;
    }
    const GradBlock row = block_over(block.name.c_str(), values, {n},
                                     [&](std::size_t k) { return block.gradient(i * n + k); });
    GradcheckReport one = gradcheck([&] { return output()[i]; }, {row}, own);
    if (!one.reason.empty()) all.reason = one.reason;
    all.noise = std::max(all.noise, one.noise);
    summary.scale = std::max(summary.scale, one.blocks[0].scale);
    summary.missed = std::max(summary.missed, one.blocks[0].missed);
    for (GradEntry& e : one.entries) {
      e.index += i * (e.direction ? options.directions : n);
      all.entries.push_back(std::move(e));
    }
  }
  if (const std::string problem = f.afterwards(); !problem.empty()) all.reason = problem;
  all.evaluations = f.calls();
  summarize(all, options);
  if (summary.failed > 0) {
    std::vector<GradEntry> entries;
    std::ranges::copy_if(all.entries, std::back_inserter(entries),
                         [](const GradEntry& e) { return !e.direction; });
    summary.diagnosis = diagnose(block, entries, options.sizes);
  }
  return all;
}

GradcheckReport check_matrix(const char* name, const VectorFunction& f,
                             std::span<const double> matrix, Values x,
                             const GradcheckOptions& options, bool symmetric) {
  const Values start = x;
  Outputs outputs(f, start, options);
  const std::size_t m = outputs.size(), n = x.size();
  const GradBlock block = block_over(name, x, {m, n}, [=](std::size_t i) { return matrix[i]; });
  const auto place = [&](std::size_t i) { return block.entry_name(i); };
  std::string problem = outputs.problem();
  if (problem.empty() && symmetric && m != n) {
    problem = "the gradient gave " + plural(m, "number", "numbers") + " but x has " +
              std::to_string(n) + ": they must agree";
  }
  if (problem.empty() && matrix.size() != m * n) {
    problem = std::string(name) + " has " + plural(matrix.size(), "entry", "entries") +
              " but f goes from " + std::to_string(n) + " to " + plural(m, "number", "numbers") +
              ": it must have " + std::to_string(m * n);
  }
  if (!problem.empty()) return report_on(block, problem, options);
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    if (std::isfinite(matrix[i])) continue;
    return report_on(
        block, place(i) + " is " + formatted("%.17g", matrix[i]) + ": it must be finite", options);
  }
  GradcheckReport report = check_each(
      block, x, [&]() -> const Values& { return outputs.at(x); }, outputs, options);
  if (!symmetric || !report.reason.empty()) return report;
  double scale = 0;
  for (const double h : matrix) scale = std::max(scale, std::abs(h));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      const double a = matrix[i * n + k], b = matrix[k * n + i];
      const double allowed = options.rtol * std::max(std::abs(a), std::abs(b)) + 1e-10 * scale;
      if (std::abs(a - b) <= allowed) continue;
      report.verdict = Verdict::fail;
      report.reason = place(i * n + k) + " is " + formatted("%.12g", a) + " but " +
                      place(k * n + i) + " is " + formatted("%.12g", b) +
                      ": a Hessian must be symmetric";
      return report;
    }
  }
  return report;
}

}  // namespace
}  // namespace tapegrad::detail

namespace tapegrad {

GradcheckReport gradcheck(const VectorFunction& f, const VectorJacobianProduct& product,
                          std::vector<double> x, const GradcheckOptions& options) {
  using namespace detail;
  const Values start = x;
  Outputs outputs(f, start, options);
  std::string problem = outputs.problem();
  const Values w = normal_vector(outputs.size(), options.seed ^ weights_stream);
  Values claimed(x.size());
  if (problem.empty()) claimed = examined(product, outputs, x, w, x.size(), problem);
  const GradBlock block =
      block_over("x", x, {x.size()}, [&claimed](std::size_t i) { return claimed[i]; });
  if (!problem.empty()) return report_on(block, problem, options);
  GradcheckReport report =
      gradcheck([&] { return dot(outputs.fresh(x), w); }, {block}, for_engine(options));
  problem = outputs.afterwards();
  report.evaluations = outputs.calls();
  if (problem.empty()) return report;
  report.reason = problem;
  report.verdict = Verdict::fail;
  return report;
}

GradcheckReport gradcheck_forward(const VectorFunction& f, const VectorJacobianProduct& product,
                                  std::vector<double> x, const GradcheckOptions& options) {
  using namespace detail;
  Outputs outputs(f, x, options);
  const std::size_t m = outputs.size();
  std::string problem = outputs.problem();
  double squares = 0;
  for (const double e : x) squares += e * e;
  const double size = std::max(1.0, std::sqrt(squares / static_cast<double>(x.size())));
  Values v = unit_vector(x.size(), options.seed ^ weights_stream);
  for (double& e : v) e *= size;  // so that s is of order one
  Values claimed, s = {0}, moved = x;
  if (problem.empty()) claimed = examined(product, outputs, x, v, m, problem);
  const GradBlock block = block_over("y", s, {m}, [&claimed](std::size_t i) { return claimed[i]; });
  if (!problem.empty()) return report_on(block, problem, options);
  return check_each(
      block, s,
      [&]() -> const Values& {
        for (std::size_t i = 0; i < x.size(); ++i) moved[i] = x[i] + s[0] * v[i];
        return outputs.at(moved);
      },
      outputs, options);
}

GradcheckReport jacobian_check(const VectorFunction& f, std::span<const double> jacobian,
                               std::vector<double> x, const GradcheckOptions& options) {
  return detail::check_matrix("J", f, jacobian, std::move(x), options, false);
}

GradcheckReport hessian_check(const VectorFunction& gradient, std::span<const double> hessian,
                              std::vector<double> x, const GradcheckOptions& options) {
  return detail::check_matrix("H", gradient, hessian, std::move(x), options, true);
}

}  // namespace tapegrad
