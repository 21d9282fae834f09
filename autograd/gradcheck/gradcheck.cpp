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
/// A bound is an estimate: what is beyond it but not beyond twice it, and so much more of what is
/// known from one place only, is not decided.
constexpr double roughness_doubt = 9;

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
    first_look();
    judge_all();
    for (std::size_t b = 0; b < blocks_.size(); ++b) look_closer(b);
    report_.reason = check_unchanged(center_, evaluate());
    for (const Look& look : looks_) report_.entries.push_back(look.entry);
    summarize(report_, options_);
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      report_.blocks[b].missed = missed(report_, b, options_);
    }
    return std::move(report_);
  }

 private:
  /// One line through the values and what was seen there.
  struct Look {
    GradEntry entry;
    Samples samples;
    double rough = 0;  ///< the part of the bound that is not the common noise
  };

  std::string preflight();
  void measure_noise();
  void first_look();
  void judge_all();
  void look_closer(std::size_t b);

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
  /// A unit vector through block b, one of several.
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

  void fill(Look& look) const;
  void judge(Look& look) const;
  void insist(Look& look, stencil::Line& line);
  Look at_step(Look look, stencil::Line& line, double step);
  bool settle(Look& look, stencil::Line& line);
  void find_kink(Look& look, stencil::Line& line, double step);
  Look look_at(std::size_t b, std::size_t index, double analytic);
  Look look_along(std::size_t b, std::size_t number, std::size_t first,
                  std::span<const double> along);
  void find_entry(std::size_t b, std::size_t number);

  const Loss& loss_;
  Blocks blocks_;
  const GradcheckOptions& options_;
  GradcheckReport report_;
  std::vector<Plan> plans_;
  std::vector<Look> looks_;
  double center_ = 0;
  double measured_ = -1;  ///< noise, before the first look; -1: unknown
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

/// Seven values so close together that what their sixth difference shows is noise: a float inside
/// the loss shows here. On one side of x, because a kink likes to be at x. The median over the
/// entry of largest gradient of up to six blocks.
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
  measured_ = seen.empty() ? -1 : seen[seen.size() / 2];
  report_.noise = std::max(epsilon * std::abs(center_), measured_);
}

Check::Look Check::look_at(std::size_t b, std::size_t index, double analytic) {
  Look look;
  look.entry.block = b;
  look.entry.index = index;
  look.entry.analytic = analytic;
  stencil::EntryLine line(blocks_[b], index);
  look.entry.step = first_step(line);
  if (look.entry.step > 0) look.samples = sample(line, look.entry.step);
  return look;
}

Check::Look Check::look_along(std::size_t b, std::size_t number, std::size_t first,
                              std::span<const double> along) {
  Look look;
  look.entry.block = b;
  look.entry.index = number;
  look.entry.direction = true;
  look.entry.analytic = dot(along, std::span(plans_[b].gradient).subspan(first, along.size()));
  stencil::DirectionLine line(blocks_[b], first, along);
  look.entry.step = first_step(line);
  if (look.entry.step > 0) look.samples = sample(line, look.entry.step);
  return look;
}

void Check::first_look() {
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const Plan& p = plans_[b];
    for (std::size_t k = 0; k < p.entries.size(); ++k) {
      looks_.push_back(look_at(b, p.entries[k], p.analytic[k]));
    }
    for (std::size_t d = 0; d < p.directions; ++d) {
      const std::vector<double> v = direction(b, d);
      looks_.push_back(look_along(b, d, 0, v));
    }
  }
}

/// Numeric derivative and bound of what was sampled.
void Check::fill(Look& look) const {
  GradEntry& e = look.entry;
  const stencil::Derivative d = stencil::differentiate(look.samples, center_, report_.noise);
  e.numeric = d.value;
  e.bound = d.bound();
  look.rough = d.rough();
  e.error = std::abs(e.analytic - e.numeric);
  e.step = look.samples.step;
  e.f = look.samples.f;
}

