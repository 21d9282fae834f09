#include "diagnosis.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>

#include "blocks.h"

namespace tapegrad {
namespace {

/// Analytic and numeric gradient of what was checked and has a numeric derivative.
struct Seen {
  std::size_t index;
  double analytic, numeric, tolerance;
};

class Diagnosis {
 public:
  Diagnosis(const GradBlock& block, std::span<const GradEntry> entries,
            std::span<const NamedSize> sizes)
      : block_(block), sizes_(sizes) {
    for (const GradEntry& e : entries) {
      if (e.verdict != Verdict::pass && e.verdict != Verdict::fail) continue;
      const double larger = std::max(std::abs(e.analytic), std::abs(e.numeric));
      seen_.push_back({e.index, e.analytic, e.numeric, e.bound + 1e-6 * larger});
      scale_ = std::max(scale_, larger);
    }
    if (seen_.size() == block.size()) {
      std::ranges::sort(seen_, {}, &Seen::index);
      whole_ = true;
    }
  }

  std::string text() const {
    if (seen_.empty()) return {};
    for (const auto test : {&Diagnosis::zero, &Diagnosis::factor, &Diagnosis::transposed,
                            &Diagnosis::reordered, &Diagnosis::in_time, &Diagnosis::added,
                            &Diagnosis::masked, &Diagnosis::one_step, &Diagnosis::parts}) {
      if (std::string words = (this->*test)(); !words.empty()) return words;
    }
    return "other: no simple relation to the numeric gradient; the derivative of another "
           "expression?";
  }

 private:
  using Entries = std::vector<Seen>;

  static bool agree(const Seen& s) { return std::abs(s.analytic - s.numeric) <= s.tolerance; }

  /// The factor between analytic and numeric that fits all of these; needs one that is not tiny.
  std::optional<double> ratio(const Entries& entries) const {
    double an = 0, nn = 0;
    for (const Seen& s : entries) an += s.analytic * s.numeric, nn += s.numeric * s.numeric;
    if (nn == 0) return {};
    const double r = an / nn;
    for (const Seen& s : entries) {
      if (std::abs(s.analytic - r * s.numeric) > (1 + std::abs(r)) * s.tolerance) return {};
    }
    return r;
  }

  /// "2", "1/T with T = 20", "0.9".
  std::string factor_name(double r) const {
    const auto is = [&](double wanted) { return std::abs(r - wanted) <= 1e-4 * std::abs(wanted); };
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      const auto n = static_cast<double>(sizes_[i].size);
      const std::string what = " with " + sizes_[i].name + " = " + std::to_string(sizes_[i].size);
      if (n > 1 && is(n)) return sizes_[i].name + what;
      if (n > 1 && is(1 / n)) return "1/" + sizes_[i].name + what;
      for (std::size_t k = 0; k < i; ++k) {
        const auto both = n * static_cast<double>(sizes_[k].size);
        const std::string names = sizes_[k].name + "*" + sizes_[i].name;
        if (both > 1 && is(both)) return names + " = " + number("%g", both);
        if (both > 1 && is(1 / both)) return "1/(" + names + ") = 1/" + number("%g", both);
      }
    }
    for (int d = 2; d <= 10; ++d) {
      if (is(1.0 / d)) return "1/" + std::to_string(d);
    }
    return number("%.4g", r);
  }

  std::string zero() const {
    if (std::ranges::any_of(seen_, [](const Seen& s) { return s.analytic != 0; })) return {};
    return "zero: the analytic gradient is exactly zero everywhere: never computed, detached, or "
           "overwritten";
  }

  std::string factor() const {
    const std::optional<double> r = ratio(seen_);
    if (!r) return {};
    if (std::abs(*r + 1) < 1e-4) return "sign: analytic = -numeric in all entries";
    if (std::abs(*r - 2) < 1e-4 &&
        std::ranges::none_of(sizes_, [](const NamedSize& s) { return s.size == 2; })) {
      return "doubled: analytic = 2 numeric in all entries: counted twice, or gradients not set to "
             "zero before";
    }
    return "factor: analytic = " + factor_name(*r) + " x numeric in all entries";
  }

