#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/simd/product.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>

#include "../kernels/parallel-inl.h"
#include "lanes-inl.h"
#include "left_block-inl.h"
#include "product-inl.h"

#ifndef TAPEGRAD_CORE_SIMD_PRODUCT_CPP_
#define TAPEGRAD_CORE_SIMD_PRODUCT_CPP_
namespace tapegrad::kernels {
namespace {

/// Content of `data` of a Packed, there or to be made.
template <class T>
struct Panels {
  std::size_t k, units, gates;
  T* data;
};

/// The product of one instruction set.
template <class T>
struct ProductTable {
  std::size_t lanes;
  std::size_t (*panels)(std::size_t units);
  std::size_t (*first_column)(std::size_t units, std::size_t panel);
  std::size_t (*groups)(std::size_t units, std::size_t gates);
  void (*pack)(const Panels<T>& panels, const Strided<T>& b, std::size_t begin, std::size_t end);
  void (*multiply)(std::size_t m, const Strided<T>& a, const Panels<const T>& b, std::size_t first,
                   std::size_t count, bool add, T* c, std::size_t ldc);
  void (*run)(const GateProduct<T>& product);
};

}  // namespace
}  // namespace tapegrad::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

// --- one tile ------------------------------------------------------------------------------------

/// Memory that a tile fetches into the second cache for those that come later: a line for each term.
template <class T>
struct Ahead {
  const T* from;
  std::size_t step;
};

/// Place of a tile's results: `columns` of its vectors' lanes exist there.
template <class T>
struct Result {
  T* data;
  std::size_t stride;
  std::size_t columns;
  bool add;
};

/// The tag D is that of whole vectors, or of one lane where there is but one column.
template <class T, class D, std::size_t rows, std::size_t vectors>
void tile(std::size_t k, const Strided<T>& a, const T* HWY_RESTRICT b, Ahead<T> ahead,
          const Result<T>& c) {
  const D d;
  using V = hn::Vec<D>;
  const std::size_t lanes = hn::Lanes(d), width = vectors * hn::Lanes(hn::ScalableTag<T>());
  V sum[rows][vectors];
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t v = 0; v < vectors; ++v) sum[i][v] = hn::Zero(d);
  }
  const T* HWY_RESTRICT left = a.data;
  for (std::size_t p = 0; p < k; ++p, b += width, left += a.column) {
    __builtin_prefetch(ahead.from, 0, 2);
    ahead.from += ahead.step;
    V right[vectors];
    for (std::size_t v = 0; v < vectors; ++v) right[v] = hn::Load(d, b + v * lanes);
    for (std::size_t i = 0; i < rows; ++i) {
      const V x = hn::Set(d, left[i * a.row]);
      for (std::size_t v = 0; v < vectors; ++v) sum[i][v] = hn::MulAdd(x, right[v], sum[i][v]);
    }
  }
  T* HWY_RESTRICT row = c.data;
  for (std::size_t i = 0; i < rows; ++i, row += c.stride) {
    for (std::size_t v = 0; v < vectors; ++v) {
      const auto put = [&](auto which) HWY_ATTR {
        T* to = row + v * lanes;
        store(d, c.add ? hn::Add(load(d, to, which), sum[i][v]) : sum[i][v], to, which);
      };
      if ((v + 1) * lanes <= c.columns) {
        put(AllLanes{});
      } else {
        put(FirstLanes{c.columns - v * lanes});
      }
    }
  }
}

template <class T>
using Tile = void (*)(std::size_t, const Strided<T>&, const T*, Ahead<T>, const Result<T>&);

template <class T, std::size_t vectors, class D = hn::ScalableTag<T>>
constexpr std::array<Tile<T>, max_rows> tiles_of_width = {
    tile<T, D, 1, vectors>, tile<T, D, 2, vectors>, tile<T, D, 3, vectors>,
    tile<T, D, 4, vectors>, tile<T, D, 5, vectors>, tile<T, D, 6, vectors>};

template <class T>
const std::array<Tile<T>, max_rows>& tiles(std::size_t vectors, std::size_t columns) {
  if constexpr (max_vectors == 4) {
    if (vectors == 4) return tiles_of_width<T, 4>;
    if (vectors == 3) return tiles_of_width<T, 3>;
  }
  if (vectors == 2) return tiles_of_width<T, 2>;
  return columns == 1 ? tiles_of_width<T, 1, hn::CappedTag<T, 1>> : tiles_of_width<T, 1>;
}

