#include "gradcheck.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "blocks-inl.h"
#include "diagnosis-inl.h"
#include "plan-inl.h"
#include "random-inl.h"
#include "stencil-inl.h"
#include "summary-inl.h"

namespace tapegrad::detail {
namespace {

using Loss = std::function<double()>;
using Blocks = std::span<const GradBlock>;
using stencil::Samples;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
/// A sampled block that failed is checked in full up to this size, to say what is wrong with it.
constexpr std::size_t most_diagnosed = 4096;
/// A bound is an estimate: an error beyond the bound is not decided until it exceeds twice the bound
/// plus so many times the part that the common noise does not explain.
constexpr double unexplained_weight = 9;

// ---- the check ----------------------------------------------------------------------------------

class Check {
 public:
  Check(const Loss& loss, Blocks blocks, const GradcheckOptions& options)
      : loss_(loss), blocks_(blocks), options_(options) {
    report_.seed = options.seed;
    for (const GradBlock& b : blocks) {
      report_.blocks.push_back({});
      report_.blocks.back().block = b;
      report_.blocks.back().size = b.size();
    }
  }

  GradcheckReport run() {
    report_.reason = preflight();
    if (!report_.reason.empty()) return std::move(report_);
    measure_noise();
    measure_all();
    decide_all();
    for (std::size_t b = 0; b < blocks_.size(); ++b) diagnose_block(b);
    report_.reason = check_unchanged(center_, evaluate());
    for (const Measurement& m : measurements_) report_.entries.push_back(m.entry);
    summarize(report_, options_);
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      report_.blocks[b].missed = missed(report_, b, options_);
    }
    return std::move(report_);
  }

 private:
  /// One line through the values, the losses along it, and what follows from them.
  struct Measurement {
    GradEntry entry;
    Samples samples;
    double unexplained = 0;  ///< the part of the bound that is not the common noise
  };

  std::string preflight();
  void measure_noise();
  void measure_all();
  void decide_all();
  void diagnose_block(std::size_t b);

  double evaluate() {
    if (options_.reseed) options_.reseed();
    ++report_.evaluations;
    return loss_();
  }
  Samples sample(stencil::Line& line, double step) {
    bool same = true;
    Samples s = stencil::sample(
        [&] {
          const double f = evaluate();
          same = same && (!options_.branches || options_.branches() == branches_);
          return f;
        },
        line, step);
    s.same_branches = same;
    return s;
  }
  /// Returns one of several random unit vectors through block b.
  std::vector<double> direction(std::size_t b, std::size_t number) const {
    return unit_vector(blocks_[b].size(), options_.seed + 1000 * b + number);
  }
  double relative_noise() const {
    return report_.noise / std::max(std::abs(center_), std::numeric_limits<double>::min());
  }
  double first_step(const stencil::Line& line) const {
    return options_.step > 0 ? line.inside(options_.step)
                             : stencil::step_for(line, relative_noise());
  }

  void differentiate(Measurement& m) const;
  void decide(Measurement& m) const;
  void retry_with_other_steps(Measurement& m, stencil::Line& line);
  Measurement remeasure(Measurement m, stencil::Line& line, double step);
  bool confirm_failure(Measurement& m, stencil::Line& line);
  void find_kink(Measurement& m, stencil::Line& line, double step);
  Measurement measure_entry(std::size_t b, std::size_t index, double analytic);
  Measurement measure_direction(std::size_t b, std::size_t number, std::size_t first,
                                std::span<const double> along);
  void bisect_direction(std::size_t b, std::size_t number);

