#include "stencil-inl.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace tapegrad::detail::stencil {
namespace {

constexpr double epsilon = std::numeric_limits<double>::epsilon();

// D6 amplifies independent errors sigma of f to 1.08 sigma / h; 10 leaves room for an estimate of
// sigma that came out small.
constexpr double noise_factor = 10;

constexpr std::array<int, 6> places = {-3, -2, -1, 1, 2, 3};

double largest(std::span<const double> values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

double noise_floor(const Samples& samples, double center, double common_noise) {
  return std::max({common_noise, epsilon * largest(samples.f), epsilon * std::abs(center)});
}

}  // namespace

double Line::inside(double step) const {
  return std::max(0.0, std::min({step, high / 3, -low / 3}));
}

EntryLine::EntryLine(const GradBlock& block, std::size_t index)
    : block_(block), index_(index), x_(block.get(index)) {
  value = std::abs(x_);
  size = std::max(1.0, value);
  low = block.low - x_;
  high = block.high - x_;
}

double EntryLine::move(double s) {
  block_.set(index_, x_ + s);
  return block_.get(index_) - x_;  // what is stored may be a float
}

void EntryLine::restore() { block_.set(index_, x_); }

DirectionLine::DirectionLine(const GradBlock& block, std::size_t first,
                             std::span<const double> along)
    : block_(block), first_(first), along_(along), x_(along.size()) {
  low = -std::numeric_limits<double>::infinity();
  high = std::numeric_limits<double>::infinity();
  double squares = 0;
  for (std::size_t i = 0; i < along.size(); ++i) {
    x_[i] = block.get(first + i);
    squares += x_[i] * x_[i];
    if (along[i] == 0) continue;
    const double to_low = (block.low - x_[i]) / along[i], to_high = (block.high - x_[i]) / along[i];
    low = std::max(low, std::min(to_low, to_high));
    high = std::min(high, std::max(to_low, to_high));
  }
  value = std::sqrt(squares / static_cast<double>(along.size()));
  size = std::max(1.0, value);
}

double DirectionLine::move(double s) {
  for (std::size_t i = 0; i < along_.size(); ++i) {
    if (along_[i] != 0) block_.set(first_ + i, x_[i] + s * along_[i]);
  }
  return s;  // its rounding is part of the noise
}

void DirectionLine::restore() {
  for (std::size_t i = 0; i < along_.size(); ++i) block_.set(first_ + i, x_[i]);
}

Samples sample(const std::function<double()>& loss, Line& line, double step) {
  const Restored restored(line);
  Samples result;
  result.step = step;
  for (std::size_t k = 0; k < 6; ++k) {
    result.s[k] = line.move(places[k] * step);
    result.f[k] = loss();
  }
  return result;
}

namespace {

/// The sum of binomial(6, k)^2 is 924.
double sixth_difference(const std::array<double, 7>& f) {
  const auto pair = [&](std::size_t a, std::size_t b) {
    return static_cast<long double>(f[a]) + f[b];
  };
  const long double d6 = pair(0, 6) - 6 * pair(1, 5) + 15 * pair(2, 4) - 20.0L * f[3];
  return static_cast<double>(std::abs(d6) / std::sqrt(924.0L));
}

/// The standard deviation of rounding to the grid that all values lie on. Few values of full
/// precision end in the same three zeros.
double grid_noise(const std::array<double, 7>& f) {
  double grid = std::numeric_limits<double>::infinity();
  for (const double v : f) {
    if (v == 0 || !std::isfinite(v)) continue;
    int exponent = 0;
    const auto digits =
        std::llabs(static_cast<long long>(std::ldexp(std::frexp(v, &exponent), 53)));
    grid = std::min(grid, std::ldexp(static_cast<double>(digits & -digits), exponent - 53));
  }
  const bool coarse = std::isfinite(grid) && grid >= 8 * epsilon * largest(f);
  return coarse ? grid / std::sqrt(12.0) : 0;
}

}  // namespace

double noise_beside(const std::function<double()>& loss, Line& line) {
  const Restored restored(line);
  // All digits in use: where the arithmetic is exact, a value of few digits is no sign of rounding.
  const double step =
      0x1.921fb54442d18p-18 * line.size * (line.high > 0x1p-14 * line.size ? 1 : -1);
  if (step < 0 && -line.low < 0x1p-14 * line.size) return -1;  // no room on either side
  std::array<double, 7> f;
  for (std::size_t k = 0; k < f.size(); ++k) {
    (void)line.move(static_cast<double>(k + 1) * step);
    f[k] = loss();
  }
  const bool moved = std::ranges::any_of(f, [&](double v) { return v != f[0]; });
  return moved ? std::max(sixth_difference(f), grid_noise(f)) : -1;
}

double noise_of(const Samples& samples, double center) {
  const auto& f = samples.f;
  return sixth_difference({f[0], f[1], f[2], center, f[3], f[4], f[5]});
}

bool Derivative::finite() const {
  return std::isfinite(value) && std::isfinite(truncation) && std::isfinite(rounding);
}

Derivative differentiate(const Samples& samples, double center, double common_noise) {
  const auto quotient = [&](std::size_t below, std::size_t above) {
    return (static_cast<long double>(samples.f[above]) - samples.f[below]) /
           (static_cast<long double>(samples.s[above]) - samples.s[below]);
  };
  const long double s1 = quotient(2, 3), s2 = quotient(1, 4), s3 = quotient(0, 5);
  const long double d6 = 1.5L * s1 - 0.6L * s2 + 0.1L * s3;
  const long double d4 = (4 * s1 - s2) / 3;
  const double floor = noise_floor(samples, center, common_noise);
  const auto slope = [&](double noise) { return noise_factor * noise / samples.step; };
  return {static_cast<double>(d6), static_cast<double>(std::abs(d6 - d4)),
          slope(std::max(floor, noise_of(samples, center))), slope(floor)};
}

double OneSided::gap() const { return std::abs(right - left); }

OneSided one_sided(const Samples& samples, double center, double common_noise) {
  const auto slope = [&](std::size_t near, std::size_t far) {  // f' at 0 of the parabola
    const double a = samples.s[near], b = samples.s[far];
    const double fa = (samples.f[near] - center) / a, fb = (samples.f[far] - center) / b;
    return (fa * b - fb * a) / (b - a);
  };
  OneSided result{slope(2, 1), slope(3, 4), 0};
  // How much a parabola through the outer points differs, and the noise.
  const double curvature =
      std::max(std::abs(result.left - slope(1, 0)), std::abs(result.right - slope(4, 5)));
  result.uncertainty =
      curvature + noise_factor * noise_floor(samples, center, common_noise) / samples.step;
  return result;
}

double step_for(const Line& line, double relative_noise) {
  const double noise = std::clamp(relative_noise, epsilon, 1e-6);  // h at most 0.125
  const double h = line.inside(std::pow(noise, 1.0 / 7) * line.size);
  return h > 0 ? std::ldexp(1.0, std::ilogb(h)) : 0;
}

double own_step(const Line& line, double than) {
  const double own = line.value > 0 ? std::ldexp(1.0, std::ilogb(line.value / 4)) : 0;
  return own < than ? own : 0;
}

}  // namespace tapegrad::detail::stencil