  const Seen& at(std::span<const std::size_t> position) const {
    return seen_[flat_index(block_, position)];
  }

  /// Whether the analytic entry at p is the numeric one at q(p), for all p and not only where q(p)
  /// is p or the two are equal anyway.
  template <class Other>
  bool equals_moved(Other q) const {
    if (!whole_) return false;
    bool moved = false;
    for (const Seen& s : seen_) {
      const std::vector<std::size_t> p = position(block_, s.index);
      const std::optional<std::vector<std::size_t>> from = q(p);
      const double expected = from ? at(*from).numeric : 0;
      const double tolerance = s.tolerance + (from ? at(*from).tolerance : 0);
      if (std::abs(s.analytic - expected) > tolerance) return false;
      moved = moved || std::abs(expected - s.numeric) > tolerance;
    }
    return moved;
  }
  using Place = std::vector<std::size_t>;

  std::string transposed() const {
    if (block_.shape.size() != 2) return {};
    const std::size_t columns = block_.shape[1];
    if (columns < 2 || block_.shape[0] % columns != 0) return {};
    const bool squares = block_.shape[0] != columns;
    if (!equals_moved([&](const Place& p) {
          const std::size_t part = p[0] / columns * columns;
          return std::optional(Place{part + p[1], p[0] - part});
        })) {
      return {};
    }
    return std::string("transpose: analytic is the transpose of numeric") +
           (squares ? ", in each square block of rows" : "");
  }

  std::size_t gate_count() const {
    if (!block_.gates.empty()) return block_.gates.size();
    return block_.shape.size() < 3 && !block_.shape.empty() && block_.shape[0] % 4 == 0 ? 4 : 0;
  }
  std::string gate_name(std::size_t g) const {
    return block_.gates.empty() ? "part " + std::to_string(g) : block_.gates[g];
  }

  std::string reordered() const {
    const std::size_t count = gate_count();
    if (!whole_ || count < 2 || block_.shape[0] % count != 0) return {};
    const std::size_t rows = block_.shape[0] / count;
    std::string words;
    bool moved = false;
    for (std::size_t g = 0; g < count; ++g) {
      std::size_t same = count;
      for (std::size_t other = 0; other < count && same != g; ++other) {
        bool equal = true;
        for (const Seen& s : seen_) {
          Place p = position(block_, s.index);
          if (p[0] / rows != g) continue;
          p[0] = p[0] - g * rows + other * rows;
          equal = equal && std::abs(s.analytic - at(p).numeric) <= s.tolerance + at(p).tolerance;
        }
        if (equal && (same == count || other == g)) same = other;
      }
      if (same == count) return {};
      if (same == g) continue;
      moved = true;
      words += (words.empty() ? "" : ", ") + ("analytic " + gate_name(g)) + " equals numeric " +
               gate_name(same);
    }
    return moved ? "gates: " + words : std::string();
  }

  std::optional<std::size_t> size_named(const char* name) const {
    for (const NamedSize& s : sizes_) {
      if (s.name == name) return s.size;
    }
    return {};
  }