  const Loss& loss_;
  Blocks blocks_;
  const GradcheckOptions& options_;
  GradcheckReport report_;
  std::vector<Plan> plans_;
  std::vector<Measurement> measurements_;
  double center_ = 0;
  double noise_beside_ = -1;  ///< noise, before the first measurement; -1: unknown
  std::uint64_t branches_ = 0;
};

std::string Check::preflight() {
  if (!loss_) return "no loss was given: it must be callable";
  if (std::string problem = check_options(options_); !problem.empty()) return problem;
  if (options_.backward) options_.backward();  // what it writes is checked, not what was there
  if (std::string problem = check_blocks(blocks_); !problem.empty()) return problem;
  if (options_.backward) {
    if (std::string problem = check_backward(blocks_, options_.backward); !problem.empty()) {
      return problem;
    }
  }
  std::size_t total = 0;
  for (const GradBlock& b : blocks_) total += std::min(b.size(), options_.budget + 1);
  Random random(options_.seed);
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    plans_.push_back(plan_for(blocks_[b], 6 * total <= options_.budget, options_, random));
    report_.blocks[b].scale = plans_[b].scale;
  }
  if (!options_.only_block.empty() &&
      std::ranges::all_of(plans_, [](const Plan& p) { return p.entries.empty(); })) {
    return "option only_block is " + options_.only_block + ", only_entry " +
           std::to_string(options_.only_entry) + ": there is no such entry";
  }
  center_ = evaluate();
  if (options_.branches) branches_ = options_.branches();
  return check_loss(center_, evaluate());
}

/// Measures the noise of the loss: the median of stencil::noise_beside over the entry of largest
/// gradient of up to six blocks. A float inside the loss shows here.
void Check::measure_noise() {
  std::vector<double> seen;
  for (std::size_t b = 0; b < blocks_.size() && seen.size() < 6; ++b) {
    const Plan& p = plans_[b];
    if (p.entries.empty()) continue;
    const auto best =
        std::ranges::max_element(p.analytic, {}, [](double g) { return std::abs(g); });
    stencil::EntryLine line(blocks_[b],
                            p.entries[static_cast<std::size_t>(best - p.analytic.begin())]);
    const double noise = stencil::noise_beside([&] { return evaluate(); }, line);
    if (noise >= 0 && std::isfinite(noise)) seen.push_back(noise);
  }
  std::ranges::sort(seen);
  noise_beside_ = seen.empty() ? -1 : seen[seen.size() / 2];
  report_.noise = std::max(epsilon * std::abs(center_), noise_beside_);
}

Check::Measurement Check::measure_entry(std::size_t b, std::size_t index, double analytic) {
  Measurement m;
  m.entry.block = b;
  m.entry.index = index;
  m.entry.analytic = analytic;
  stencil::EntryLine line(blocks_[b], index);
  m.entry.step = first_step(line);
  if (m.entry.step > 0) m.samples = sample(line, m.entry.step);
  return m;
}

Check::Measurement Check::measure_direction(std::size_t b, std::size_t number, std::size_t first,
                                            std::span<const double> along) {
  Measurement m;
  m.entry.block = b;
  m.entry.index = number;
  m.entry.direction = true;
  m.entry.analytic = dot(along, std::span(plans_[b].gradient).subspan(first, along.size()));
  stencil::DirectionLine line(blocks_[b], first, along);
  m.entry.step = first_step(line);
  if (m.entry.step > 0) m.samples = sample(line, m.entry.step);
  return m;
}

void Check::measure_all() {
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const Plan& p = plans_[b];
    for (std::size_t k = 0; k < p.entries.size(); ++k) {
      measurements_.push_back(measure_entry(b, p.entries[k], p.analytic[k]));
    }
    for (std::size_t d = 0; d < p.directions; ++d) {
      const std::vector<double> v = direction(b, d);
      measurements_.push_back(measure_direction(b, d, 0, v));
    }
  }
}

/// Computes numeric derivative and bound from the samples.
void Check::differentiate(Measurement& m) const {
  GradEntry& e = m.entry;
  const stencil::Derivative d = stencil::differentiate(m.samples, center_, report_.noise);
  e.numeric = d.value;
  e.bound = d.bound();
  m.unexplained = d.unexplained();
  e.error = std::abs(e.analytic - e.numeric);
  e.step = m.samples.step;
  e.f = m.samples.f;
}