// --- the right operand ---------------------------------------------------------------------------

// The units are cut into groups, whose vectors, one gate's after another's, are as many as a tile
// has, or more if there are more gates. A group is cut into panels, data after data.

template <class T>
Parts groups(std::size_t units, std::size_t gates) {
  const std::size_t lanes = hn::Lanes(hn::ScalableTag<T>());
  return {(units + lanes - 1) / lanes, std::max<std::size_t>(1, max_vectors / gates)};
}

template <class T>
std::size_t group_count(std::size_t units, std::size_t gates) {
  return groups<T>(units, gates).count;
}
template <class T>
std::size_t panels(std::size_t units) {
  return group_count<T>(units, 1);
}
/// The first column of a panel, or behind the last one.
template <class T>
std::size_t first_column(std::size_t units, std::size_t panel) {
  return std::min(units, groups<T>(units, 1).begin(panel) * hn::Lanes(hn::ScalableTag<T>()));
}

#if HWY_TARGET == HWY_SCALAR
constexpr std::size_t square_bytes = 0;
template <class T>
void transpose(const T*, std::size_t, T*, std::size_t) {}
#else
constexpr std::size_t square_bytes = 16;

/// A square of 16 bytes a row.
template <class T>
HWY_INLINE void transpose(const T* from, std::size_t from_stride, T* to, std::size_t to_stride) {
  const hn::FixedTag<T, square_bytes / sizeof(T)> d;
  const auto row = [&](std::size_t i) HWY_ATTR { return hn::LoadU(d, from + i * from_stride); };
  const auto put = [&](std::size_t i, auto v)
                       HWY_ATTR { hn::StoreU(hn::BitCast(d, v), d, to + i * to_stride); };
  if constexpr (sizeof(T) == 4) {
    const hn::Repartition<double, decltype(d)> pairs;
    const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, row(0), row(1)));
    const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, row(2), row(3)));
    const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, row(0), row(1)));
    const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, row(2), row(3)));
    put(0, hn::InterleaveLower(pairs, low01, low23));
    put(1, hn::InterleaveUpper(pairs, low01, low23));
    put(2, hn::InterleaveLower(pairs, high01, high23));
    put(3, hn::InterleaveUpper(pairs, high01, high23));
  } else {
    put(0, hn::InterleaveLower(d, row(0), row(1)));
    put(1, hn::InterleaveUpper(d, row(0), row(1)));
  }
}
#endif

/// The columns of one vector: to (k, lanes) with rows `stride` apart, from b (k, columns).
template <class T>
void pack_vector(std::size_t k, std::size_t columns, const Strided<T>& b, T* to,
                 std::size_t stride) {
  const hn::ScalableTag<T> d;
  const std::size_t lanes = hn::Lanes(d);
  if (b.column == 1 && columns == lanes) {
    for (std::size_t p = 0; p < k; ++p) {
      hn::Store(hn::LoadU(d, b.data + p * b.row), d, to + p * stride);
    }
    return;
  }
  constexpr std::size_t square = std::max<std::size_t>(1, square_bytes / sizeof(T));
  const bool transposed = square > 1 && b.row == 1 && columns == lanes;
  const std::size_t squares = transposed ? k / square * square : 0;
  for (std::size_t p = 0; p < squares; p += square) {
    for (std::size_t j = 0; j < lanes; j += square) {
      transpose(b.data + j * b.column + p, b.column, to + p * stride + j, stride);
    }
  }
  for (std::size_t p = squares; p < k; ++p) {
    T* const row = to + p * stride;
    for (std::size_t j = 0; j < columns; ++j) row[j] = b.data[p * b.row + j * b.column];
    std::fill_n(row + columns, lanes - columns, T{0});
  }
}

