#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/simd/product.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <new>
#include <optional>

#include "lanes-inl.h"
#include "product-inl.h"

#ifndef TAPEGRAD_CORE_SIMD_PRODUCT_CPP_
#define TAPEGRAD_CORE_SIMD_PRODUCT_CPP_
namespace tapegrad::kernels {
namespace {

/// The product of one instruction set.
template <class T>
struct ProductTable {
  std::size_t panel;  // columns of a panel
  std::size_t lanes;  // the last panel has a multiple of this many
  void (*multiply)(std::size_t m, std::size_t n, std::size_t k, const Strided<T>& a,
                   const T* panels, bool add, T* c, std::size_t ldc);
};

}  // namespace
}  // namespace tapegrad::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

// A tile of C lives in registers: rows x vectors sums, a vector each of B, and one element of A.
constexpr std::size_t max_rows = 6;
constexpr std::size_t max_vectors = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 4 : 2;
constexpr std::size_t block_rows = 480;  // of A, beside which a panel stays in the second cache

/// One tile: `columns` of its vectors' lanes exist in C.
template <std::size_t rows, std::size_t vectors, class T>
HWY_INLINE void tile(std::size_t k, const Strided<T>& a, const T* HWY_RESTRICT b,
                     std::size_t columns, bool add, T* HWY_RESTRICT c, std::size_t ldc) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const std::size_t lanes = hn::Lanes(d);
  V sum[rows][vectors];
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t v = 0; v < vectors; ++v) sum[i][v] = hn::Zero(d);
  }
  const T* HWY_RESTRICT left = a.data;
  for (std::size_t p = 0; p < k; ++p, b += vectors * lanes, left += a.column) {
    V right[vectors];
    for (std::size_t v = 0; v < vectors; ++v) right[v] = hn::Load(d, b + v * lanes);
    for (std::size_t i = 0; i < rows; ++i) {
      const V x = hn::Set(d, left[i * a.row]);
      for (std::size_t v = 0; v < vectors; ++v) sum[i][v] = hn::MulAdd(x, right[v], sum[i][v]);
    }
  }
  for (std::size_t i = 0; i < rows; ++i, c += ldc) {
    for (std::size_t v = 0; v < vectors; ++v) {
      const auto put = [&](auto which) HWY_ATTR {
        T* to = c + v * lanes;
        store(d, add ? hn::Add(load(d, to, which), sum[i][v]) : sum[i][v], to, which);
      };
      if ((v + 1) * lanes <= columns) {
        put(AllLanes{});
      } else {
        put(FirstLanes{columns - v * lanes});
      }
    }
  }
}

template <class T>
using Tile = void (*)(std::size_t, const Strided<T>&, const T*, std::size_t, bool, T*, std::size_t);

template <class T, std::size_t rows, std::size_t vectors>
void run_tile(std::size_t k, const Strided<T>& a, const T* b, std::size_t columns, bool add, T* c,
              std::size_t ldc) {
  tile<rows, vectors>(k, a, b, columns, add, c, ldc);
}

template <class T, std::size_t vectors>
constexpr std::array<Tile<T>, max_rows> tiles_of_width = {
    run_tile<T, 1, vectors>, run_tile<T, 2, vectors>, run_tile<T, 3, vectors>,
    run_tile<T, 4, vectors>, run_tile<T, 5, vectors>, run_tile<T, 6, vectors>};

template <class T>
const std::array<Tile<T>, max_rows>& tiles(std::size_t vectors) {
  if constexpr (max_vectors == 4) {
    if (vectors == 4) return tiles_of_width<T, 4>;
    if (vectors == 3) return tiles_of_width<T, 3>;
  }
  return vectors == 2 ? tiles_of_width<T, 2> : tiles_of_width<T, 1>;
}

/// Copies rows of A so that what a tile reads together lies together: (k, rows of the tile).
template <class T>
void pack_rows(std::size_t rows, std::size_t k, const Strided<T>& a, T* to) {
  for (std::size_t p = 0; p < k; ++p) {
    for (std::size_t i = 0; i < rows; ++i) *to++ = a.data[i * a.row + p * a.column];
  }
}

/// Memory for a copy, or null if there is none: C may be half-written already, and a copy is only
/// faster.
template <class T>
class Copy {
 public:
  explicit Copy(std::size_t count) {
    try {
      if (count > 0) memory_.emplace(count);
    } catch (const std::bad_alloc&) {
    }
  }
  T* get() const { return memory_ ? memory_->get() : nullptr; }

 private:
  std::optional<Scratch<T>> memory_;
};

/// Tiles of nearly equal height, at most max_rows.
struct Tiles {
  std::size_t count, rows;
  explicit Tiles(std::size_t m) : count((m + max_rows - 1) / max_rows), rows(m) {}
  std::size_t begin(std::size_t i) const { return rows * i / count; }
};