void Check::decide(Measurement& m) const {
  GradEntry& e = m.entry;
  const auto finite = [](double v) { return std::isfinite(v); };
  e.verdict = Verdict::inconclusive;
  if (!(e.step > 0) || !std::ranges::all_of(e.f, finite) || !finite(e.numeric) ||
      !finite(e.bound)) {
    return;
  }
  // What cancels in the analytic gradient leaves rounding behind, of a size that only the other
  // gradients tell; where nothing moves the loss not even they.
  const double cancellation = 16 * epsilon * plans_[e.block].scale;
  const double excess =
      e.error - (e.bound + options_.rtol * magnitude(e) + options_.atol + cancellation);
  const bool constant = std::ranges::all_of(e.f, [&](double f) { return f == center_; });
  if (excess > e.bound + unexplained_weight * m.unexplained) {
    if (!constant || e.error > 1e-10 * std::max(1.0, std::abs(center_))) e.verdict = Verdict::fail;
  } else if (excess <= 0 &&
             (!e.exercised() || e.bound <= options_.inconclusive_at *
                                               std::max(magnitude(e), plans_[e.block].scale))) {
    e.verdict = Verdict::pass;
  }
}

/// Decides all measurements with a common noise, the median over those that change the loss: noise
/// belongs to the loss as a whole, and one entry's estimate may be small by chance.
void Check::decide_all() {
  std::vector<double> noise;
  for (const Measurement& m : measurements_) {
    const double estimate = stencil::noise_of(m.samples, center_);
    const bool moved = std::ranges::any_of(m.samples.f, [&](double f) { return f != center_; });
    if (m.samples.step > 0 && moved && std::isfinite(estimate)) noise.push_back(estimate);
  }
  if (!noise.empty()) {
    const auto middle = noise.begin() + static_cast<std::ptrdiff_t>(noise.size() / 2);
    std::nth_element(noise.begin(), middle, noise.end());
    const double trusted =
        noise_beside_ >= 0 ? std::clamp(*middle, noise_beside_, 10 * noise_beside_) : *middle;
    report_.noise = std::max(epsilon * std::abs(center_), trusted);
  }
  for (Measurement& m : measurements_) {
    differentiate(m);
    decide(m);
    if (m.entry.verdict == Verdict::pass && m.samples.same_branches) continue;
    const GradEntry& e = m.entry;
    if (e.direction) {
      const std::vector<double> v = direction(e.block, e.index);
      stencil::DirectionLine line(blocks_[e.block], 0, v);
      retry_with_other_steps(m, line);
    } else {
      stencil::EntryLine line(blocks_[e.block], e.index);
      retry_with_other_steps(m, line);
    }
  }
}

/// Repeats with other steps what did not pass, or took several branches. Another step counts only if
/// its bound is smaller, so that a wrong gradient cannot hide behind a wider bound; but a step that
/// stays on one branch beats any that does not.
void Check::retry_with_other_steps(Measurement& m, stencil::Line& line) {
  if (!(m.entry.step > 0) || options_.step > 0) return;
  const double first = m.samples.step;
  const stencil::Derivative d = stencil::differentiate(m.samples, center_, report_.noise);
  const bool step_too_large = !m.samples.same_branches || !d.finite() ||
                              d.truncation > d.rounding ||
                              stencil::noise_of(m.samples, center_) > 10 * report_.noise ||
                              m.entry.verdict == Verdict::fail;
  const std::array<double, 5> factors = step_too_large
                                            ? std::array{0x1p-3, 0x1p-6, 0x1p-9, 4.0, 16.0}
                                            : std::array{4.0, 16.0, 0x1p-3, 0x1p-6, 0x1p-9};
  for (const double factor : factors) {
    const double step = first * factor;
    if (step > 0.25 * line.size || step > line.inside(step)) continue;
    Measurement again = remeasure(m, line, step);
    if (!std::isfinite(again.entry.bound)) continue;
    const bool fewer_branches = again.samples.same_branches && !m.samples.same_branches;
    const bool smaller_bound = again.samples.same_branches == m.samples.same_branches &&
                               !(again.entry.bound >= m.entry.bound);
    if (fewer_branches || smaller_bound) m = again;
    if (m.entry.verdict == Verdict::pass && m.samples.same_branches) return;
  }
  const bool changed = m.entry.verdict == Verdict::fail && !confirm_failure(m, line);
  if (changed && m.entry.verdict == Verdict::pass) return;
  find_kink(m, line, changed ? std::min(m.entry.step, first / 8) : first * 0x1p-9);
}

