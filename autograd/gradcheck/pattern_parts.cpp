#include <algorithm>
#include <cmath>

#include "blocks-inl.h"
#include "patterns-inl.h"

namespace tapegrad::detail::patterns {
namespace {

constexpr std::size_t most_named = 4;  ///< parts or entries that a sentence lists

Part wrong_ones(const Comparison& c) {
  Part wrong;
  for (const ComparedEntry& e : c.entries()) {
    if (!e.agrees()) wrong.push_back(&e);
  }
  return wrong;
}

/// Names the common error of the wrong entries, as the end of a sentence.
std::string common_error(const Part& wrong, const Comparison& c) {
  if (Comparison::all_zero(wrong)) return ", where analytic is zero";
  if (const std::optional<double> r = Comparison::ratio(wrong)) {
    if (Comparison::near(*r, -1)) return ", where the sign is wrong";
    return ", where analytic = " + c.factor_name(*r) + " x numeric";
  }
  const auto added = Comparison::constant(wrong, [](const ComparedEntry&) { return 1.0; });
  if (added && wrong.size() > 1) return ", where analytic = numeric + " + formatted("%.4g", *added);
  return {};
}

/// The last axis along which analytic - numeric is an affine function of the value, and whether it
/// is constant: what is left where normalisations do not subtract a mean (constant), or the part
/// along the value (affine).
struct NormalizedAxis {
  std::string where;
  bool constant;
};

std::optional<NormalizedAxis> normalized_axis(const Comparison& c) {
  const std::vector<std::size_t>& shape = c.block().shape;
  if (!c.complete() || shape.size() < 2) return {};
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] < 4 || (axis == 0 && c.time_first())) continue;
    bool affine = true, constant = true;
    std::size_t wrong = 0;
    for (const ComparedEntry& first : c.entries()) {
      if (first.at[axis] != 0) continue;
      const Part line = c.line(first, axis);
      if (std::ranges::all_of(line, [](const ComparedEntry* e) { return e->agrees(); })) continue;
      ++wrong;
      constant = constant && Comparison::constant(line, [](const ComparedEntry&) { return 1.0; });
      affine = affine && c.affine_in_value(line);
    }
    if (wrong < 2 || !affine) continue;
    return NormalizedAxis{shape.size() > 2 ? "along axis " + std::to_string(axis)
                          : axis == 1      ? "in each row"
                                           : "in each column",
                          constant};
  }
  return {};
}

}  // namespace

Blanks summed(const Comparison& c) {
  if (!c.complete()) return {};
  for (std::size_t axis = 0; axis < c.block().shape.size(); ++axis) {
    const auto length = static_cast<double>(c.block().shape[axis]);
    bool sums = length > 1, means = length > 1;
    for (const ComparedEntry& e : c.entries()) {
      double sum = 0, tolerance = e.tolerance;
      for (const ComparedEntry* o : c.line(e, axis)) sum += o->numeric, tolerance += o->tolerance;
      sums = sums && std::abs(e.analytic - sum) <= tolerance;
      means = means && std::abs(e.analytic - sum / length) <= tolerance;
      if (!sums && !means) break;
    }
    if (sums || means) return fill({sums ? "sum" : "mean", std::to_string(axis)});
  }
  return {};
}

Blanks scaled_by_part(const Comparison& c) {
  for (const Split& split : c.splits()) {
    if (c.time_first() && split.axis == 0) continue;
    std::string words;
    std::size_t shown = 0, right = 0, simple = 0;
    bool fits = true;
    for (const Part& part : c.parts_of(split)) {
      if (std::ranges::none_of(part, [](const ComparedEntry* e) { return e->exercised(); }))
        continue;
      const std::optional<double> r = Comparison::ratio(part);
      if (!(fits = r.has_value())) break;
      right += Comparison::near(*r, 1);
      simple += Comparison::near(std::abs(*r), 1) || *r == 0;
      if (shown++ < most_named) words += (words.empty() ? "" : ", ") + formatted("%.4g", *r);
    }
    if (!fits || shown < 2 || simple == shown || 2 * right > shown) continue;
    return fill({split.width == 1 && c.block().shape.size() > 2
                     ? "index of axis " + std::to_string(split.axis)
                     : c.split_name(split),
                 words + (shown > most_named ? ", ..." : "")});
  }
  return {};
}

Blanks mean_term(const Comparison& c) {
  const auto axis = normalized_axis(c);
  return axis && axis->constant ? fill({axis->where}) : std::nullopt;
}

Blanks variance_term(const Comparison& c) {
  const auto axis = normalized_axis(c);
  return axis ? fill({axis->where}) : std::nullopt;
}

/// Gates, rows, columns or steps that are wrong, while the others are right.
Blanks wrong_parts(const Comparison& c) {
  const Part wrong = wrong_ones(c);
  if (wrong.size() == 1) return {};
  for (const Split& split : c.splits()) {
    std::size_t bad = 0, good = 0;
    bool mixed = false;
    std::string list;
    const std::vector<Part> parts = c.parts_of(split);
    for (std::size_t k = 0; k < split.parts && !mixed; ++k) {
      const auto disagrees = [](const ComparedEntry* e) { return !e->agrees(); };
      const auto agrees = [](const ComparedEntry* e) { return e->agrees() && e->exercised(); };
      const bool is_bad = std::ranges::any_of(parts[k], disagrees);
      const bool is_good = std::ranges::any_of(parts[k], agrees);
      mixed = is_bad && is_good;
      good += is_good;
      if (is_bad && bad++ < most_named) list += (list.empty() ? "" : ", ") + c.part_name(split, k);
    }
    if (mixed || bad == 0 || bad > 3 * good) continue;
    return {
        {c.split_name(split), list + (bad > most_named ? ", ..." : ""), common_error(wrong, c)}};
  }
  return {};
}

/// A few entries that are wrong.
Blanks wrong_entries(const Comparison& c) {
  const Part wrong = wrong_ones(c);
  const auto exercised =
      static_cast<std::size_t>(std::ranges::count_if(c.entries(), &ComparedEntry::exercised));
  if (wrong.size() * 4 > std::max<std::size_t>(exercised, 4) || c.entries().size() < 2) return {};
  std::string list;
  for (std::size_t k = 0; k < std::min(wrong.size(), most_named); ++k)
    list += (k == 0 ? "" : ", ") + c.block().entry_name(wrong[k]->index);
  return fill({list + (wrong.size() > most_named ? ", ..." : ""), common_error(wrong, c)});
}

}  // namespace tapegrad::detail::patterns
