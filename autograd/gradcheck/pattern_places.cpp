#include <algorithm>
#include <cmath>
#include <numeric>

#include "blocks-inl.h"
#include "patterns-inl.h"

namespace tapegrad::detail::patterns {
namespace {

/// The order of axes in which analytic, read as an array of the permuted shape, is right.
std::optional<std::vector<std::size_t>> permutation(const Comparison& c) {
  const GradBlock& block = c.block();
  if (!c.complete() || block.shape.size() < 2) return {};
  std::vector<std::size_t> order(block.shape.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  while (std::ranges::next_permutation(order).found) {
    GradBlock other{"", {}, {}, {}, {}};
    other.column_major = block.column_major;
    for (const std::size_t axis : order) other.shape.push_back(block.shape[axis]);
    const bool same = std::ranges::all_of(c.entries(), [&](const ComparedEntry& e) {
      Place p;
      for (const std::size_t axis : order) p.push_back(e.at[axis]);
      const ComparedEntry& there = c.entries()[flat_index(other, p)];
      return std::abs(there.analytic - e.numeric) <= there.tolerance + e.tolerance;
    });
    if (same) return order;
  }
  return {};
}

/// A square matrix: its transpose has the same shape.
bool is_square(const GradBlock& block) {
  return block.shape.size() == 2 && block.shape[0] == block.shape[1];
}

/// The first split that a test accepts, with what the test found.
template <class Test>
Blanks first_split(const Comparison& c, Test test) {
  if (!c.complete()) return {};
  for (const Split& split : c.splits()) {
    if (Blanks found = test(split)) return found;
  }
  return {};
}

/// Entries whose analytic gradient, numeric gradient, or only one of the two is zero.
struct Zeros {
  Part rest;                           ///< neither
  std::size_t extra = 0, missing = 0;  ///< only the numeric one; only the analytic one
};

Zeros zeros(const Comparison& c) {
  Zeros found;
  for (const ComparedEntry& e : c.entries()) {
    const bool moves = std::abs(e.numeric) > e.tolerance;
    found.extra += !moves && std::abs(e.analytic) > e.tolerance;
    found.missing += moves && e.analytic == 0;
    if (moves && e.analytic != 0) found.rest.push_back(&e);
  }
  return found;
}

std::string rest_scaled_by(double r, const Comparison& c) {
  return Comparison::near(r, 1) ? "" : "; the rest is " + c.factor_name(r) + " x numeric";
}

}  // namespace

Blanks transposed(const Comparison& c) {
  return is_square(c.block()) && permutation(c) ? fill({}) : std::nullopt;
}

Blanks axes_permuted(const Comparison& c) {
  const auto order = permutation(c);
  if (!order) return {};
  std::vector<std::size_t> shape;
  for (const std::size_t axis : *order) shape.push_back(c.block().shape[axis]);
  return fill({join(shape), join(*order)});
}

/// Square blocks of rows, some or all of them transposed.
Blanks parts_transposed(const Comparison& c) {
  if (!c.complete() || c.block().shape.size() != 2) return {};
  const std::size_t columns = c.block().shape[1], rows = c.block().shape[0];
  if (columns < 2 || rows <= columns || rows % columns != 0) return {};
  std::vector<bool> right(rows / columns, true), turned(rows / columns, true);
  for (const ComparedEntry& e : c.entries()) {
    const std::size_t part = e.at[0] / columns;
    const ComparedEntry& there = c.at({part * columns + e.at[1], e.at[0] - part * columns});
    right[part] = right[part] && e.agrees();
    turned[part] =
        turned[part] && std::abs(e.analytic - there.numeric) <= e.tolerance + there.tolerance;
  }
  const std::vector<Split>& splits = c.splits();
  const bool gates = !splits.empty() && splits[0].gates && splits[0].parts == right.size();
  std::string which;
  std::size_t count = 0;
  for (std::size_t part = 0; part < right.size(); ++part) {
    if (right[part]) continue;
    if (!turned[part]) return {};
    which +=
        (count++ == 0 ? "" : ", ") + (gates ? c.part_name(splits[0], part) : std::to_string(part));
  }
  if (count == 0) return {};
  if (count == right.size()) return fill({"each square block of rows"});
  return fill({(gates ? c.split_name(splits[0]) : "square block") + " " + which});
}

Blanks shifted(const Comparison& c) {
  return first_split(c, [&](const Split& split) -> Blanks {
    if (split.width != 1 || split.parts < 3) return {};
    for (const std::ptrdiff_t by : {1, -1}) {
      const bool fits = c.equals_moved([&](Place p) -> std::optional<Place> {
        const std::ptrdiff_t i = static_cast<std::ptrdiff_t>(p[split.axis]) + by;
        if (i < 0 || i >= static_cast<std::ptrdiff_t>(split.parts)) return std::nullopt;
        p[split.axis] = static_cast<std::size_t>(i);
        return p;
      });
      if (fits) return fill({c.class_of(split), c.split_name(split), by > 0 ? "+" : "-"});
    }
    return {};
  });
}

Blanks reversed(const Comparison& c) {
  return first_split(c, [&](const Split& split) -> Blanks {
    if (split.width != 1 || split.parts < 3) return {};
    const std::size_t last = split.parts - 1;
    const bool fits = c.equals_moved([&](Place p) {
      p[split.axis] = last - p[split.axis];
      return std::optional(p);
    });
    if (!fits) return {};
    return fill({c.class_of(split), c.split_name(split), std::to_string(last)});
  });
}

Blanks exchanged(const Comparison& c) {
  return first_split(c, [&](const Split& split) -> Blanks {
    if (split.parts > 64) return {};
    const std::vector<Part> parts = c.parts_of(split);
    const auto is_numeric_of = [&](std::size_t part, std::size_t other) {
      return std::ranges::all_of(parts[part], [&](const ComparedEntry* e) {
        Place p = e->at;
        p[split.axis] = p[split.axis] - part * split.width + other * split.width;
        return std::abs(e->analytic - c.at(p).numeric) <= e->tolerance + c.at(p).tolerance;
      });
    };
    std::vector<bool> taken;  // a gate may be copied, other parts change places
    for (std::size_t part = 0; part < split.parts; ++part)
      taken.push_back(is_numeric_of(part, part));
    const std::vector<bool> stays = taken;
    std::string words;
    std::size_t moved = 0;
    for (std::size_t part = 0; part < split.parts; ++part) {
      if (stays[part]) continue;
      std::size_t from = 0;
      const auto free = [&](std::size_t k) { return split.gates || !taken[k]; };
      while (from < split.parts && !(free(from) && is_numeric_of(part, from))) ++from;
      if (from == split.parts) return {};
      taken[from] = true;
      if (Comparison::all_zero(parts[part])) continue;
      if (moved++ < 4) {
        words += (words.empty() ? "" : ", of ") + c.split_name(split) + " " +
                 c.part_name(split, part) + " is numeric of " + c.part_name(split, from);
      }
    }
    // One number in the place of another may be chance, or a factor.
    if (moved < 1 || (moved == 1 && c.entries().size() <= 2 * split.parts)) return {};
    return fill({c.class_of(split), words + (moved > 4 ? ", ..." : "")});
  });
}

/// Nonzero where the loss does not change, and the rest right up to a factor.
Blanks mask_missing(const Comparison& c) {
  const Zeros z = zeros(c);
  const std::optional<double> r = Comparison::ratio(z.rest);
  if (z.extra == 0 || z.missing > 0 || !r) return {};
  return fill({plural(z.extra, "entry", "entries"), rest_scaled_by(*r, c)});
}

Blanks other_mask(const Comparison& c) {
  const Zeros z = zeros(c);
  const std::optional<double> r = Comparison::ratio(z.rest);
  if (z.extra == 0 || z.missing == 0 || !r) return {};
  return fill(
      {plural(z.extra, "entry", "entries"), std::to_string(z.missing), rest_scaled_by(*r, c)});
}

/// Zero in places where the loss changes, and the rest right up to a factor.
Blanks mask_superfluous(const Comparison& c) {
  const Zeros z = zeros(c);
  if (z.missing == 0 || !Comparison::ratio(z.rest)) return {};
  return fill({plural(z.missing, "entry", "entries")});
}

}  // namespace tapegrad::detail::patterns
