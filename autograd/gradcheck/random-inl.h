#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <span>
#include <vector>

#pragma GCC visibility push(hidden)

/// Random vectors that are the same everywhere. Private to gradcheck/.
namespace tapegrad::detail {

/// SplitMix64 (Steele, Lea & Flood 2014); the standard library's distributions differ by vendor.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// Box and Muller 1958.
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  std::uint64_t state_;
};

inline std::vector<double> normal_vector(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> v(size);
  for (double& e : v) e = random.normal();
  return v;
}

inline std::vector<double> unit_vector(std::size_t size, std::uint64_t seed) {
  std::vector<double> v = normal_vector(size, seed);
  double squares = 0;
  for (const double e : v) squares += e * e;
  for (double& e : v) e /= std::sqrt(squares);
  return v;
}

inline double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

}  // namespace tapegrad::detail

#pragma GCC visibility pop
