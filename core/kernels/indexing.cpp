#include "indexing.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "../dispatch-inl.h"
#include "../pool.h"
#include "parallel-inl.h"

namespace tapegrad::kernels {
namespace {

template <class T>
void add_run(const T* from, std::size_t n, T* to) {
  for (std::size_t i = 0; i < n; ++i) to[i] += from[i];
}

/// Positions of ids in [0, rows) in the order of the ids, equal ones in the order of their positions:
/// a radix sort, whose time does not depend on `rows`.
pool::Vector<std::size_t> positions_by_id(std::span<const std::int32_t> ids, std::size_t rows) {
  constexpr unsigned bits = 11;
  constexpr std::size_t digits = std::size_t{1} << bits;
  pool::Vector<std::size_t> order(ids.size()), sorted(ids.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (unsigned shift = 0; (rows - 1) >> shift != 0; shift += bits) {
    const auto digit = [=](std::size_t i) {
      return (static_cast<std::size_t>(ids[i]) >> shift) % digits;
    };
    std::array<std::size_t, digits + 1> begin{};
    for (const std::size_t i : order) ++begin[digit(i) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    for (const std::size_t i : order) sorted[begin[digit(i)]++] = i;
    order.swap(sorted);
  }
  return order;
}

/// Columns of rows that are added side by side.
constexpr std::size_t width = 128;

/// to += rows[positions[0]] + rows[positions[1]] + ..., `count` columns of rows that are `stride`
/// apart: in double, because as floats the terms of a long sum would one by one be rounded to its
/// size.
template <class T>
void add_all(const T* rows, std::size_t stride, std::span<const std::size_t> positions,
             std::size_t count, T* to) {
  std::array<double, width> total;
  for (std::size_t j = 0; j < count; ++j) total[j] = static_cast<double>(to[j]);
  for (const std::size_t i : positions) {
    const T* row = rows + i * stride;
    for (std::size_t j = 0; j < count; ++j) total[j] += static_cast<double>(row[j]);
  }
  for (std::size_t j = 0; j < count; ++j) to[j] = static_cast<T>(total[j]);
}

/// A shape as (outer, n0, between, n1, inner): two axes, and what lies around them.
struct TwoAxes {
  std::size_t outer, n0, between, n1, inner;

  static TwoAxes around(const Shape& shape, std::size_t first, std::size_t second) {
    const std::span<const std::size_t> dims = shape.dims();
    return {product(dims.first(first)), shape[first],
            product(dims.subspan(first + 1, second - first - 1)), shape[second],
            product(dims.subspan(second + 1))};
  }
};

/// One matrix of (n0, n1) runs of `inner` elements, in squares of `tile` by `tile`: what is read
/// along rows and written along columns is then in the cache both times. Columns [begin, end).
constexpr std::size_t tile = 32;
template <class T>
void transpose_columns(const T* from, const TwoAxes& s, std::size_t begin, std::size_t end, T* to) {
  const std::size_t from_row = s.between * s.n1 * s.inner, to_row = s.between * s.n0 * s.inner;
  for (std::size_t i0 = 0; i0 < s.n0; i0 += tile) {
    for (std::size_t j = begin; j < end; ++j) {
      for (std::size_t i = i0; i < std::min(i0 + tile, s.n0); ++i) {
        const T* run = from + i * from_row + j * s.inner;
        T* place = to + j * to_row + i * s.inner;
        if (s.inner == 1) {
          *place = *run;
        } else {
          std::copy_n(run, s.inner, place);
        }
      }
    }
  }
}

/// Calls f(k, place) for each element k of `index`: place is the element that it names of a tensor
/// (outer, n, inner). What has different `outer` is independent, so blocks keep the order of k.
template <class F>
void for_indices(const Axes& axes, Axis axis, const Tensor& index, const F& f) {
  if (index.numel() == 0) return;
  const std::size_t along = index.size(axis);
  const std::size_t run = along * axes.inner;
  const std::int32_t* ids = index.data<std::int32_t>();
  for_blocks(axes.outer, rows_per_block(run, cheap_block), [&](std::size_t begin, std::size_t end) {
    for (std::size_t o = begin; o < end; ++o) {
      std::size_t k = o * run;
      for (std::size_t i = 0; i < along; ++i) {
        for (std::size_t j = 0; j < axes.inner; ++j, ++k) {
          f(k, (o * axes.n + static_cast<std::size_t>(ids[k])) * axes.inner + j);
        }
      }
    }
  });
}

}  // namespace

Tensor take_rows(const Tensor& table, const Tensor& ids) {
  const std::size_t columns = table.size(1);
  Tensor result = Tensor::empty(ids.shape().inserted(ids.rank(), columns), table.dtype());
  dispatch(table.dtype(), [&]<class T>(T) {
    const T* rows = table.data<T>();
    T* to = result.mutable_data<T>();
    for (const std::int32_t id : ids.values<std::int32_t>()) {
      to = std::copy_n(rows + static_cast<std::size_t>(id) * columns, columns, to);
    }
  });
  return result;
}

Tensor put_rows(const Tensor& rows, const Tensor& ids, std::size_t table_rows) {
  const std::size_t columns = rows.size(1);
  Tensor table = Tensor::zeros({table_rows, columns}, rows.dtype());
  dispatch(rows.dtype(), [&]<class T>(T) {
    const T* from = rows.data<T>();
    T* to = table.mutable_data<T>();
    for (const std::int32_t id : ids.values<std::int32_t>()) {
      std::copy_n(from, columns, to + static_cast<std::size_t>(id) * columns);
      from += columns;
    }
  });
  return table;
}

template <class T>
void add_rows(T* table, std::size_t table_rows, std::size_t columns,
              std::span<const std::int32_t> ids, const T* rows) {
  if (ids.empty() || columns == 0) return;
  const pool::Vector<std::size_t> order = positions_by_id(ids, table_rows);
  const std::size_t widths = rows_per_block(width * ids.size(), cheap_block);
  for_blocks(columns, width * widths, [&](std::size_t block_begin, std::size_t block_end) {
    for (std::size_t column = block_begin; column < block_end; column += width) {
      const std::size_t count = std::min(width, block_end - column);
      for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
        const std::int32_t id = ids[order[begin]];
        while (end < order.size() && ids[order[end]] == id) ++end;
        add_all(rows + column, columns, std::span(order).subspan(begin, end - begin), count,
                table + static_cast<std::size_t>(id) * columns + column);
      }
    }
  });
}

void add_rows(Tensor& table, const Tensor& ids, const Tensor& rows) {
  dispatch_float(table.dtype(), [&]<class T>(T) {
    add_rows(table.mutable_data<T>(), table.size(0), table.size(1), ids.values<std::int32_t>(),
             rows.data<T>());
  });
}

template void add_rows(float*, std::size_t, std::size_t, std::span<const std::int32_t>,
                       const float*);
template void add_rows(double*, std::size_t, std::size_t, std::span<const std::int32_t>,
                       const double*);

Tensor slice(const Tensor& x, Axis axis, std::size_t begin, std::size_t end) {
  Tensor result = Tensor::empty(x.shape().with(axis, end - begin), x.dtype());
  if (result.numel() == 0) return result;
  const Axes axes = Axes::around(x.shape(), axis);
  const std::size_t run = (end - begin) * axes.inner;
  dispatch(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>() + begin * axes.inner;
    T* to = result.mutable_data<T>();
    for (std::size_t o = 0; o < axes.outer; ++o) {
      to = std::copy_n(from + o * axes.n * axes.inner, run, to);
    }
  });
  return result;
}

void add_slice(Tensor& total, const Tensor& part, Axis axis, std::size_t begin) {
  if (part.numel() == 0) return;
  const Axes axes = Axes::around(total.shape(), axis);
  const std::size_t run = part.size(axis) * axes.inner;
  dispatch_float(total.dtype(), [&]<class T>(T) {
    const T* from = part.data<T>();
    T* to = total.mutable_data<T>() + begin * axes.inner;
    for (std::size_t o = 0; o < axes.outer; ++o) {
      add_run(from + o * run, run, to + o * axes.n * axes.inner);
    }
  });
}

Tensor concat(std::span<const Tensor> parts, Axis axis) {
  const Tensor& first = parts.front();
  std::size_t size = 0;
  for (const Tensor& part : parts) size += part.size(axis);
  Tensor result = Tensor::empty(first.shape().with(axis, size), first.dtype());
  if (result.numel() == 0) return result;
  const Axes axes = Axes::around(result.shape(), axis);
  dispatch(first.dtype(), [&]<class T>(T) {
    T* to = result.mutable_data<T>();
    for (const Tensor& part : parts) {
      const T* from = part.data<T>();
      const std::size_t run = part.size(axis) * axes.inner;
      for (std::size_t o = 0; o < axes.outer; ++o) {
        std::copy_n(from + o * run, run, to + o * axes.n * axes.inner);
      }
      to += run;
    }
  });
  return result;
}

Tensor transpose(const Tensor& x, Axis axis0, Axis axis1) {
  const auto [first, second] = std::minmax({x.shape().index(axis0), x.shape().index(axis1)});
  const std::span<const std::size_t> dims = x.shape().dims();
  std::array<std::size_t, Shape::max_rank> swapped{};
  std::ranges::copy(dims, swapped.begin());
  std::swap(swapped[first], swapped[second]);
  Tensor result = Tensor::empty(Shape(std::span(swapped).first(dims.size())), x.dtype());
  if (x.numel() == 0) return result;
  const TwoAxes axes = TwoAxes::around(x.shape(), first, second);
  const std::size_t strips = (axes.n1 + tile - 1) / tile;
  dispatch(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    const auto transpose_strip = [&](std::size_t o, std::size_t m, std::size_t strip) {
      const std::size_t matrix = o * axes.n0 * axes.between * axes.n1;
      transpose_columns(from + (matrix + m * axes.n1) * axes.inner, axes, strip * tile,
                        std::min(axes.n1, (strip + 1) * tile),
                        to + (matrix + m * axes.n0) * axes.inner);
    };
    for_blocks(axes.outer * axes.between * strips,
               rows_per_block(axes.n0 * tile * axes.inner, cheap_block),
               [&](std::size_t begin, std::size_t end) {
                 for (std::size_t i = begin; i < end; ++i) {
                   const std::size_t matrix = i / strips;
                   transpose_strip(matrix / axes.between, matrix % axes.between, i % strips);
                 }
               });
  });
  return result;
}

Tensor gather(const Tensor& x, Axis axis, const Tensor& index) {
  Tensor result = Tensor::empty(index.shape(), x.dtype());
  dispatch(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>();
    T* to = result.mutable_data<T>();
    for_indices(Axes::around(x.shape(), axis), axis, index,
                [=](std::size_t k, std::size_t place) { to[k] = from[place]; });
  });
  return result;
}

void scatter_add(Tensor& total, Axis axis, const Tensor& index, const Tensor& part) {
  constexpr std::size_t few = 16;  // terms that may be added as floats
  const Axes axes = Axes::around(total.shape(), axis);
  if (total.dtype() == DType::float32 && index.size(axis) > few) {
    Tensor sums = total.to(DType::float64);
    scatter_add(sums, axis, index, part.to(DType::float64));
    total.copy_from(sums.to(DType::float32));
    return;
  }
  dispatch_float(total.dtype(), [&]<class T>(T) {
    const T* from = part.data<T>();
    T* to = total.mutable_data<T>();
    for_indices(axes, axis, index, [=](std::size_t k, std::size_t place) { to[place] += from[k]; });
  });
}

}  // namespace tapegrad::kernels
