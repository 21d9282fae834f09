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

/// A block's analytic gradient beside its numeric one, and the relations between the two that a
/// diagnosis tests. Private to gradcheck/.
namespace tapegrad::detail {

using Place = std::vector<std::size_t>;  ///< index on each axis

/// One checked entry: its analytic and its numeric derivative.
struct ComparedEntry {
  std::size_t index;
  Place at;
  double analytic, numeric, bound;
  double tolerance = 0;

  double magnitude() const { return std::max(std::abs(analytic), std::abs(numeric)); }
  double error() const { return std::abs(analytic - numeric); }
  bool agrees() const { return error() <= tolerance; }
  bool equals(double expected) const { return std::abs(analytic - expected) <= tolerance; }
  bool exercised() const { return magnitude() > tolerance; }
};

/// A subset of the entries.
using Part = std::vector<const ComparedEntry*>;

/// An axis split into equal parts: gates, or its rows (columns, steps, ...) one by one.
struct Split {
  std::size_t axis, width, parts;
  bool gates;
};

/// The checked entries of one block that have a numeric derivative.
class Comparison {
 public:
  Comparison(const GradBlock& block, std::span<const GradEntry> entries,
             std::span<const NamedSize> sizes);

  const GradBlock& block() const { return block_; }
  const std::vector<ComparedEntry>& entries() const { return entries_; }  ///< by index
  double scale() const { return scale_; }                                 ///< largest magnitude
  bool complete() const { return complete_; }      ///< every entry of the block is there
  bool time_first() const { return time_first_; }  ///< the first axis is time
  const std::vector<Split>& splits() const { return splits_; }  ///< gates first

  /// Sets what counts as equal: `exact`, as if computed in float64, else as if in float32.
  void set_tolerance(bool exact);
  /// Returns the largest error in units of its tolerance.
  double worst_error() const;
  const ComparedEntry& at(const Place& p) const;
  Part all() const;
  /// Returns the entries that differ from s in the index on that axis alone.
  Part line(const ComparedEntry& s, std::size_t axis) const;

  std::optional<std::size_t> size_named(const char* name) const;
  std::vector<Part> parts_of(const Split& split) const;
  /// Names the split: "gate", "row", "axis 2 at"; and one of its parts: "f", "3".
  std::string split_name(const Split& split) const;
  std::string part_name(const Split& split, std::size_t part) const;
  /// Names the class of an exchange of the split's parts: "gates", "time" or "order".
  const char* class_of(const Split& split) const;

  /// Returns the factor r for which analytic = r numeric in all entries of the part; two entries at
  /// least must be different from 0.
  static std::optional<double> ratio(const Part& part);
  static bool near(double r, double wanted) {
    return std::abs(r - wanted) <= 1e-5 * std::abs(wanted);
  }
  /// Names the sizes, or products of two, that make the factor r: "T = 20", "1/(B*T) = 1/80"; may be
  /// empty.
  std::string sizes_for(double r) const;
  /// Writes a factor: "0.2 (1/T = 1/5)", "1/3", "1.000001".
  std::string factor_name(double r) const;

  /// Returns the c for which analytic - numeric = c of(entry) in all entries of the part.
  template <class Of>
  static std::optional<double> constant(const Part& part, Of of) {
    double dv = 0, vv = 0;
    for (const ComparedEntry* s : part) {
      dv += (s->analytic - s->numeric) * of(*s);
      vv += of(*s) * of(*s);
    }
    if (vv == 0) return {};
    const double c = dv / vv;
    for (const ComparedEntry* s : part) {
      if (std::abs(s->analytic - s->numeric - c * of(*s)) > 2 * s->tolerance) return {};
    }
    return c;
  }

  /// Tests whether analytic - numeric = a + b value.
  bool affine_in_value(const Part& part) const;
  static bool all_zero(const Part& part);

  /// Tests whether each analytic entry at p is the numeric one at from(p), or 0 where from(p) is
  /// nowhere.
  template <class From>
  bool equals_moved(From from) const {
    return complete_ && std::ranges::all_of(entries_, [&](const ComparedEntry& s) {
             const std::optional<Place> p = from(s.at);
             const double tolerance = s.tolerance + (p ? at(*p).tolerance : 0);
             return std::abs(s.analytic - (p ? at(*p).numeric : 0)) <= tolerance;
           });
  }

  /// Returns the rank, within the tolerance, of the matrix of(entry); the block has two axes.
  std::size_t rank(const std::function<double(const ComparedEntry&)>& of) const;

 private:
  bool is_time_first() const;
  std::size_t gate_count() const;
  std::vector<Split> find_splits() const;

  const GradBlock& block_;
  std::span<const NamedSize> sizes_;
  std::vector<ComparedEntry> entries_;
  double scale_ = 0;
  bool complete_ = false, time_first_ = false;
  std::vector<Split> splits_;
};

}  // namespace tapegrad::detail

#pragma GCC visibility pop