template <class T>
void multiply(std::size_t m, std::size_t n, std::size_t k, const Strided<T>& a, const T* panels,
              bool add, T* c, std::size_t ldc) {
  const std::size_t lanes = hn::Lanes(hn::ScalableTag<T>()), panel = max_vectors * lanes;
  // Elements of A that are far apart are read once for each panel: they are copied if that is often.
  const bool far = a.column != 1 || a.row * sizeof(T) % 1024 == 0;
  const Copy<T> copied(far && n > panel ? std::min(m, block_rows) * std::min(k, product_depth) : 0);
  const bool copies = copied.get() != nullptr;
  for (std::size_t k0 = 0; k0 < k; k0 += product_depth) {
    const std::size_t depth = std::min(product_depth, k - k0);
    for (std::size_t m0 = 0; m0 < m; m0 += block_rows) {
      const std::size_t height = std::min(block_rows, m - m0);
      const Tiles split(height);
      for (std::size_t t = 0; copies && t < split.count; ++t) {
        const std::size_t begin = split.begin(t), rows = split.begin(t + 1) - begin;
        pack_rows(rows, depth, a.from(m0 + begin, k0), copied.get() + begin * depth);
      }
      for (std::size_t j = 0; j < n; j += panel) {
        const std::size_t columns = std::min(panel, n - j), vectors = (columns + lanes - 1) / lanes;
        const T* b = panels + j * k + k0 * vectors * lanes;
        const auto& run = tiles<T>(vectors);
        for (std::size_t t = 0; t < split.count; ++t) {
          const std::size_t begin = split.begin(t), rows = split.begin(t + 1) - begin;
          const Strided<T> left =
              copies ? Strided<T>{copied.get() + begin * depth, 1, rows} : a.from(m0 + begin, k0);
          run[rows - 1](depth, left, b, columns, add || k0 > 0, c + (m0 + begin) * ldc + j, ldc);
        }
      }
    }
  }
}

void multiply_float(std::size_t m, std::size_t n, std::size_t k, const Strided<float>& a,
                    const float* panels, bool add, float* c, std::size_t ldc) {
  multiply(m, n, k, a, panels, add, c, ldc);
}
void multiply_double(std::size_t m, std::size_t n, std::size_t k, const Strided<double>& a,
                     const double* panels, bool add, double* c, std::size_t ldc) {
  multiply(m, n, k, a, panels, add, c, ldc);
}

const ProductTable<float>& product_float() {
  static const ProductTable<float> table{max_vectors * hn::Lanes(hn::ScalableTag<float>()),
                                         hn::Lanes(hn::ScalableTag<float>()), multiply_float};
  return table;
}
const ProductTable<double>& product_double() {
  static const ProductTable<double> table{max_vectors * hn::Lanes(hn::ScalableTag<double>()),
                                          hn::Lanes(hn::ScalableTag<double>()), multiply_double};
  return table;
}

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(product_float);
HWY_EXPORT(product_double);

namespace {

template <class T>
const ProductTable<T>& table() {
  if constexpr (std::same_as<T, float>) {
    return HWY_DYNAMIC_DISPATCH(product_float)();
  } else {
    return HWY_DYNAMIC_DISPATCH(product_double)();
  }
}

std::size_t rounded_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// One panel: to (k, width), of which `columns` come from b.
template <class T>
void pack_panel(std::size_t k, std::size_t columns, std::size_t width, const Strided<T>& b, T* to) {
  if (b.column == 1) {
    for (std::size_t p = 0; p < k; ++p, to += width) {
      std::copy_n(b.data + p * b.row, columns, to);
      std::fill_n(to + columns, width - columns, T{0});
    }
    return;
  }
  constexpr std::size_t run = 16;  // a cache line's elements of a column
  for (std::size_t p0 = 0; p0 < k; p0 += run, to += run * width) {
    const std::size_t count = std::min(run, k - p0);
    for (std::size_t j = 0; j < columns; ++j) {
      const T* from = b.data + j * b.column + p0 * b.row;
      for (std::size_t p = 0; p < count; ++p) to[p * width + j] = from[p * b.row];
    }
    for (std::size_t p = 0; p < count; ++p) {
      std::fill_n(to + p * width + columns, width - columns, T{0});
    }
  }
}

}  // namespace

template <class T>
std::size_t panel_columns() {
  return table<T>().panel;
}

template <class T>
Packed<T>::Packed(std::size_t k, std::size_t n, const Strided<T>& b)
    : k_(k), n_(n), panels_(k * rounded_up(n, table<T>().lanes)) {
  const std::size_t panel = table<T>().panel, lanes = table<T>().lanes;
  for (std::size_t j = 0; j < n; j += panel) {
    const std::size_t columns = std::min(panel, n - j);
    pack_panel(k, columns, rounded_up(columns, lanes), b.from(0, j), panels_.get() + j * k);
  }
}

template <class T>
void Packed<T>::multiply(std::size_t m, const Strided<T>& a, std::size_t first, std::size_t n,
                         bool add, T* c, std::size_t ldc) const {
  table<T>().multiply(m, n, k_, a, panels_.get() + first * k_, add, c, ldc);
}

template std::size_t panel_columns<float>();
template std::size_t panel_columns<double>();
template class Packed<float>;
template class Packed<double>;

}  // namespace tapegrad::kernels
#endif
