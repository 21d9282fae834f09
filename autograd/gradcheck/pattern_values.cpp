#include <algorithm>
#include <cmath>

#include "blocks-inl.h"
#include "patterns-inl.h"

namespace tapegrad::detail::patterns {
namespace {

/// The factor between analytic and numeric; if only one entry is different from zero, which may have
/// any, only a factor that has a name.
std::optional<double> common_factor(const Comparison& c) {
  std::optional<double> r = Comparison::ratio(c.all());
  const auto exercised = std::ranges::find_if(c.entries(), &ComparedEntry::exercised);
  if (!r && std::ranges::count_if(c.entries(), &ComparedEntry::exercised) == 1 &&
      exercised->numeric != 0) {
    const double one = exercised->analytic / exercised->numeric;
    if (Comparison::near(one, -1) || Comparison::near(one, 2) || !c.sizes_for(one).empty()) r = one;
  }
  return r && std::abs(*r) >= 1e-9 ? r : std::nullopt;
}

/// Enough entries, and enough of them wrong, for a term that is added to all.
bool most_are_wrong(const Comparison& c) {
  const auto wrong = std::ranges::count_if(c.entries(), [](const auto& e) { return !e.agrees(); });
  return c.entries().size() >= 3 && 2 * static_cast<std::size_t>(wrong) >= c.entries().size();
}

}  // namespace

Blanks rounding_error(const Comparison& c) {
  if (c.worst_error() > 1) return {};
  double most = 0;
  for (const ComparedEntry& e : c.entries())
    most = std::max(most, std::abs(e.analytic - e.numeric));
  return fill({formatted("%.1e", most / c.scale()),
               most > 1e-9 * c.scale() ? "computed or stored in float32?" : "order of summation?"});
}

Blanks all_zero(const Comparison& c) {
  double most = 0;
  for (const ComparedEntry& e : c.entries()) most = std::max(most, std::abs(e.analytic));
  if (most > 1e-13 * c.scale()) return {};
  return fill({most == 0 ? "exactly zero" : "zero but for rounding"});
}

Blanks negated(const Comparison& c) {
  const std::optional<double> r = common_factor(c);
  return r && Comparison::near(*r, -1) ? fill({}) : std::nullopt;
}

Blanks doubled(const Comparison& c) {
  const std::optional<double> r = common_factor(c);
  if (!r || !Comparison::near(*r, 2)) return {};
  const std::string sizes = c.sizes_for(2);
  return fill({sizes.empty() ? "" : ", or a factor " + sizes});
}

Blanks scaled(const Comparison& c) {
  const std::optional<double> r = common_factor(c);
  if (!r) return {};
  return fill({c.factor_name(*r)});
}

Blanks clipped(const Comparison& c) {
  double limit = 0;
  std::size_t wrong = 0;
  for (const ComparedEntry& e : c.entries()) {
    limit = std::max(limit, std::abs(e.analytic));
    wrong += !e.agrees();
  }
  const bool fits = std::ranges::all_of(c.entries(), [&](const ComparedEntry& e) {
    return e.equals(std::clamp(e.numeric, -limit, limit));
  });
  if (wrong < 2 || !fits) return {};
  return fill({formatted("%.4g", limit), plural(wrong, "entry", "entries")});
}

Blanks constant_added(const Comparison& c) {
  if (!most_are_wrong(c)) return {};
  const auto added = Comparison::constant(c.all(), [](const ComparedEntry&) { return 1.0; });
  if (!added) return {};
  return fill({formatted("%.4g", *added)});
}

Blanks value_added(const Comparison& c) {
  if (!most_are_wrong(c)) return {};
  const auto added =
      Comparison::constant(c.all(), [&](const ComparedEntry& e) { return c.block().get(e.index); });
  if (!added) return {};
  return fill({formatted("%.4g", *added)});
}

Blanks wrong_signs(const Comparison& c) {
  std::size_t wrong = 0;
  for (const ComparedEntry& e : c.entries()) {
    if (!e.agrees() && !e.equals(-e.numeric)) return {};
    wrong += !e.agrees();
  }
  return fill({plural(wrong, "entry", "entries")});
}

}  // namespace tapegrad::detail::patterns
