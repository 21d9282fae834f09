#include <algorithm>
#include <cmath>

#include "patterns-inl.h"

namespace tapegrad::detail::patterns {
namespace {

/// From which step on, or up to which one, a gradient over time (T, ...) is right.
struct RightSteps {
  std::size_t steps;    ///< T
  std::size_t from;     ///< first of those that are right; 0 if they come first
  std::size_t until;    ///< the step behind the last of them
  bool zero_elsewhere;  ///< all analytic gradients are, or
  bool may_be_a_mask;   ///< wrong entries are zero, but not in whole steps
};

std::optional<RightSteps> right_steps(const Comparison& c) {
  if (!c.complete() || !c.time_first()) return {};
  const std::size_t steps = c.block().shape[0];
  std::vector<bool> wrong(steps, false), right(steps, false), silent(steps, true);
  std::size_t failed = 0, exercised = 0;
  const std::vector<Part> parts = c.parts_of({0, 1, steps, false});
  for (std::size_t t = 0; t < steps; ++t) {
    for (const ComparedEntry* e : parts[t]) {
      wrong[t] = wrong[t] || !e->agrees();
      silent[t] = silent[t] && e->analytic == 0;
      right[t] = right[t] || e->exercised();
    }
    right[t] = right[t] && !wrong[t];
    if (!wrong[t]) continue;
    for (const ComparedEntry* e : parts[t]) failed += !e->agrees(), exercised += e->exercised();
  }
  if (2 * failed < exercised) return {};
  const auto only_sign = [](const auto& e) { return e.agrees() || e.equals(-e.numeric); };
  if (std::ranges::all_of(c.entries(), only_sign)) return {};
  const auto first = [](const std::vector<bool>& flags, bool wanted, std::size_t from) {
    const auto begin = flags.begin() + static_cast<std::ptrdiff_t>(from);
    return static_cast<std::size_t>(std::find(begin, flags.end(), wanted) - flags.begin());
  };
  const std::size_t first_right = first(right, true, 0), first_wrong = first(wrong, true, 0);
  if (first_right == steps || first_wrong == steps) return {};
  const bool only_zeros =
      std::ranges::all_of(c.entries(), [](const auto& e) { return e.agrees() || e.analytic == 0; });
  if (first_wrong < first_right && first(wrong, true, first_right) == steps) {
    const bool cut = first(silent, false, 0) >= first_right;
    return RightSteps{steps, first_right, steps, cut, only_zeros && !cut};
  }
  if (first_right < first_wrong && first(right, true, first_wrong) == steps)
    return RightSteps{steps, 0, first_wrong, false, only_zeros};
  return {};
}

/// Numbers of steps in the analytic and the numeric gradient of a weight matrix: it is a sum over
/// time of outer products, B a step, so a rank tells.
struct Ranks {
  std::size_t batch, analytic, numeric;
};

std::optional<Ranks> ranks(const Comparison& c) {
  const std::vector<std::size_t>& shape = c.block().shape;
  const std::optional<std::size_t> steps = c.size_named("T");
  if (!c.complete() || c.time_first() || shape.size() != 2 || !steps || *steps < 2) return {};
  const std::size_t batch = c.size_named("B").value_or(1);
  if (batch >= std::min(shape[0], shape[1])) return {};
  const Ranks found{batch, c.rank([](const ComparedEntry& e) { return e.analytic; }),
                    c.rank([](const ComparedEntry& e) { return e.numeric; })};
  return found.numeric > batch ? std::optional(found) : std::nullopt;
}

}  // namespace

Blanks accumulated_over_time(const Comparison& c) {
  if (!c.complete() || !c.time_first()) return {};
  for (const bool later : {true, false}) {
    const bool sums = std::ranges::all_of(c.entries(), [&](const ComparedEntry& e) {
      double sum = 0, tolerance = e.tolerance;
      for (const ComparedEntry* o : c.line(e, 0)) {
        if (later ? o->at[0] < e.at[0] : o->at[0] > e.at[0]) continue;
        sum += o->numeric, tolerance += o->tolerance;
      }
      return std::abs(e.analytic - sum) <= tolerance;
    });
    if (sums) return fill({later ? "t to the last step" : "step 0 to t"});
  }
  return {};
}

Blanks right_from_a_step(const Comparison& c) {
  const auto found = right_steps(c);
  if (!found || found->from == 0 || found->from + 1 == found->steps || found->may_be_a_mask)
    return {};
  return fill({std::to_string(found->from),
               found->zero_elsewhere ? "zero before: truncated there?" : "wrong before"});
}

Blanks only_last_step(const Comparison& c) {
  const auto found = right_steps(c);
  const bool fits = found && found->from + 1 == found->steps && found->zero_elsewhere;
  return fits ? fill({}) : std::nullopt;
}

Blanks right_at_last_step(const Comparison& c) {
  const auto found = right_steps(c);
  const bool fits =
      found && found->from + 1 == found->steps && !found->zero_elsewhere && !found->may_be_a_mask;
  return fits ? fill({}) : std::nullopt;
}

Blanks right_up_to_a_step(const Comparison& c) {
  const auto found = right_steps(c);
  if (!found || found->from != 0 || found->may_be_a_mask) return {};
  return fill({std::to_string(found->until - 1)});
}

Blanks one_step_alone(const Comparison& c) {
  const auto found = ranks(c);
  if (!found || found->analytic > found->batch) return {};
  return fill({std::to_string(found->analytic), std::to_string(found->numeric)});
}

Blanks one_step_missing(const Comparison& c) {
  const auto found = ranks(c);
  if (!found) return {};
  const std::size_t missing = c.rank([](const ComparedEntry& e) { return e.analytic - e.numeric; });
  if (missing > found->batch) return {};
  return fill({std::to_string(missing)});
}

}  // namespace tapegrad::detail::patterns
