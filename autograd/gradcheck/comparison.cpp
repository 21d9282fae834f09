#include "comparison-inl.h"

#include <algorithm>
#include <cmath>

#include "blocks-inl.h"

namespace tapegrad::detail {

Comparison::Comparison(const GradBlock& block, std::span<const GradEntry> entries,
                       std::span<const NamedSize> sizes)
    : block_(block), sizes_(sizes) {
  for (const GradEntry& e : entries) {
    if (e.verdict != Verdict::pass && e.verdict != Verdict::fail) continue;
    entries_.push_back({e.index, position(block, e.index), e.analytic, e.numeric, e.bound});
    scale_ = std::max(scale_, entries_.back().magnitude());
  }
  std::ranges::sort(entries_, {}, &ComparedEntry::index);
  complete_ = entries_.size() == block.size();
  time_first_ = is_time_first();
  splits_ = find_splits();
}

void Comparison::set_tolerance(bool exact) {
  for (ComparedEntry& s : entries_)
    s.tolerance = s.bound + (exact ? 1e-8 * s.magnitude() : 1e-5 * scale_);
}

double Comparison::worst_error() const {
  double worst = 0;
  for (const ComparedEntry& s : entries_) {
    if (s.error() > 0) worst = std::max(worst, s.error() / s.tolerance);
  }
  return worst;
}

// ----------------------------------------------------------------------

const ComparedEntry& Comparison::at(const Place& p) const {
  return entries_[flat_index(block_, p)];
}

std::optional<std::size_t> Comparison::size_named(const char* name) const {
  for (const NamedSize& s : sizes_) {
    if (s.name == name) return s.size;
  }
  return {};
}

/// Tests whether the first axis is time, as in dx (T, B, I); weights are not to be mistaken for it.
bool Comparison::is_time_first() const {
  if (!block_.gates.empty() || block_.shape.size() < 2 || block_.shape[0] < 2) return false;
  const std::optional<std::size_t> steps = size_named("T");
  if (!steps) return block_.shape.size() > 2;
  const auto same = [&](const NamedSize& s) { return s.size == *steps; };
  return block_.shape[0] == *steps &&
         (block_.shape.size() > 2 || std::ranges::count_if(sizes_, same) == 1);
}

/// Parts of the first axis: as named, else the 4 of an LSTM or 3 of a GRU where the shape allows
/// for it.
std::size_t Comparison::gate_count() const {
  if (!block_.gates.empty()) return block_.gates.size();
  if (time_first_ || block_.shape.size() > 2) return 0;
  const std::optional<std::size_t> hidden = size_named("H");
  if (!hidden) return block_.shape[0] >= 8 ? 4 : 0;
  return block_.shape[0] == 4 * *hidden ? 4 : block_.shape[0] == 3 * *hidden ? 3 : 0;
}

std::vector<Split> Comparison::find_splits() const {
  std::vector<Split> result;
  if (block_.shape.empty()) return result;
  const std::size_t gates = gate_count(), rows = block_.shape[0];
  if (gates > 1 && rows % gates == 0) result.push_back({0, rows / gates, gates, true});
  for (std::size_t axis = 0; axis < block_.shape.size(); ++axis) {
    if (block_.shape[axis] > 1) result.push_back({axis, 1, block_.shape[axis], false});
  }
  return result;
}

std::string Comparison::split_name(const Split& split) const {
  if (split.gates) return block_.gates.empty() ? "part" : "gate";
  if (time_first_ && split.axis == 0) return "step";
  if (block_.shape.size() == 1) return "entry";
  if (block_.shape.size() == 2) return split.axis == 0 ? "row" : "column";
  return "axis " + std::to_string(split.axis) + " at";
}
std::string Comparison::part_name(const Split& split, std::size_t part) const {
  return split.gates && !block_.gates.empty() ? block_.gates[part] : std::to_string(part);
}
const char* Comparison::class_of(const Split& split) const {
  return split.gates ? "gates" : time_first_ && split.axis == 0 ? "time" : "order";
}

std::vector<Part> Comparison::parts_of(const Split& split) const {
  std::vector<Part> result(split.parts);
  for (const ComparedEntry& s : entries_) result[s.at[split.axis] / split.width].push_back(&s);
  return result;
}
Part Comparison::all() const {
  Part result;
  for (const ComparedEntry& s : entries_) result.push_back(&s);
  return result;
}

Part Comparison::line(const ComparedEntry& s, std::size_t axis) const {
  Part result;
  Place p = s.at;
  for (p[axis] = 0; p[axis] < block_.shape[axis]; ++p[axis]) result.push_back(&at(p));
  return result;
}

std::optional<double> Comparison::ratio(const Part& part) {
  double an = 0, nn = 0;
  std::size_t shown = 0;
  for (const ComparedEntry* s : part) {
    an += s->analytic * s->numeric, nn += s->numeric * s->numeric;
    shown += std::abs(s->numeric) > s->tolerance;
  }
  if (shown < 2) return {};
  const double r = an / nn;
  for (const ComparedEntry* s : part) {
    if (std::abs(s->analytic - r * s->numeric) > (1 + std::abs(r)) * s->tolerance) return {};
  }
  return r;
}

std::string Comparison::sizes_for(double r) const {
  std::string words;
  const auto tell = [&](const std::string& name, double n) {
    if (n <= 1) return;
    const std::string value = formatted("%g", n);
    const auto add = [&](const std::string& what) {
      words += (words.empty() ? "" : ", or ") + what;
    };
    const std::string root = "sqrt(" + name + ")", root_value = "sqrt(" + value + ")";
    if (near(r, n)) add(name + " = " + value);
    if (near(r, 1 / n)) add("1/" + name + " = 1/" + value);
    if (near(r, std::sqrt(n))) add(root + " = " + root_value);
    if (near(r, 1 / std::sqrt(n))) add("1/" + root + " = 1/" + root_value);
  };
  for (const NamedSize& s : sizes_) tell(s.name, static_cast<double>(s.size));
  for (std::size_t i = 0; i < sizes_.size() && words.empty(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      tell("(" + sizes_[k].name + "*" + sizes_[i].name + ")",
           static_cast<double>(sizes_[k].size) * static_cast<double>(sizes_[i].size));
    }
  }
  return words;
}

std::string Comparison::factor_name(double r) const {
  if (std::abs(r - 1) < 1e-4) return formatted("%.10g", r);
  std::string value = formatted("%.6g", r);
  for (int d = 2; d <= 10; ++d) {
    if (near(r, 1.0 / d)) value = "1/" + std::to_string(d);
  }
  const std::string sizes = sizes_for(r);
  return sizes.empty() ? value : value + " (" + sizes + ")";
}

bool Comparison::all_zero(const Part& part) {
  return std::ranges::all_of(part, [](const ComparedEntry* s) { return s->analytic == 0; });
}

bool Comparison::affine_in_value(const Part& part) const {
  const auto n = static_cast<double>(part.size());
  double mean_x = 0, mean_d = 0, xx = 0, xd = 0;
  for (const ComparedEntry* s : part) {
    mean_x += block_.get(s->index) / n;
    mean_d += (s->analytic - s->numeric) / n;
  }
  for (const ComparedEntry* s : part) {
    const double x = block_.get(s->index) - mean_x;
    xx += x * x, xd += x * (s->analytic - s->numeric - mean_d);
  }
  return std::ranges::all_of(part, [&](const ComparedEntry* s) {
    const double fit = mean_d + (xx == 0 ? 0 : xd / xx * (block_.get(s->index) - mean_x));
    return std::abs(s->analytic - s->numeric - fit) <= 3 * s->tolerance;
  });
}

/// By elimination with full pivoting.
std::size_t Comparison::rank(const std::function<double(const ComparedEntry&)>& of) const {
  const std::size_t rows = block_.shape[0], columns = block_.shape[1];
  std::vector<std::vector<double>> m(rows, std::vector<double>(columns));
  double tolerance = 1e-9 * scale_;
  for (const ComparedEntry& s : entries_) {
    m[s.at[0]][s.at[1]] = of(s);
    tolerance = std::max(tolerance, 10 * s.tolerance);
  }
  std::size_t found = 0;
  while (found < std::min(rows, columns)) {
    std::size_t pr = found, pc = found;
    for (std::size_t r = found; r < rows; ++r) {
      for (std::size_t c = found; c < columns; ++c) {
        if (std::abs(m[r][c]) > std::abs(m[pr][pc])) pr = r, pc = c;
      }
    }
    if (std::abs(m[pr][pc]) <= tolerance) break;
    std::swap(m[pr], m[found]);
    for (auto& row : m) std::swap(row[pc], row[found]);
    for (std::size_t r = found + 1; r < rows; ++r) {
      const double f = m[r][found] / m[found][found];
      for (std::size_t c = found; c < columns; ++c) m[r][c] -= f * m[found][c];
    }
    ++found;
  }
  return found;
}

}  // namespace tapegrad::detail