/// Groups [begin, end).
template <class T>
void pack(const Panels<T>& to, const Strided<T>& b, std::size_t begin, std::size_t end) {
  constexpr std::size_t run = 64;  // terms, while whose lines of B stay in the first cache
  const std::size_t lanes = hn::Lanes(hn::ScalableTag<T>());
  const Parts groups = HWY_NAMESPACE::groups<T>(to.units, to.gates);
  T* data = to.data + groups.begin(begin) * lanes * to.gates * to.k;
  for (std::size_t g = begin; g < end; ++g) {
    const std::size_t blocks = groups.size(g);  // of units, a vector each
    const Parts panels(blocks * to.gates, max_vectors);
    for (std::size_t i = 0; i < panels.count; ++i) {
      const std::size_t width = panels.size(i) * lanes;
      for (std::size_t p = 0; p < to.k; p += run) {
        const std::size_t count = std::min(run, to.k - p);
        for (std::size_t v = 0; v < panels.size(i); ++v) {
          const std::size_t gate = (panels.begin(i) + v) / blocks;
          const std::size_t block = (panels.begin(i) + v) % blocks;
          const std::size_t unit = (groups.begin(g) + block) * lanes;
          pack_vector(count, std::min(lanes, to.units - unit), b.from(p, gate * to.units + unit),
                      data + p * width + v * lanes, width);
        }
      }
      data += to.k * width;
    }
  }
}

// --- products ------------------------------------------------------------------------------------

// A sum of no terms is 0, which must be written too: so each loop over terms runs at least once.

/// Terms from `begin` to `end`, at most part_depth(k), for the rows of a block and one panel:
/// `run` are the tiles of its width. What follows the panel's part in memory is fetched ahead, by as
/// many tiles as that takes.
template <class T>
HWY_INLINE void multiply_part(const LeftBlock<T>& a, const Parts& rows, std::size_t term,
                              std::size_t depth, const T* b, std::size_t vectors,
                              const Result<T>& c) {
  const std::size_t lanes = hn::Lanes(hn::ScalableTag<T>());
  const std::size_t size = depth * vectors * lanes, share = depth * line<T>;
  const auto& run = tiles<T>(vectors, c.columns);
  for (std::size_t t = 0; t < rows.count; ++t) {
    const std::size_t row = rows.begin(t), height = rows.size(t);
    const Ahead<T> ahead =
        t * share < size ? Ahead<T>{b + size + t * share, line<T>} : Ahead<T>{b, 0};
    run[height - 1](depth, a.at(row, height, term), b, ahead,
                    {c.data + row * c.stride, c.stride, c.columns, c.add});
  }
}

template <class T>
void multiply(std::size_t m, const Strided<T>& a, const Panels<const T>& b, std::size_t first,
              std::size_t count, bool add, T* c, std::size_t ldc) {
  // Blocks of A, beside which panels pass through the second cache.
  constexpr std::size_t block_rows = 480, block_depth = 3 * product_depth;
  const std::size_t depth = part_depth(b.k);
  const std::size_t lanes = hn::Lanes(hn::ScalableTag<T>());
  const Parts panels = groups<T>(b.units, 1);
  LeftBlock<T> block(std::min(m, block_rows), std::min(b.k, block_depth), a, count > 1);
  for (std::size_t k0 = 0; k0 == 0 || k0 < b.k; k0 += block_depth) {
    const std::size_t k1 = std::min(b.k, k0 + block_depth);
    for (std::size_t m0 = 0; m0 < m; m0 += block_rows) {
      const Parts rows(std::min(block_rows, m - m0), max_rows);
      block.fill(rows, k1 - k0, a.from(m0, k0));
      for (std::size_t i = first; i < first + count; ++i) {
        const std::size_t vectors = panels.size(i), j = panels.begin(i) * lanes;
        for (std::size_t p = k0; p == 0 || p < k1; p += depth) {
          multiply_part(block, rows, p - k0, std::min(depth, k1 - p),
                        b.data + j * b.k + p * vectors * lanes, vectors,
                        {c + m0 * ldc + j, ldc, b.units - j, add || p > 0});
        }
      }
    }
  }
}

