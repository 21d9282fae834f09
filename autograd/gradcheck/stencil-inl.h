#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "gradcheck.h"

#pragma GCC visibility push(hidden)

/// The numeric derivative along one line x(s), at s = 0, and its error bound. Private to gradcheck/.
namespace tapegrad::detail::stencil {

/// A line through the values: an entry, or a direction of a whole block. `move(s)` goes to the
/// place that is nearest to x(s) and returns where that is; `restore()` goes back, bit for bit.
class Line {
 public:
  virtual ~Line() = default;
  virtual double move(double s) = 0;
  virtual void restore() = 0;
  double size = 1;   ///< max(1, |x|): what the step is measured against
  double value = 0;  ///< |x|, or its root mean square
  double low, high;  ///< s of the domain
  /// Returns that step, or the largest for which three of them stay in the domain, or 0.
  double inside(double step) const;
};

/// One entry of a block.
class EntryLine final : public Line {
 public:
  EntryLine(const GradBlock& block, std::size_t index);
  double move(double s) override;
  void restore() override;

 private:
  const GradBlock& block_;
  std::size_t index_;
  double x_;
};

/// A unit vector, zero outside of [first, first + along.size()).
class DirectionLine final : public Line {
 public:
  DirectionLine(const GradBlock& block, std::size_t first, std::span<const double> along);
  double move(double s) override;
  void restore() override;

 private:
  const GradBlock& block_;
  std::size_t first_;
  std::span<const double> along_;
  std::vector<double> x_;
};

/// Scope guard that restores the values.
class Restored {
 public:
  explicit Restored(Line& line) : line_(line) {}
  ~Restored() { line_.restore(); }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;

 private:
  Line& line_;
};

/// The loss at s = -3h, -2h, -h, h, 2h, 3h.
struct Samples {
  double step = 0;
  std::array<double, 6> f = {};
  std::array<double, 6> s = {};  ///< where it was, exactly
  bool same_branches = true;     ///< all as at s = 0
};

struct Derivative {
  double value = 0;       ///< D6
  double truncation = 0;  ///< |D6 - D4|
  double rounding = 0;    ///< 10 noise / h
  double floor = 0;       ///< the part of `rounding` that the common noise explains
  double bound() const { return truncation + rounding; }
  /// Returns the part of the bound that the common noise does not explain: the loss is not smooth at
  /// this scale, or the step too large.
  double unexplained() const { return bound() - floor; }
  bool finite() const;
};

/// Evaluates the loss at the six places; restores the values, also if the loss throws.
Samples sample(const std::function<double()>& loss, Line& line, double step);
/// Measures the rounding noise of the loss from its sixth difference at seven places on one side of
/// s = 0 (a kink is often at 0), so close together that the difference shows nothing else, or from
/// the grid that all seven values lie on; -1 if the loss does not change there.
double noise_beside(const std::function<double()>& loss, Line& line);
/// Estimates the noise from the six values and the centre; a loss that is not smooth looks noisy.
double noise_of(const Samples& samples, double center);
Derivative differentiate(const Samples& samples, double center, double common_noise);

/// Slopes on both sides of s = 0 by parabolas, and their uncertainty.
struct OneSided {
  double left = 0, right = 0, uncertainty = 0;
  double gap() const;
};
OneSided one_sided(const Samples& samples, double center, double common_noise);

/// Returns the step h = (noise / |f|)^(1/7) `size`, rounded down to a power of two so that x + k h is
/// exact or nearly so; less at the edge of a domain.
double step_for(const Line& line, double relative_noise);
/// Returns a step of the value's own size if it is smaller than `than`, else 0.
double own_step(const Line& line, double than);

}  // namespace tapegrad::detail::stencil

#pragma GCC visibility pop