void Check::judge(Look& look) const {
  GradEntry& e = look.entry;
  const auto finite = [](double v) { return std::isfinite(v); };
  e.verdict = Verdict::inconclusive;
  if (!(e.step > 0) || !std::ranges::all_of(e.f, finite) || !finite(e.numeric) ||
      !finite(e.bound)) {
    return;
  }
  // What cancels in the analytic gradient leaves rounding behind, of a size that only the other
  // gradients tell; where nothing moves the loss not even they.
  const double residue = 16 * epsilon * plans_[e.block].scale;
  const double excess =
      e.error - (e.bound + options_.rtol * magnitude(e) + options_.atol + residue);
  const bool still = std::ranges::all_of(e.f, [&](double f) { return f == center_; });
  if (excess > e.bound + roughness_doubt * look.rough) {
    if (!still || e.error > 1e-10 * std::max(1.0, std::abs(center_))) e.verdict = Verdict::fail;
  } else if (excess <= 0 &&
             (!e.exercised() || e.bound <= options_.inconclusive_at *
                                               std::max(magnitude(e), plans_[e.block].scale))) {
    e.verdict = Verdict::pass;
  }
}

/// Noise belongs to the loss as a whole and one entry's estimate may be small by chance: the median
/// of all that move the loss.
void Check::judge_all() {
  std::vector<double> noise;
  for (const Look& look : looks_) {
    const double estimate = stencil::noise_of(look.samples, center_);
    const bool moved = std::ranges::any_of(look.samples.f, [&](double f) { return f != center_; });
    if (look.samples.step > 0 && moved && std::isfinite(estimate)) noise.push_back(estimate);
  }
  if (!noise.empty()) {
    const auto middle = noise.begin() + static_cast<std::ptrdiff_t>(noise.size() / 2);
    std::nth_element(noise.begin(), middle, noise.end());
    const double trusted =
        measured_ >= 0 ? std::clamp(*middle, measured_, 10 * measured_) : *middle;
    report_.noise = std::max(epsilon * std::abs(center_), trusted);
  }
  for (Look& look : looks_) {
    fill(look);
    judge(look);
    if (look.entry.verdict == Verdict::pass && look.samples.same_branches) continue;
    const GradEntry& e = look.entry;
    if (e.direction) {
      const std::vector<double> v = direction(e.block, e.index);
      stencil::DirectionLine line(blocks_[e.block], 0, v);
      insist(look, line);
    } else {
      stencil::EntryLine line(blocks_[e.block], e.index);
      insist(look, line);
    }
  }
}

/// What did not pass, or took several branches, is tried with other steps. A try counts only if its
/// bound is smaller, so that a wrong gradient cannot hide behind a wider one; but a step that stays
/// on one branch beats any that does not.
void Check::insist(Look& look, stencil::Line& line) {
  if (!(look.entry.step > 0) || options_.step > 0) return;
  const double first = look.samples.step;
  const stencil::Derivative d = stencil::differentiate(look.samples, center_, report_.noise);
  const bool rough = !look.samples.same_branches || !d.finite() || d.truncation > d.rounding ||
                     stencil::noise_of(look.samples, center_) > 10 * report_.noise ||
                     look.entry.verdict == Verdict::fail;
  const std::array<double, 5> factors = rough ? std::array{0x1p-3, 0x1p-6, 0x1p-9, 4.0, 16.0}
                                              : std::array{4.0, 16.0, 0x1p-3, 0x1p-6, 0x1p-9};
  for (const double factor : factors) {
    const double step = first * factor;
    if (step > 0.25 * line.size || step > line.inside(step)) continue;
    Look again = at_step(look, line, step);
    if (!std::isfinite(again.entry.bound)) continue;
    const bool steadier = again.samples.same_branches && !look.samples.same_branches;
    const bool sharper = again.samples.same_branches == look.samples.same_branches &&
                         !(again.entry.bound >= look.entry.bound);
    if (steadier || sharper) look = again;
    if (look.entry.verdict == Verdict::pass && look.samples.same_branches) return;
  }
  const bool changed = look.entry.verdict == Verdict::fail && !settle(look, line);
  if (changed && look.entry.verdict == Verdict::pass) return;
  find_kink(look, line, changed ? std::min(look.entry.step, first / 8) : first * 0x1p-9);
}

Check::Look Check::at_step(Look look, stencil::Line& line, double step) {
  look.samples = sample(line, step);
  fill(look);
  judge(look);
  return look;
}