template <class T>
void run(const GateProduct<T>& product) {
  constexpr std::size_t block_rows = 64, max_gates = 4;
  const std::size_t lanes = hn::Lanes(hn::ScalableTag<T>());
  const Packed<T>& first = *product.terms[0].b;
  const std::size_t units = first.units(), gates = first.gates();
  const Parts groups = HWY_NAMESPACE::groups<T>(units, gates);
  HWY_ALIGN T
      sums[block_rows * std::max(max_gates, max_vectors) * hn::MaxLanes(hn::ScalableTag<T>())];
  const Parts row_blocks(product.rows, block_rows);
  for (std::size_t block = 0; block < row_blocks.count; ++block) {
    const std::size_t m0 = row_blocks.begin(block);
    const Parts rows(row_blocks.size(block), max_rows);
    for (std::size_t g = product.part.begin(groups.count); g < product.part.end(groups.count);
         ++g) {
      const std::size_t blocks = groups.size(g), vectors = blocks * gates, width = vectors * lanes;
      const std::size_t unit = groups.begin(g) * lanes;
      const std::size_t count = std::min(blocks * lanes, units - unit);
      T* to = sums;
      for (std::size_t i = m0; product.start != nullptr && i < m0 + rows.total; ++i) {
        const std::size_t row =
            product.start_rows != nullptr ? static_cast<std::size_t>(product.start_rows[i]) : i;
        const T* from = product.start + row * gates * units + unit;
        for (std::size_t gate = 0; gate < gates; ++gate, from += units, to += blocks * lanes) {
          std::copy_n(from, count, to);
          std::fill(to + count, to + blocks * lanes, T{0});
        }
      }
      const Parts panels(vectors, max_vectors);
      bool add = product.start != nullptr;
      for (std::size_t t = 0; t < product.count; ++t) {
        const auto& [a, b] = product.terms[t];
        const std::size_t depth = part_depth(b->terms());
        LeftBlock<T> left(rows.total, b->terms(), a, false);
        left.fill(rows, b->terms(), a.from(m0, 0));
        const T* data = b->data() + groups.begin(g) * lanes * gates * b->terms();
        for (std::size_t i = 0; i < panels.count; ++i) {
          const std::size_t wide = panels.size(i) * lanes;
          for (std::size_t p = 0; p == 0 || p < b->terms(); p += depth) {
            multiply_part(left, rows, p, std::min(depth, b->terms() - p), data + p * wide,
                          panels.size(i),
                          {sums + panels.begin(i) * lanes, width, wide, add || p > 0});
          }
          data += b->terms() * wide;
        }
        add = true;
      }
      product.finish(product.cell, {m0, rows.total, unit, count, sums, width, blocks * lanes});
    }
  }
}

template <class T>
ProductTable<T> product_table() {
  return {hn::Lanes(hn::ScalableTag<T>()),
          panels<T>,
          first_column<T>,
          group_count<T>,
          pack<T>,
          multiply<T>,
          run<T>};
}
const ProductTable<float>& product_float() {
  static const ProductTable<float> table = product_table<float>();
  return table;
}
const ProductTable<double>& product_double() {
  static const ProductTable<double> table = product_table<double>();
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

}  // namespace

template <class T>
Packed<T>::Packed(std::size_t k, std::size_t units, const Strided<T>& b, std::size_t gates)
    : k_(k), units_(units), gates_(gates), data_(k * gates * rounded_up(units, table<T>().lanes)) {
  const std::size_t groups = table<T>().groups(units_, gates_);
  for_blocks(
      groups,
      rows_per_block(k_ * gates_ * padded_units() / std::max<std::size_t>(1, groups), cheap_block),
      [&](std::size_t begin, std::size_t end) {
        table<T>().pack({k_, units_, gates_, data_.get()}, b, begin, end);
      });
}

template <class T>
void Packed<T>::pack(const Strided<T>& b) noexcept {
  table<T>().pack({k_, units_, gates_, data_.get()}, b, 0, table<T>().groups(units_, gates_));
}

template <class T>
std::size_t Packed<T>::padded_units() const {
  return rounded_up(units_, table<T>().lanes);
}

template <class T>
std::size_t Packed<T>::panels() const {
  return table<T>().panels(units_);
}

template <class T>
std::size_t Packed<T>::first_column(std::size_t panel) const {
  return table<T>().first_column(units_, panel);
}

template <class T>
void Packed<T>::multiply(std::size_t m, const Strided<T>& a, std::size_t first, std::size_t count,
                         bool add, T* c, std::size_t ldc) const {
  table<T>().multiply(m, a, {k_, units_, gates_, data_.get()}, first, count, add, c, ldc);
}

template <class T>
void run(const GateProduct<T>& product) {
  table<T>().run(product);
}

template class Packed<float>;
template class Packed<double>;
template void run(const GateProduct<float>&);
template void run(const GateProduct<double>&);

}  // namespace tapegrad::kernels
#endif