Check::Measurement Check::remeasure(Measurement m, stencil::Line& line, double step) {
  m.samples = sample(line, step);
  differentiate(m);
  decide(m);
  return m;
}

/// Tests a failure with smaller steps. It is confirmed if neither an eighth of the step contradicts
/// it nor, for a value smaller than the step, a step of the value's own size; else the loss varies on
/// a smaller scale, and the step shrinks until two in a row agree. Returns false if contradicted;
/// the entry is then inconclusive unless two steps agreed.
bool Check::confirm_failure(Measurement& m, stencil::Line& line) {
  const auto agree = [](const Measurement& a, const Measurement& b) {
    const double apart = std::abs(a.entry.numeric - b.entry.numeric);
    const double noise = a.entry.bound - a.unexplained + b.entry.bound - b.unexplained;
    const double size = std::max(std::abs(a.entry.numeric), std::abs(b.entry.numeric));
    return apart <= std::min(a.entry.bound + b.entry.bound, 2 * noise + 0.1 * size);
  };
  for (bool contradicted = false; m.entry.step > 0x1p-45 * line.size; contradicted = true) {
    Measurement again = remeasure(m, line, m.entry.step / 8);
    const bool same = m.entry.verdict == again.entry.verdict;
    const bool noisy = again.unexplained <= again.entry.bound / 2;
    if (agree(m, again) && !contradicted && (same || noisy)) {
      if (!same && m.entry.step > first_step(line)) break;  // larger than it should be
      const double own = stencil::own_step(line, m.entry.step / 64);
      if (own == 0) return true;
      again = remeasure(m, line, own);
      if (again.entry.verdict == Verdict::fail && agree(m, again)) return true;
    } else if (agree(m, again) && same) {
      return false;
    }
    m = again;
  }
  m.entry.verdict = Verdict::inconclusive;
  return false;
}

/// Finds slopes on both sides that stay apart while the step shrinks: a kink. Slopes that move ever
/// farther apart are a jump's.
void Check::find_kink(Measurement& m, stencil::Line& line, double step) {
  const Samples wide = sample(line, 8 * step), narrow = sample(line, step);
  const stencil::OneSided before = stencil::one_sided(wide, center_, report_.noise);
  const stencil::OneSided now = stencil::one_sided(narrow, center_, report_.noise);
  const double steep = std::max(std::abs(now.left), std::abs(now.right));
  const bool apart =
      now.gap() > 0.5 * before.gap() && now.gap() > 2 * now.uncertainty && now.gap() > 1e-4 * steep;
  if (!apart && (narrow.same_branches || !options_.branches)) return;
  const auto closer = [&] {
    return stencil::one_sided(sample(line, step / 64), center_, report_.noise);
  };
  GradEntry& e = m.entry;
  if (now.gap() > 4 * before.gap()) {
    const stencil::OneSided jump = closer();
    if (jump.gap() > 4 * now.gap() && jump.gap() > jump.uncertainty) {  // no noise, either
      e.verdict = Verdict::inconclusive;
      return;
    }
  }
  e.left = now.left;
  e.right = now.right;
  const double tolerance = now.uncertainty + options_.rtol * steep;
  const auto [low, high] = std::minmax(now.left, now.right);
  const bool between = e.analytic >= low - tolerance && e.analytic <= high + tolerance;
  e.verdict = between ? Verdict::kink : Verdict::inconclusive;
  if (!between) {  // wrong, unless a smaller step finds other slopes
    const stencil::OneSided again = closer();
    const double change =
        std::max(std::abs(again.left - now.left), std::abs(again.right - now.right));
    const double own = stencil::own_step(line, step);
    if (change + again.uncertainty < 0.1 * now.gap() &&
        (own == 0 || remeasure(m, line, own).entry.verdict == Verdict::fail)) {
      e.verdict = Verdict::fail;
    }
  }
  for (const double side : {-3.0, 3.0}) {  // the value itself stands on one of them
    if (!options_.where || !e.branch.empty()) break;
    const stencil::Restored restored(line);
    (void)line.move(side * step);
    (void)evaluate();
    e.branch = options_.where();
  }
}

