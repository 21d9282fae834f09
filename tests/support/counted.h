#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "../../core/tensor.h"

namespace tapegrad::testing {

/// 0, 1, 2, ..., n - 1, int32: an id tells where it comes from.
inline Tensor counted(std::size_t n) {
  std::vector<std::int32_t> ids(n);
  std::iota(ids.begin(), ids.end(), 0);
  return Tensor::from<std::int32_t>({n}, ids);
}

inline std::vector<std::int32_t> values(const Tensor& ids) {
  const auto v = ids.values<std::int32_t>();
  return {v.begin(), v.end()};
}

}  // namespace tapegrad::testing