  /// Blocks whose first axis is time, as dx (T, B, I).
  std::string in_time() const {
    if (!whole_ || block_.shape.size() < 2 || block_.shape[0] < 2) return {};
    const std::optional<std::size_t> steps = size_named("T");
    if (steps ? block_.shape[0] != *steps : block_.shape.size() < 3) return {};
    const std::size_t last = block_.shape[0] - 1;
    const auto shifted = [&](std::ptrdiff_t by) {
      return equals_moved([&](Place p) -> std::optional<Place> {
        const std::ptrdiff_t t = static_cast<std::ptrdiff_t>(p[0]) + by;
        if (t < 0 || t > static_cast<std::ptrdiff_t>(last)) return std::nullopt;
        p[0] = static_cast<std::size_t>(t);
        return p;
      });
    };
    if (shifted(1)) return "time: off by one: analytic at t equals numeric at t + 1";
    if (shifted(-1)) return "time: off by one: analytic at t equals numeric at t - 1";
    if (equals_moved([&](Place p) {
          p[0] = last - p[0];
          return std::optional(p);
        })) {
      return "time: reversed: analytic at t equals numeric at T - 1 - t";
    }
    std::vector<bool> right(last + 1, true), silent(last + 1, true);
    for (const Seen& s : seen_) {
      const std::size_t t = position(block_, s.index)[0];
      right[t] = right[t] && agree(s);
      silent[t] = silent[t] && s.analytic == 0;
    }
    const auto first_right = std::ranges::find(right, true);
    if (first_right == right.end() || first_right == right.begin()) return {};
    if (!std::all_of(first_right, right.end(), [](bool r) { return r; })) return {};
    const auto from = static_cast<std::size_t>(first_right - right.begin());
    const auto cut_at = silent.begin() + (first_right - right.begin());
    const bool cut = std::all_of(silent.begin(), cut_at, [](bool s) { return s; });
    if (from == last) {
      return cut ? std::string("time: only the last step has a gradient: nothing is carried back")
                 : std::string(
                       "time: right at the last step only: what is carried back through "
                       "time is missing or wrong");
    }
    return "time: right from step " + std::to_string(from) + " on, wrong before" +
           (cut ? ": cut there" : "");
  }

  /// analytic - numeric = c, or c times the value.
  std::string added() const {
    if (seen_.size() < 3) return {};
    const auto constant = [&](auto&& of) -> std::optional<double> {
      double dv = 0, vv = 0;
      for (const Seen& s : seen_) {
        const double v = of(s);
        dv += (s.analytic - s.numeric) * v;
        vv += v * v;
      }
      if (vv == 0) return {};
      const double c = dv / vv;
      for (const Seen& s : seen_) {
        const double left = s.analytic - s.numeric - c * of(s);
        if (std::abs(left) > 2 * s.tolerance) return {};
      }
      return c;
    };
    if (const auto c = constant([](const Seen&) { return 1.0; })) {
      return "value: analytic = numeric + " + number("%.4g", *c) +
             " in all entries: a constant is added";
    }
    if (const auto c = constant([&](const Seen& s) { return block_.get(s.index); })) {
      return "value: analytic = numeric + " + number("%.4g", *c) +
             " x the value itself: weight decay, or a penalty that is not in the loss";
    }
    return {};
  }

  /// Nonzero where the loss does not move, with the rest right up to a factor; or zero where it
  /// does.
  std::string masked() const {
    Entries rest;
    std::size_t extra = 0, lacking = 0;
    for (const Seen& s : seen_) {
      const bool moves = std::abs(s.numeric) > s.tolerance,
                 has = std::abs(s.analytic) > s.tolerance;
      extra += !moves && has;
      lacking += moves && s.analytic == 0;
      if (moves && s.analytic != 0) rest.push_back(s);
    }
    if (extra + lacking == 0 || extra + lacking == seen_.size()) return {};
    if (!rest.empty() && !ratio(rest)) return {};
    if (lacking == 0) {
      return "mask: analytic is nonzero in " + plural(extra, "entry", "entries") +
             " that the loss does not depend on: a mask that is not applied, or another one";
    }
    if (extra == 0 && rest.size() < seen_.size()) {
      std::string where = parts();
      return "mask: analytic is zero in " + plural(lacking, "entry", "entries") +
             " that the loss depends on" + (where.empty() ? "" : "; " + where);
    }
    return "mask: analytic has its zeros in other places than numeric: another mask";
  }

