#include "dropout.h"

#include <algorithm>
#include <cmath>

#include "../dispatch-inl.h"
#include "../rng.h"
#include "parallel-inl.h"

namespace tapegrad::kernels {

Tensor dropout_mask(const Shape& shape, double p, std::uint64_t key, DType dtype) {
  Tensor result = Tensor::empty(shape, dtype);
  if (result.numel() == 0) return result;
  const std::size_t rank = shape.rank();
  const std::size_t columns = rank > 0 ? shape[rank - 1] : 1;
  const std::size_t rows = rank > 1 ? shape[rank - 2] : 1;
  // A word is uniform in {0, ..., 2^32 - 1}, so it is below the threshold with probability p.
  const auto threshold = static_cast<std::uint64_t>(std::ceil(p * 0x1p32));

  dispatch_float(dtype, [&]<class T>(T) {
    T* mask = result.mutable_data<T>();
    const T kept = static_cast<T>(1 / (1 - p));
    const auto fill_row = [&](std::size_t index) {
      const auto t = static_cast<std::uint32_t>(index / rows);
      const auto row = static_cast<std::uint32_t>(index % rows);
      T* to = mask + index * columns;
      for (std::size_t block = 0; 4 * block < columns; ++block) {
        const auto words = random_words({key}, t, row, block);
        const std::size_t width = std::min<std::size_t>(4, columns - 4 * block);
        for (std::size_t j = 0; j < width; ++j) {
          to[4 * block + j] = words[j] >= threshold ? kept : T{0};
        }
      }
    };
    for_blocks(result.numel() / columns, rows_per_block(columns, costly_block),
               [&](std::size_t begin, std::size_t end) {
                 for (std::size_t index = begin; index < end; ++index) fill_row(index);
               });
  });
  return result;
}

}  // namespace tapegrad::kernels