/// Diagnoses a block that failed: a small block is checked in full before, in a large one a direction
/// that failed is followed to an entry.
void Check::diagnose_block(std::size_t b) {
  const auto failed = [&](const Measurement& m) {
    return m.entry.block == b && m.entry.verdict == Verdict::fail;
  };
  if (std::ranges::none_of(measurements_, failed)) return;
  Plan& p = plans_[b];
  const bool sampled = p.entries.size() < blocks_[b].size() && options_.only_block.empty();
  if (sampled && blocks_[b].size() <= most_diagnosed) {
    const std::set<std::size_t> seen(p.entries.begin(), p.entries.end());
    for (std::size_t i = 0; i < blocks_[b].size(); ++i) {
      if (seen.contains(i)) continue;
      Measurement m = measure_entry(b, i, p.gradient[i]);
      differentiate(m);
      decide(m);
      if (m.entry.verdict != Verdict::pass || !m.samples.same_branches) {
        stencil::EntryLine line(blocks_[b], i);
        retry_with_other_steps(m, line);
      }
      measurements_.push_back(std::move(m));
    }
  } else if (sampled) {
    const auto entry = [&](const Measurement& m) { return failed(m) && !m.entry.direction; };
    if (std::ranges::none_of(measurements_, entry)) {
      bisect_direction(b, std::ranges::find_if(measurements_, failed)->entry.index);
    }
  }
  std::vector<GradEntry> entries;
  for (const Measurement& m : measurements_) {
    if (m.entry.block == b && !m.entry.direction) entries.push_back(m.entry);
  }
  report_.blocks[b].diagnosis = diagnose(blocks_[b], entries, options_.sizes);
}

/// Bisects a failing direction until one entry is left: each time the half with the larger error in
/// units of its bound.
void Check::bisect_direction(std::size_t b, std::size_t number) {
  const std::vector<double> v = direction(b, number);
  std::size_t first = 0, size = v.size();
  while (size > 1) {
    const std::size_t half = size / 2;
    const auto relative_error = [&](std::size_t from, std::size_t count) {
      Measurement m = measure_direction(b, number, from, std::span(v).subspan(from, count));
      differentiate(m);
      return m.entry.error / (m.entry.bound + options_.rtol * magnitude(m.entry));
    };
    if (relative_error(first, half) >= relative_error(first + half, size - half)) {
      size = half;
    } else {
      first += half;
      size -= half;
    }
  }
  Measurement m = measure_entry(b, first, plans_[b].gradient[first]);
  differentiate(m);
  decide(m);
  measurements_.push_back(std::move(m));
}

}  // namespace
}  // namespace tapegrad::detail

namespace tapegrad {

GradcheckReport gradcheck(const std::function<double()>& loss, std::span<const GradBlock> blocks,
                          const GradcheckOptions& options) {
  return detail::Check(loss, blocks, options).run();
}

GradcheckReport gradcheck(const std::function<double()>& loss,
                          std::initializer_list<GradBlock> blocks,
                          const GradcheckOptions& options) {
  return gradcheck(loss, std::span(blocks.begin(), blocks.size()), options);
}

}  // namespace tapegrad
