#include "diagnosis-inl.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "blocks-inl.h"
#include "comparison-inl.h"

namespace tapegrad::detail {
namespace {

class Diagnosis final : private Comparison {
 public:
  using Comparison::Comparison;

  /// First with exact arithmetic in mind, then allowing for gradients computed in float32.
  std::string text() {
    if (seen_.empty()) return {};
    for (const bool exact : {true, false}) {
      set_tolerance(exact);
      const double worst = worst_error();
      if (worst <= 1) return rounding() + scope();
      if (worst < 10 && exact) continue;
      if (worst < 10) break;  // too near to the error bound to tell
      for (const auto test :
           {&Diagnosis::zero, &Diagnosis::factor, &Diagnosis::transposed, &Diagnosis::moved,
            &Diagnosis::superfluous, &Diagnosis::summed, &Diagnosis::factors, &Diagnosis::clipped,
            &Diagnosis::in_time, &Diagnosis::added, &Diagnosis::parts, &Diagnosis::term,
            &Diagnosis::lacking, &Diagnosis::signs, &Diagnosis::one_step}) {
        if (std::string words = (this->*test)(); !words.empty()) return words + scope();
      }
    }
    return "other: no simple relation to the numeric gradient; the derivative of another "
           "expression?";
  }

 private:
  /// Said of entries that are a sample.
  std::string scope() const {
    return whole_ ? "" : " (of " + plural(seen_.size(), "entry", "entries") + " looked at)";
  }

  std::string rounding() const {
    double most = 0;
    for (const Seen& s : seen_) most = std::max(most, std::abs(s.analytic - s.numeric));
    return "rounding: analytic is right to " + formatted("%.1e", most / scale_) +
           " of the largest entry" +
           (most > 1e-9 * scale_ ? ": computed or stored in float32?" : ": order of summation?");
  }

  std::string zero() const {
    double most = 0;
    for (const Seen& s : seen_) most = std::max(most, std::abs(s.analytic));
    if (most > 1e-13 * scale_) return {};
    return std::string("zero: the analytic gradient is ") +
           (most == 0 ? "exactly zero" : "zero but for rounding") +
           " everywhere: never computed, detached, or overwritten";
  }

  std::string factor() const {
    std::optional<double> r = ratio(all());
    const auto exercised = std::ranges::find_if(seen_, &Seen::exercised);
    if (!r && std::ranges::count_if(seen_, &Seen::exercised) == 1 && exercised->numeric != 0) {
      const double one = exercised->analytic / exercised->numeric;  // a guess: named factors only
      if (near(one, -1) || near(one, 2) || !sizes_for(one).empty()) r = one;
    }
    if (!r || std::abs(*r) < 1e-9) return {};
    if (near(*r, -1)) return "sign: analytic = -numeric in all entries";
    if (near(*r, 2)) {
      const std::string sizes = sizes_for(2);
      return "doubled: analytic = 2 x numeric in all entries: counted twice, or gradients not set "
             "to zero before" +
             (sizes.empty() ? "" : ", or a factor " + sizes);
    }
    return "factor: analytic = " + factor_name(*r) + " x numeric in all entries";
  }

