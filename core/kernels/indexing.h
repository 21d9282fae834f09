#pragma once

#include <cstdint>
#include <span>

#include "../tensor.h"

/// Moving elements about: rows of a table, runs along an axis. Shapes and dtypes have been checked
/// by the caller.
namespace tapegrad::kernels {

/// Looks up rows of a table: table (V, E), ids (...) int32 in [0, V) -> (..., E).
Tensor take_rows(const Tensor& table, const Tensor& ids);
/// Puts rows (N, E) at places ids (N), all different, of a table (table_rows, E) of zeros.
Tensor put_rows(const Tensor& rows, const Tensor& ids, std::size_t table_rows);
/// Computes table[ids[i]] += rows[i]. What one row of the table receives is added in double in the
/// order of i and rounded once, so that a row that is used a million times has the right sum.
void add_rows(Tensor& table, const Tensor& ids, const Tensor& rows);
/// Adds rows as above for table (table_rows, columns) and rows (ids.size(), columns).
template <class T>
void add_rows(T* table, std::size_t table_rows, std::size_t columns,
              std::span<const std::int32_t> ids, const T* rows);

/// Elements [begin, end) of `axis`, copied.
Tensor slice(const Tensor& x, Axis axis, std::size_t begin, std::size_t end);
/// Computes total[begin : begin + part.size(axis)] += part along `axis`.
void add_slice(Tensor& total, const Tensor& part, Axis axis, std::size_t begin);
/// Concatenates parts along `axis`; all other axes agree.
Tensor concat(std::span<const Tensor> parts, Axis axis);
/// Exchanges two different axes; copies.
Tensor transpose(const Tensor& x, Axis axis0, Axis axis1);

/// Computes y[o, i, j] = x[o, index[o, i, j], j], where `axis` is the middle one; int32 indices in
/// [0, x.size(axis)), all other axes of x and index agree.
Tensor gather(const Tensor& x, Axis axis, const Tensor& index);
/// Computes total[o, index[o, i, j], j] += part[o, i, j], in the order of i; added in double if
/// there are many i.
void scatter_add(Tensor& total, Axis axis, const Tensor& index, const Tensor& part);

}  // namespace tapegrad::kernels