  /// Rank by elimination with full pivoting; what is below `tolerance` is zero.
  static std::size_t rank(std::vector<std::vector<double>> m, double tolerance) {
    std::size_t found = 0;
    const std::size_t rows = m.size(), columns = m[0].size();
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

  /// The gradient of a weight matrix is a sum over time of outer products, B a step: its rank tells
  /// how many steps there are in it.
  std::string one_step() const {
    const std::optional<std::size_t> steps = size_named("T");
    if (!whole_ || block_.shape.size() != 2 || !steps || *steps < 2) return {};
    const std::size_t batch = size_named("B").value_or(1);
    const std::size_t most = std::min(block_.shape[0], block_.shape[1]);
    if (batch >= most) return {};
    std::vector<std::vector<double>> a(block_.shape[0], std::vector<double>(block_.shape[1]));
    auto n = a, d = a;
    double tolerance = 1e-9 * scale_;
    for (const Seen& s : seen_) {
      const Place p = position(block_, s.index);
      a[p[0]][p[1]] = s.analytic;
      n[p[0]][p[1]] = s.numeric;
      d[p[0]][p[1]] = s.analytic - s.numeric;
      tolerance = std::max(tolerance, 10 * s.tolerance);
    }
    const std::size_t whole = rank(n, tolerance), ours = rank(a, tolerance);
    if (whole <= batch) return {};
    if (ours <= batch) {
      return "time: analytic has rank " + std::to_string(ours) + ", numeric " +
             std::to_string(whole) + ": the share of one step alone, not summed over time";
    }
    if (rank(d, tolerance) <= batch) {
      return "time: what is missing has rank " + std::to_string(rank(d, tolerance)) +
             ": the share of one step, the first or the last";
    }
    return {};
  }

  /// Along which axis the wrong entries fill whole slices while others are right.
  std::string parts() const {
    const std::size_t gates = gate_count();
    if (gates > 1) {
      const std::size_t rows = block_.shape[0] / gates;
      std::string words = sorted([&](const Place& p) { return p[0] / rows; }, gates, "gate ",
                                 [&](std::size_t g) { return gate_name(g); });
      if (!words.empty()) return words;
    }
    for (std::size_t axis = 0; axis < block_.shape.size(); ++axis) {
      if (block_.shape[axis] < 2) continue;
      const std::string name = block_.shape.size() == 2 ? (axis == 0 ? "row " : "column ")
                                                        : "axis " + std::to_string(axis) + " at ";
      std::string words = sorted([&](const Place& p) { return p[axis]; }, block_.shape[axis], name,
                                 [](std::size_t i) { return std::to_string(i); });
      if (!words.empty()) return words;
    }
    return {};
  }

  /// The groups that are wrong, if some are and others are not; and the factor in them.
  std::string sorted(const std::function<std::size_t(const Place&)>& group, std::size_t groups,
                     const std::string& kind,
                     const std::function<std::string(std::size_t)>& name) const {
    std::vector<Entries> wrong(groups);
    for (const Seen& s : seen_) {
      const std::size_t g = group(position(block_, s.index));
      if (!agree(s)) wrong[g].push_back(s);
    }
    std::string list;
    std::size_t count = 0;
    Entries all;
    for (std::size_t g = 0; g < groups; ++g) {
      if (wrong[g].empty()) continue;
      if (count++ < 4) list += (list.empty() ? "" : ", ") + name(g);
      all.insert(all.end(), wrong[g].begin(), wrong[g].end());
    }
    if (count == 0 || 2 * count > groups) return {};
    const std::string what = "part: wrong in " + kind + list + (count > 4 ? ", ..." : "") + " only";
    if (all.size() < 2) return what;
    const std::optional<double> r = ratio(all);
    if (!r.has_value()) return what;
    if (std::abs(*r) < 1e-9) return what + ", where analytic is zero";
    if (std::abs(*r + 1) < 1e-4) return what + ", where the sign is wrong";
    return what + ", where analytic = " + factor_name(*r) + " x numeric";
  }

  const GradBlock& block_;
  std::span<const NamedSize> sizes_;
  Entries seen_;
  double scale_ = 0;
  bool whole_ = false;
};

}  // namespace

std::string diagnose(const GradBlock& block, std::span<const GradEntry> entries,
                     std::span<const NamedSize> sizes) {
  return Diagnosis(block, entries, sizes).text();
}

}  // namespace tapegrad