  std::string transposed() const {
    if (!whole_ || block_.shape.size() < 2) return {};
    // Axes stored in another order: read as an array of the permuted shape, analytic is right.
    std::vector<std::size_t> order(block_.shape.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    while (std::ranges::next_permutation(order).found) {
      GradBlock other{"", {}, {}, {}, {}};
      other.column_major = block_.column_major;
      for (const std::size_t axis : order) other.shape.push_back(block_.shape[axis]);
      bool same = true;
      for (const Seen& s : seen_) {
        Place p;
        for (const std::size_t axis : order) p.push_back(s.at[axis]);
        const Seen& there = seen_[flat_index(other, p)];
        same = same && std::abs(there.analytic - s.numeric) <= there.tolerance + s.tolerance;
      }
      if (!same) continue;
      if (order.size() == 2 && block_.shape[0] == block_.shape[1]) {
        return "transpose: analytic is the transpose of numeric";
      }
      return "transpose: analytic is right if read with shape (" + join(other.shape) + "): axes (" +
             join(order) + ") of this one";
    }
    // Square blocks of rows, some or all of them transposed.
    const std::size_t columns = block_.shape[1], rows = block_.shape[0];
    if (block_.shape.size() != 2 || columns < 2) return {};
    if (rows <= columns || rows % columns != 0) return {};
    std::vector<bool> right(rows / columns, true), turned(rows / columns, true);
    for (const Seen& s : seen_) {
      const std::size_t part = s.at[0] / columns;
      const Seen& there = at({part * columns + s.at[1], s.at[0] - part * columns});
      right[part] = right[part] && s.agrees();
      turned[part] =
          turned[part] && std::abs(s.analytic - there.numeric) <= s.tolerance + there.tolerance;
    }
    const bool gates = !cuts_.empty() && cuts_[0].gates && cuts_[0].parts == right.size();
    std::string which;
    std::size_t count = 0;
    for (std::size_t part = 0; part < right.size(); ++part) {
      if (right[part]) continue;
      if (!turned[part]) return {};
      which +=
          (count++ == 0 ? "" : ", ") + (gates ? part_name(cuts_[0], part) : std::to_string(part));
    }
    if (count == 0) return {};
    return "transpose: analytic is the transpose of numeric in " +
           (count == right.size() ? "each square block of rows"
                                  : (gates ? cut_name(cuts_[0]) : "square block") + " " + which);
  }

  /// Parts of an axis in each other's place.
  std::string moved() const {
    if (!whole_) return {};
    for (const Cut& cut : cuts_) {
      const std::string what = cut_name(cut);
      const auto shifted = [&](std::ptrdiff_t by) {
        return equals_moved([&](Place p) -> std::optional<Place> {
          const std::ptrdiff_t i = static_cast<std::ptrdiff_t>(p[cut.axis]) + by;
          if (i < 0 || i >= static_cast<std::ptrdiff_t>(cut.parts)) return std::nullopt;
          p[cut.axis] = static_cast<std::size_t>(i);
          return p;
        });
      };
      if (cut.width == 1 && cut.parts > 2) {
        for (const bool later : {true, false}) {
          if (!shifted(later ? 1 : -1)) continue;
          return class_of(cut) + ("off by one: analytic of " + what) + " k is numeric of k " +
                 (later ? "+ 1" : "- 1");
        }
        if (equals_moved([&](Place p) {
              p[cut.axis] = cut.parts - 1 - p[cut.axis];
              return std::optional(p);
            })) {
          return class_of(cut) + ("reversed: analytic of " + what) + " k is numeric of " +
                 std::to_string(cut.parts - 1) + " - k";
        }
      }
      if (std::string words = reordered(cut); !words.empty()) return class_of(cut) + words;
    }
    return {};
  }

  std::string reordered(const Cut& cut) const {
    if (cut.parts > 64) return {};
    const std::vector<Part> parts = split(cut);
    std::string words;
    std::size_t moved = 0;
    std::vector<bool> taken(cut.parts, false);  // a gate may be copied, other parts change places
    const auto is_numeric_of = [&](std::size_t part, std::size_t other) {
      return std::ranges::all_of(parts[part], [&](const Seen* s) {
        Place p = s->at;
        p[cut.axis] = p[cut.axis] - part * cut.width + other * cut.width;
        return std::abs(s->analytic - at(p).numeric) <= s->tolerance + at(p).tolerance;
      });
    };
    for (std::size_t part = 0; part < cut.parts; ++part) taken[part] = is_numeric_of(part, part);
    const std::vector<bool> stays = taken;
    for (std::size_t part = 0; part < cut.parts; ++part) {
      if (stays[part]) continue;
      std::size_t from = 0;
      const auto free = [&](std::size_t k) { return cut.gates || !taken[k]; };
      while (from < cut.parts && !(free(from) && is_numeric_of(part, from))) ++from;
      if (from == cut.parts) return {};
      taken[from] = true;
      if (all_zero(parts[part])) continue;
      if (moved++ < 4) {
        words += (words.empty() ? "analytic of " : ", of ") + cut_name(cut) + " " +
                 part_name(cut, part) + " is numeric of " + part_name(cut, from);
      }
    }
    // One number in the place of another may be chance, or a factor.
    const bool enough = moved > 1 || (moved == 1 && seen_.size() > 2 * cut.parts);
    return enough ? words + (moved > 4 ? ", ..." : "") : std::string();
  }

  /// Nonzero where the loss does not move, and the rest right up to a factor.
  std::string superfluous() const {
    Part rest;
    std::size_t extra = 0, lacks = 0;
    for (const Seen& s : seen_) {
      const bool moves = std::abs(s.numeric) > s.tolerance;
      extra += !moves && std::abs(s.analytic) > s.tolerance;
      lacks += moves && s.analytic == 0;
      if (moves && s.analytic != 0) rest.push_back(&s);
    }
    const std::optional<double> r = ratio(rest);
    if (extra == 0 || !r) return {};
    return "mask: analytic is nonzero in " + plural(extra, "entry", "entries") +
           " that the loss does not depend on" +
           (lacks == 0 ? std::string(": a mask that is not applied")
                       : ", and zero in " + std::to_string(lacks) + " that it does: another mask") +
           (near(*r, 1) ? "" : "; the rest is " + factor_name(*r) + " x numeric");
  }

  /// Zero in places where the loss moves, and the rest right up to a factor.
  std::string lacking() const {
    Part rest;
    std::size_t lacks = 0;
    for (const Seen& s : seen_) {
      if (std::abs(s.numeric) <= s.tolerance) continue;
      lacks += s.analytic == 0;
      if (s.analytic != 0) rest.push_back(&s);
    }
    if (lacks == 0 || !ratio(rest)) return {};
    return "mask: analytic is zero in " + plural(lacks, "entry", "entries") +
           " that the loss depends on: a mask applied twice, or another one";
  }

  /// Each row (column, ...) has a factor of its own.
  std::string factors() const {
    for (const Cut& cut : cuts_) {
      if (time_first_ && cut.axis == 0) continue;
      std::string words;
      std::size_t shown = 0, right = 0, simple = 0;
      bool fits = true;
      for (const Part& part : split(cut)) {
        if (std::ranges::none_of(part, [](const Seen* s) { return s->exercised(); })) continue;
        const std::optional<double> r = ratio(part);
        if (!(fits = r.has_value())) break;
        right += near(*r, 1);
        simple += near(std::abs(*r), 1) || *r == 0;
        if (shown++ < 4) words += (words.empty() ? "" : ", ") + formatted("%.4g", *r);
      }
      if (!fits || shown < 2 || simple == shown || 2 * right > shown) continue;
      return "factor: each " +
             (cut.width == 1 && block_.shape.size() > 2
                  ? "index of axis " + std::to_string(cut.axis)
                  : cut_name(cut)) +
             " has its own: " + words + (shown > 4 ? ", ..." : "") + ": another divisor?";
    }
    return {};
  }

  /// What should be separate along an axis is summed there, or averaged.
  std::string summed() const {
    if (!whole_) return {};
    for (std::size_t axis = 0; axis < block_.shape.size(); ++axis) {
      const auto length = static_cast<double>(block_.shape[axis]);
      bool sums = length > 1, means = length > 1;
      for (const Seen& s : seen_) {
        double sum = 0, tolerance = s.tolerance;
        for (const Seen* o : line(s, axis)) sum += o->numeric, tolerance += o->tolerance;
        sums = sums && std::abs(s.analytic - sum) <= tolerance;
        means = means && std::abs(s.analytic - sum / length) <= tolerance;
        if (!sums && !means) break;
      }
      if (!sums && !means) continue;
      return std::string("sum: analytic is the ") + (sums ? "sum" : "mean") +
             " of numeric over axis " + std::to_string(axis) + ", the same all along it";
    }
    return {};
  }

  std::string in_time() const {
    if (!whole_ || !time_first_) return {};
    const std::size_t steps = block_.shape[0];
    for (const bool later : {true, false}) {
      const bool sums = std::ranges::all_of(seen_, [&](const Seen& s) {
        double sum = 0, tolerance = s.tolerance;
        for (const Seen* o : line(s, 0)) {
          if (later ? o->at[0] < s.at[0] : o->at[0] > s.at[0]) continue;
          sum += o->numeric, tolerance += o->tolerance;
        }
        return std::abs(s.analytic - sum) <= tolerance;
      });
      if (sums) {
        return std::string("time: analytic at t is numeric summed from ") +
               (later ? "t to the last step" : "step 0 to t") + ": a buffer not set to zero";
      }
    }
    std::vector<bool> wrong(steps, false), right(steps, false), silent(steps, true);
    std::size_t failed = 0, of = 0;
    const std::vector<Part> parts = split({0, 1, steps, false});
    for (std::size_t t = 0; t < steps; ++t) {
      for (const Seen* s : parts[t]) {
        wrong[t] = wrong[t] || !s->agrees();
        silent[t] = silent[t] && s->analytic == 0;
        right[t] = right[t] || s->exercised();
      }
      right[t] = right[t] && !wrong[t];
      if (!wrong[t]) continue;
      for (const Seen* s : parts[t]) failed += !s->agrees(), of += s->exercised();
    }
    if (2 * failed < of) return {};
    const auto simple = [](const Seen& s) { return s.agrees() || s.is(-s.numeric); };
    if (std::ranges::all_of(seen_, simple)) return {};  // signs
    // No right step before the first, and no wrong one from it on; or the other way round.
    const std::size_t before =
        static_cast<std::size_t>(std::ranges::find(right, true) - right.begin());
    const std::size_t bad =
        static_cast<std::size_t>(std::ranges::find(wrong, true) - wrong.begin());
    if (before == steps || bad == steps) return {};
    const auto zeros = [](const Seen& s) { return s.agrees() || s.analytic == 0; };
    const bool only_zeros = std::ranges::all_of(seen_, zeros);
    const auto any = [](const std::vector<bool>& v, std::size_t from) {
      return std::find(v.begin() + static_cast<std::ptrdiff_t>(from), v.end(), true) != v.end();
    };
    if (bad < before && !any(wrong, before)) {
      const auto there = silent.begin() + static_cast<std::ptrdiff_t>(before);
      const bool cut = std::find(silent.begin(), there, false) == there;
      if (only_zeros && !cut) return {};  // a mask
      if (before + 1 < steps) {
        return "time: right from step " + std::to_string(before) + " on, " +
               (cut ? "zero before: truncated there?" : "wrong before");
      }
      return cut ? "time: only the last step has a gradient: nothing is carried back?"
                 : "time: right at the last step only: what is carried back through time?";
    }
    if (before < bad && !any(right, bad) && !only_zeros) {
      return "time: right up to step " + std::to_string(bad - 1) + ", wrong after it";
    }
    return {};
  }

  /// analytic - numeric = c, or c times the value.
  std::string added() const {
    const auto wrong = std::ranges::count_if(seen_, [](const Seen& s) { return !s.agrees(); });
    if (seen_.size() < 3 || 2 * static_cast<std::size_t>(wrong) < seen_.size()) return {};
    if (const auto c = constant(all(), [](const Seen&) { return 1.0; })) {
      return "value: analytic = numeric + " + formatted("%.4g", *c) +
             " in all entries: a constant is added";
    }
    if (const auto c = constant(all(), [&](const Seen& s) { return block_.get(s.index); })) {
      return "value: analytic = numeric + " + formatted("%.4g", *c) +
             " x the value itself: weight decay, or a penalty that is not in the loss";
    }
    return {};
  }

  /// What normalisations subtract: along an axis, analytic - numeric is constant (mean), or affine
  /// in the value (variance).
  std::string term() const {
    if (!whole_ || block_.shape.size() < 2) return {};
    for (std::size_t axis = block_.shape.size(); axis-- > 0;) {
      const std::size_t length = block_.shape[axis];
      if (length < 4 || (axis == 0 && time_first_)) continue;
      bool affine = true, flat = true;
      std::size_t wrong = 0;
      for (const Seen& first : seen_) {
        if (first.at[axis] != 0) continue;
        const Part line = this->line(first, axis);
        if (std::ranges::all_of(line, [](const Seen* s) { return s->agrees(); })) continue;
        ++wrong;
        flat = flat && constant(line, [](const Seen&) { return 1.0; });
        affine = affine && affine_in_value(line);
      }
      if (wrong < 2 || !affine) continue;
      const std::string where = block_.shape.size() > 2 ? "along axis " + std::to_string(axis)
                                : axis == 1             ? "in each row"
                                                        : "in each column";
      return "term: " + where + ", analytic - numeric is " +
             (flat ? "constant: the mean term of a normalisation?"
                   : "a + b x value: the variance term of a normalisation?");
    }
    return {};
  }

  /// Gates, rows, columns or steps that are wrong, while the others are right; else the few entries
  /// that are.
  std::string parts() const {
    Part wrong;
    for (const Seen& s : seen_) {
      if (!s.agrees()) wrong.push_back(&s);
    }
    for (const Cut& cut : cuts_) {
      if (wrong.size() == 1) break;
      std::size_t bad = 0, good = 0;
      bool mixed = false;
      std::string list;
      const std::vector<Part> parts = split(cut);
      for (std::size_t k = 0; k < cut.parts && !mixed; ++k) {
        const auto disagrees = [](const Seen* s) { return !s->agrees(); };
        const auto shows = [](const Seen* s) { return s->agrees() && s->exercised(); };
        const bool is_bad = std::ranges::any_of(parts[k], disagrees);
        const bool is_good = std::ranges::any_of(parts[k], shows);
        mixed = is_bad && is_good;
        good += is_good;
        if (is_bad && bad++ < 4) list += (list.empty() ? "" : ", ") + part_name(cut, k);
      }
      if (mixed || bad == 0 || bad > 3 * good) continue;
      return "part: wrong in " + cut_name(cut) + " " + list + (bad > 4 ? ", ..." : "") + " only" +
             in_what_way(wrong);
    }
    const auto exercised = static_cast<std::size_t>(std::ranges::count_if(seen_, &Seen::exercised));
    if (wrong.size() * 4 > std::max<std::size_t>(exercised, 4) || seen_.size() < 2) return {};
    std::string list;
    for (std::size_t k = 0; k < std::min<std::size_t>(wrong.size(), 4); ++k) {
      list += (k == 0 ? "" : ", ") + block_.entry_name(wrong[k]->index);
    }
    return "part: wrong in " + list + (wrong.size() > 4 ? ", ..." : "") + " only" +
           in_what_way(wrong);
  }

  std::string in_what_way(const Part& wrong) const {
    if (all_zero(wrong)) return ", where analytic is zero";
    if (const std::optional<double> r = ratio(wrong)) {
      if (near(*r, -1)) return ", where the sign is wrong";
      return ", where analytic = " + factor_name(*r) + " x numeric";
    }
    const auto c = constant(wrong, [](const Seen&) { return 1.0; });
    if (c && wrong.size() > 1) return ", where analytic = numeric + " + formatted("%.4g", *c);
    return {};
  }

  std::string clipped() const {
    double limit = 0;
    std::size_t wrong = 0;
    for (const Seen& s : seen_) {
      limit = std::max(limit, std::abs(s.analytic));
      wrong += !s.agrees();
    }
    if (wrong < 2) return {};
    for (const Seen& s : seen_) {
      if (!s.is(std::clamp(s.numeric, -limit, limit))) return {};
    }
    return "clip: analytic is numeric clipped at " + formatted("%.4g", limit) + " in " +
           plural(wrong, "entry", "entries") + ": check gradients before they are clipped";
  }

  std::string signs() const {
    std::size_t wrong = 0;
    for (const Seen& s : seen_) {
      if (!s.agrees() && !s.is(-s.numeric)) return {};
      wrong += !s.agrees();
    }
    return "sign: right but for the sign in " + plural(wrong, "entry", "entries");
  }

  /// The gradient of a weight matrix is a sum over time of outer products, B a step: its rank tells
  /// how many steps there are in it.
  std::string one_step() const {
    const std::optional<std::size_t> steps = size_named("T");
    if (!whole_ || time_first_ || block_.shape.size() != 2 || !steps || *steps < 2) return {};
    const std::size_t batch = size_named("B").value_or(1);
    if (batch >= std::min(block_.shape[0], block_.shape[1])) return {};
    const std::size_t whole = rank([](const Seen& x) { return x.numeric; });
    const std::size_t ours = rank([](const Seen& x) { return x.analytic; });
    if (whole <= batch) return {};
    if (ours <= batch) {
      return "time: analytic has rank " + std::to_string(ours) + ", numeric " +
             std::to_string(whole) + ": the share of one step alone, not summed over time?";
    }
    const std::size_t missing = rank([](const Seen& x) { return x.analytic - x.numeric; });
    if (missing <= batch) {
      return "time: what is missing has rank " + std::to_string(missing) +
             ": the share of one step, the first or the last?";
    }
    return {};
  }
};

}  // namespace

std::string diagnose(const GradBlock& block, std::span<const GradEntry> entries,
                     std::span<const NamedSize> sizes) {
  return Diagnosis(block, entries, sizes).text();
}

}  // namespace tapegrad::detail
