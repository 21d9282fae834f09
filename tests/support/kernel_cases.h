#pragma once

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

#include "../../core/rng.h"
#include "../../core/tensor.h"
#include "../../core/threads.h"

/// Random tensors, their values as doubles, comparison: what the tests of kernels share.
namespace tapegrad::testing {

inline constexpr double inf = std::numeric_limits<double>::infinity();
inline constexpr std::array float_types{DType::float32, DType::float64};

inline Tensor random_tensor(const Shape& shape, DType dtype, std::uint64_t seed = 1) {
  return Rng(seed).normal(shape, 0, 1, dtype);
}

inline Tensor ids_of(const Shape& shape, std::initializer_list<double> ids) {
  return Tensor::of(shape, ids, DType::int32);
}

inline std::vector<double> values_of(const Tensor& t) {
  std::vector<double> values(t.numel());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = t.at(i);
  return values;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  if (a.numel() == 0) return true;
  const std::size_t bytes = a.numel() * size_of(a.dtype());
  return a.dtype() == DType::float64 ? std::memcmp(a.data<double>(), b.data<double>(), bytes) == 0
                                     : std::memcmp(a.data<float>(), b.data<float>(), bytes) == 0;
}

/// Rounding error of one operation on numbers of about size 1.
inline double epsilon_of(DType dtype) { return dtype == DType::float32 ? 0x1p-24 : 0x1p-53; }

/// Checks shape, dtype and every element, to `roundings` roundings relative to max(1, |expected|).
inline void check_values(const Tensor& t, const Shape& shape, DType dtype,
                         const std::vector<double>& expected, double roundings = 0) {
  CHECK(t.shape() == shape);
  REQUIRE(t.dtype() == dtype);
  REQUIRE(t.numel() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    const double bound = roundings * epsilon_of(dtype) * std::fmax(1, std::abs(expected[i]));
    const bool near = std::abs(t.at(i) - expected[i]) <= bound;
    const bool same = t.at(i) == expected[i] || (std::isnan(t.at(i)) && std::isnan(expected[i]));
    if (!near && !same) CHECK(t.at(i) == expected[i]);
  }
}

/// `make()` has the same bits with 1, 2 and 3 threads.
template <class Make>
void check_threads_do_not_matter(Make make) {
  set_threads(1);
  const Tensor alone = make();
  for (const std::size_t count : {2U, 3U}) {
    set_threads(count);
    const Tensor together = make();
    set_threads(1);
    CHECK(same_bits(alone, together));
  }
}

}  // namespace tapegrad::testing
