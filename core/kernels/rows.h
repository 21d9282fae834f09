#pragma once

#include <cstdint>
#include <span>

#include "../tensor.h"

/// Moving elements about: rows of a table, runs along an axis. Shapes and dtypes have been checked
/// by the caller.
namespace tapegrad::kernels {

/// table (V, E), ids (...) int32 in [0, V) -> (..., E).
Tensor take_rows(const Tensor& table, const Tensor& ids);
/// table[ids[i]] += rows[i], in the order of i.
void add_rows(Tensor& table, const Tensor& ids, const Tensor& rows);

/// Elements [begin, end) of `axis`, copied.
Tensor slice(const Tensor& x, std::size_t axis, std::size_t begin, std::size_t end);
/// total[begin : begin + part.size(axis)] += part along `axis`.
void add_slice(Tensor& total, const Tensor& part, std::size_t axis, std::size_t begin);
/// The parts one after the other along `axis`; all other axes agree.
Tensor concat(std::span<const Tensor> parts, std::size_t axis);

}  // namespace tapegrad::kernels
