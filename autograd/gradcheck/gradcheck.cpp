#include "gradcheck.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

namespace tapegrad {
namespace {

using Loss = std::function<double()>;
using Blocks = std::span<const GradBlock>;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

// D6 amplifies independent errors sigma of f to 1.08 sigma / h; 10 leaves room for an estimate of
// sigma that came out small.
constexpr double noise_factor = 10;

// ---- what to check ------------------------------------------------------------------------------

bool finite(double v) { return std::isfinite(v); }

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

// SplitMix64 (Steele, Lea & Flood 2014); the standard library's distributions differ by vendor.
std::uint64_t next_random(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

bool smaller_magnitude(double a, double b) { return std::abs(a) < std::abs(b); }

double largest_magnitude(std::span<const double> values) {
  return values.empty() ? 0 : std::abs(*std::ranges::max_element(values, smaller_magnitude));
}

// The entries of one block to check, in order. `state` is the random stream of the whole check.
std::vector<std::size_t> choose_entries(const std::vector<double>& gradient,
                                        std::size_t max_entries, std::uint64_t& state) {
  const std::size_t size = gradient.size();
  if (max_entries == 0 || max_entries >= size) {
    std::vector<std::size_t> all(size);
    std::iota(all.begin(), all.end(), std::size_t{0});
    return all;
  }
  const auto [smallest, largest] =
      std::minmax_element(gradient.begin(), gradient.end(), smaller_magnitude);
  std::set<std::size_t> chosen;
  for (const std::size_t index :
       {static_cast<std::size_t>(largest - gradient.begin()), std::size_t{0}, size - 1,
        static_cast<std::size_t>(smallest - gradient.begin())}) {
    if (chosen.size() < max_entries) chosen.insert(index);
  }
  while (chosen.size() < max_entries) chosen.insert(next_random(state) % size);
  return {chosen.begin(), chosen.end()};
}

// ---- stencil ------------------------------------------------------------------------------------

// Puts one value back, bit for bit, however the scope is left.
class Restore {
 public:
  explicit Restore(double& value) : value_(value), saved_(value) {}
  ~Restore() { value_ = saved_; }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

 private:
  double& value_;
  double saved_;
};

double automatic_step(double x) {
  const double h = std::pow(epsilon, 1.0 / 7) * std::max(1.0, std::abs(x));
  return std::ldexp(1.0, std::ilogb(h));
}

struct Stencil {
  std::size_t block = 0;
  std::size_t index = 0;
  double step = 0;
  std::array<double, 6> f = {};           // as GradEntry::f
  std::array<long double, 3> width = {};  // 2h, 4h, 6h as stored
};

Stencil evaluate_stencil(const Loss& loss, double& x, double h) {
  const Restore restore(x);
  const double center = x;
  Stencil s;
  s.step = h;
  for (std::size_t k = 1; k <= 3; ++k) {
    const double below = center - static_cast<double>(k) * h;
    const double above = center + static_cast<double>(k) * h;
    x = below;
    s.f[3 - k] = loss();
    x = above;
    s.f[2 + k] = loss();
    s.width[k - 1] = static_cast<long double>(above) - below;
  }
  return s;
}

// Estimate of the noise of the loss from the sixth difference; sum of binomial(6, k)^2 = 924.
double sixth_difference_noise(const Stencil& s, double center) {
  const auto pair = [&](std::size_t k) {
    return static_cast<long double>(s.f[3 - k]) + s.f[2 + k];
  };
  const long double d6 = pair(3) - 6 * pair(2) + 15 * pair(1) - 20.0L * center;
  return static_cast<double>(std::abs(d6) / std::sqrt(924.0L));
}

// Noise belongs to the loss as a whole and one entry's estimate may be small by chance: the median
// of all entries that move the loss.
double common_noise(const std::vector<Stencil>& stencils, double center) {
  std::vector<double> noise;
  for (const Stencil& s : stencils) {
    const double estimate = sixth_difference_noise(s, center);
    const bool moved = std::ranges::any_of(s.f, [&](double f) { return f != center; });
    if (moved && finite(estimate)) noise.push_back(estimate);
  }
  if (noise.empty()) return 0;
  const auto middle = noise.begin() + static_cast<std::ptrdiff_t>(noise.size() / 2);
  std::nth_element(noise.begin(), middle, noise.end());
  return *middle;
}

// ---- entry and verdict --------------------------------------------------------------------------

// Numeric derivative and its bound; `noise` is the common estimate.
GradEntry differentiate(const Stencil& s, double analytic, double center, double noise) {
  const auto quotient = [&](std::size_t k) {
    return (static_cast<long double>(s.f[2 + k]) - s.f[3 - k]) / s.width[k - 1];
  };
  const long double d6 = 1.5L * quotient(1) - 0.6L * quotient(2) + 0.1L * quotient(3);
  const long double d4 = (4 * quotient(1) - quotient(2)) / 3;
  noise = std::max({noise, epsilon * largest_magnitude(s.f), sixth_difference_noise(s, center)});

  GradEntry e;
  e.block = s.block;
  e.index = s.index;
  e.analytic = analytic;
  e.numeric = static_cast<double>(d6);
  e.bound = static_cast<double>(std::abs(d6 - d4)) + noise_factor * noise / s.step;
  e.error = std::abs(e.analytic - e.numeric);
  e.step = s.step;
  e.f = s.f;
  return e;
}

double magnitude(const GradEntry& e) { return std::max(std::abs(e.analytic), std::abs(e.numeric)); }

double tolerance(const GradEntry& e, double rtol) { return e.bound + rtol * magnitude(e); }

Verdict judge(const GradEntry& e, double block_scale, const GradcheckOptions& options) {
  if (!std::ranges::all_of(e.f, finite) || !finite(e.numeric) || !finite(e.bound)) {
    return Verdict::inconclusive;
  }
  if (e.error > tolerance(e, options.rtol)) return Verdict::fail;
  if (!e.exercised()) return Verdict::pass;
  const double decided = options.inconclusive_at * std::max(magnitude(e), block_scale);
  return e.bound > decided ? Verdict::inconclusive : Verdict::pass;
}

// Failed before inconclusive before passed; within these by error in units of the tolerance.
std::pair<int, double> severity(const GradEntry& e, double rtol) {
  const int rank = e.verdict == Verdict::fail ? 2 : e.verdict == Verdict::inconclusive ? 1 : 0;
  if (e.error == 0) return {rank, 0.0};
  const double ratio = e.error / tolerance(e, rtol);
  return {rank, std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio};
}

// ---- preflight ----------------------------------------------------------------------------------

std::string to_text(double v) {
  std::array<char, 32> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.17g", v);
  return buffer.data();
}

std::string check_options(const GradcheckOptions& o) {
  const auto refuse = [](const std::string& name, double v) {
    return "option " + name + " is " + to_text(v) + ": it must be finite and not negative";
  };
  if (!finite(o.step) || o.step < 0) return refuse("step", o.step);
  if (!finite(o.rtol) || o.rtol < 0) return refuse("rtol", o.rtol);
  if (!(o.inconclusive_at >= 0)) return refuse("inconclusive_at", o.inconclusive_at);
  return {};
}

std::string check_loss(double first, double second) {
  if (!finite(first)) {
    return "the loss is " + to_text(first) + ": it must be finite at the given values";
  }
  if (!same_bits(first, second)) {
    return "the loss is not deterministic: two calls at the same values gave " + to_text(first) +
           " and " + to_text(second) + "; use a fixed seed for dropout and all random draws";
  }
  return {};
}

// ---- report -------------------------------------------------------------------------------------

std::string check_exercised(const GradcheckReport& report) {
  for (const GradBlockSummary& b : report.blocks) {
    if (b.checked > 0 && b.unexercised == b.checked) {
      return "block " + b.name + " was not exercised: its gradient is zero both ways in all " +
             std::to_string(b.checked) + " entries checked, and require_exercised is set";
    }
  }
  return {};
}

Verdict overall(const GradcheckReport& report) {
  if (report.failed > 0 || !report.reason.empty()) return Verdict::fail;
  return report.inconclusive > 0 ? Verdict::inconclusive : Verdict::pass;
}

}  // namespace

GradcheckReport gradcheck(const Loss& loss, Blocks blocks, const GradcheckOptions& options) {
  GradcheckReport report;
  report.seed = options.seed;
  for (const GradBlock& b : blocks) report.blocks.push_back({{}, b.name, b.shape, b.size()});
  report.reason = loss ? check_options(options) : "no loss was given: it must be callable";
  if (report.reason.empty()) report.reason = check_blocks(blocks);
  if (!report.reason.empty()) return report;

  // The loss may run a backward pass that overwrites the caller's gradients.
  std::vector<std::vector<double>> gradients;
  std::vector<double> scales;
  for (const GradBlock& b : blocks) {
    gradients.emplace_back(b.gradient, b.gradient + b.size());
    scales.push_back(largest_magnitude(gradients.back()));
  }

  const Loss counted = [&] { return ++report.evaluations, loss(); };
  const double center = counted();
  report.reason = check_loss(center, counted());
  if (!report.reason.empty()) return report;

  std::vector<Stencil> stencils;
  std::uint64_t random = options.seed;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    for (const std::size_t i : choose_entries(gradients[b], options.max_entries, random)) {
      double& x = blocks[b].values[i];
      const double h = options.step > 0 ? options.step : automatic_step(x);
      stencils.push_back(evaluate_stencil(counted, x, h));
      stencils.back().block = b;
      stencils.back().index = i;
    }
  }
  const double last = counted();

  const double noise = common_noise(stencils, center);
  for (const Stencil& s : stencils) {
    GradEntry e = differentiate(s, gradients[s.block][s.index], center, noise);
    e.verdict = judge(e, scales[s.block], options);
    report.count(e);
    report.blocks[s.block].count(e);
    report.entries.push_back(e);
  }
  std::ranges::stable_sort(report.entries, std::greater<>{},
                           [&](const GradEntry& e) { return severity(e, options.rtol); });

  if (!same_bits(center, last)) {
    report.reason = "the loss changed from " + to_text(center) + " to " + to_text(last) +
                    " although every value was restored: it keeps state between calls; reset "
                    "that state inside the loss";
  } else if (options.require_exercised) {
    report.reason = check_exercised(report);
  }
  report.verdict = overall(report);
  return report;
}

GradcheckReport gradcheck(const Loss& loss, std::initializer_list<GradBlock> blocks,
                          const GradcheckOptions& options) {
  return gradcheck(loss, Blocks(blocks.begin(), blocks.size()), options);
}

}  // namespace tapegrad