/// A fail counts if neither an eighth of the step contradicts it nor, for a value that is smaller
/// than the step, a step of the value's own size; else the loss varies on a smaller scale, and the
/// step shrinks until two in a row agree. False if contradicted; then what two steps have not
/// agreed upon is undecided.
bool Check::settle(Look& look, stencil::Line& line) {
  const auto agree = [](const Look& a, const Look& b) {
    const double apart = std::abs(a.entry.numeric - b.entry.numeric);
    const double noise = a.entry.bound - a.rough + b.entry.bound - b.rough;
    const double size = std::max(std::abs(a.entry.numeric), std::abs(b.entry.numeric));
    return apart <= std::min(a.entry.bound + b.entry.bound, 2 * noise + 0.1 * size);
  };
  for (bool contradicted = false; look.entry.step > 0x1p-45 * line.size; contradicted = true) {
    Look again = at_step(look, line, look.entry.step / 8);
    const bool same = look.entry.verdict == again.entry.verdict;
    const bool noisy = again.rough <= again.entry.bound / 2;
    if (agree(look, again) && !contradicted && (same || noisy)) {
      if (!same && look.entry.step > first_step(line)) break;  // larger than it should be
      const double own = stencil::own_step(line, look.entry.step / 64);
      if (own == 0) return true;
      again = at_step(look, line, own);
      if (again.entry.verdict == Verdict::fail && agree(look, again)) return true;
    } else if (agree(look, again) && same) {
      return false;
    }
    look = again;
  }
  look.entry.verdict = Verdict::inconclusive;
  return false;
}

/// Slopes on both sides that stay apart while the step shrinks; those that move ever farther apart
/// are a jump's.
void Check::find_kink(Look& look, stencil::Line& line, double step) {
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
  GradEntry& e = look.entry;
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
  if (!between) {  // wrong, unless a closer look shows other slopes
    const stencil::OneSided again = closer();
    const double change =
        std::max(std::abs(again.left - now.left), std::abs(again.right - now.right));
    const double own = stencil::own_step(line, step);
    if (change + again.uncertainty < 0.1 * now.gap() &&
        (own == 0 || at_step(look, line, own).entry.verdict == Verdict::fail)) {
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

/// A block that failed: a direction is followed to an entry, and a small block is checked in full,
/// so that the report can say what is wrong.
void Check::look_closer(std::size_t b) {
  const auto failed = [&](const Look& look) {
    return look.entry.block == b && look.entry.verdict == Verdict::fail;
  };
  if (std::ranges::none_of(looks_, failed)) return;
  Plan& p = plans_[b];
  const bool sampled = p.entries.size() < blocks_[b].size() && options_.only_block.empty();
  if (sampled && blocks_[b].size() <= most_diagnosed) {
    const std::set<std::size_t> seen(p.entries.begin(), p.entries.end());
    for (std::size_t i = 0; i < blocks_[b].size(); ++i) {
      if (seen.contains(i)) continue;
      Look look = look_at(b, i, p.gradient[i]);
      fill(look);
      judge(look);
      if (look.entry.verdict != Verdict::pass || !look.samples.same_branches) {
        stencil::EntryLine line(blocks_[b], i);
        insist(look, line);
      }
      looks_.push_back(std::move(look));
    }
  } else if (sampled) {
    const auto entry = [&](const Look& look) { return failed(look) && !look.entry.direction; };
    if (std::ranges::none_of(looks_, entry)) {
      find_entry(b, std::ranges::find_if(looks_, failed)->entry.index);
    }
  }
  std::vector<GradEntry> entries;
  for (const Look& look : looks_) {
    if (look.entry.block == b && !look.entry.direction) entries.push_back(look.entry);
  }
  report_.blocks[b].diagnosis = diagnose(blocks_[b], entries, options_.sizes);
}

/// Halves a failing direction until one entry is left: the half with the larger error in units of
/// its bound.
void Check::find_entry(std::size_t b, std::size_t number) {
  const std::vector<double> v = direction(b, number);
  std::size_t first = 0, size = v.size();
  while (size > 1) {
    const std::size_t half = size / 2;
    const auto badness = [&](std::size_t from, std::size_t count) {
      Look look = look_along(b, number, from, std::span(v).subspan(from, count));
      fill(look);
      return look.entry.error / (look.entry.bound + options_.rtol * magnitude(look.entry));
    };
    if (badness(first, half) >= badness(first + half, size - half)) {
      size = half;
    } else {
      first += half;
      size -= half;
    }
  }
  Look look = look_at(b, first, plans_[b].gradient[first]);
  fill(look);
  judge(look);
  looks_.push_back(std::move(look));
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
