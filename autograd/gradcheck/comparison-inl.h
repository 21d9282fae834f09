#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gradcheck.h"

#pragma GCC visibility push(hidden)

/// A block's analytic and numeric gradient side by side, and the questions that a diagnosis asks of
/// them. Private to gradcheck/.
namespace tapegrad::detail {

using Place = std::vector<std::size_t>;  ///< position on each axis

/// One entry that was checked and has a numeric derivative.
struct Seen {
  std::size_t index;
  Place at;
  double analytic, numeric, bound;
  double tolerance = 0;

  double larger() const { return std::max(std::abs(analytic), std::abs(numeric)); }
  double error() const { return std::abs(analytic - numeric); }
  bool agrees() const { return error() <= tolerance; }
  bool is(double expected) const { return std::abs(analytic - expected) <= tolerance; }
  bool exercised() const { return larger() > tolerance; }
};

/// Some of them.
using Part = std::vector<const Seen*>;

/// An axis cut into equal parts: gates, or its rows (columns, steps, ...) one by one.
struct Cut {
  std::size_t axis, width, parts;
  bool gates;
};

class Comparison {
 public:
  Comparison(const GradBlock& block, std::span<const GradEntry> entries,
             std::span<const NamedSize> sizes);

  /// What counts as equal: as if computed in float64, or in float32.
  void set_tolerance(bool exact);
  /// The largest error in units of its tolerance.
  double worst_error() const;
  const Seen& at(const Place& p) const;
  Part all() const;
  /// All that differ from s in the position on that axis alone.
  Part line(const Seen& s, std::size_t axis) const;

  std::optional<std::size_t> size_named(const char* name) const;
  std::vector<Part> split(const Cut& cut) const;
  /// "gate", "row", "axis 2 at"; and "f", "3".
  std::string cut_name(const Cut& cut) const;
  std::string part_name(const Cut& cut, std::size_t part) const;
  /// The class of an exchange of its parts.
  const char* class_of(const Cut& cut) const;

  /// The one factor between analytic and numeric that fits them all; two entries at least must show
  /// it.
  static std::optional<double> ratio(const Part& part);
  static bool near(double r, double wanted) {
    return std::abs(r - wanted) <= 1e-5 * std::abs(wanted);
  }
  /// Which sizes, or products of two, make the factor r: "T = 20", "1/(B*T) = 1/80"; may be empty.
  std::string sizes_for(double r) const;
  /// "0.2 (1/T = 1/5)", "1/3", "1.000001".
  std::string factor_name(double r) const;

  /// The c of analytic - numeric = c of(entry).
  template <class Of>
  static std::optional<double> constant(const Part& part, Of of) {
    double dv = 0, vv = 0;
    for (const Seen* s : part) {
      dv += (s->analytic - s->numeric) * of(*s);
      vv += of(*s) * of(*s);
    }
    if (vv == 0) return {};
    const double c = dv / vv;
    for (const Seen* s : part) {
      if (std::abs(s->analytic - s->numeric - c * of(*s)) > 2 * s->tolerance) return {};
    }
    return c;
  }

  /// Whether analytic - numeric = a + b value.
  bool affine_in_value(const Part& part) const;
  static bool all_zero(const Part& part);

  /// Whether the analytic entry at p is the numeric one at from(p), or 0 where there is none.
  template <class From>
  bool equals_moved(From from) const {
    return whole_ && std::ranges::all_of(seen_, [&](const Seen& s) {
             const std::optional<Place> p = from(s.at);
             const double tolerance = s.tolerance + (p ? at(*p).tolerance : 0);
             return std::abs(s.analytic - (p ? at(*p).numeric : 0)) <= tolerance;
           });
  }

  /// Rank of the matrix of these numbers, within the tolerance; the block has two axes.
  std::size_t rank(const std::function<double(const Seen&)>& of) const;

 protected:
  const GradBlock& block_;
  std::span<const NamedSize> sizes_;
  std::vector<Seen> seen_;  ///< in the order of their index
  double scale_ = 0;
  bool whole_ = false;       ///< every entry is among seen_
  bool time_first_ = false;  ///< the first axis is time
  std::vector<Cut> cuts_;    ///< gates first

 private:
  bool is_time_first() const;
  std::size_t gate_count() const;
  std::vector<Cut> cuts() const;
};

}  // namespace tapegrad::detail

#pragma GCC visibility pop
