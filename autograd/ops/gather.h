#pragma once

#include <cstddef>

#include "../var.h"

/// Picking elements along an axis (0 is the first, -1 the last) by index, and what undoes it. An
/// index is an int32 constant of the values' rank; on the axes that are not indexed both have equal
/// sizes. (In torch.gather the index may be smaller there: slice() x first.) They throw ShapeError,
/// DtypeError, and UsageError for an index that is negative or not below the axis's size.
namespace tapegrad {

/// Computes y[.., k, ..] = x[.., index[.., k, ..], ..], k and the index at place `axis`: y has the
/// shape of index. An element that is picked several times receives the sum of its gradients.
Var gather(const Var& x, Axis axis, const Tensor& index);

/// Computes y[.., k, ..] = x[.., ids[k], ..] at place `axis`, for ids (N): whole rows, columns or
/// what else lies along the axis, each as often as it is asked for. Its gradients are then added
/// up, as those of embedding(), which this is for a matrix and axis 0.
Var index_select(const Var& x, Axis axis, const Tensor& ids);

/// Returns the gradient of gather(): zeros, `size` of them along `axis`, and x[.., k, ..] added at
/// [.., index[.., k, ..], ..], in the order of k. x has the shape of index.
Var scatter_add(const Var& x, Axis axis, const Tensor& index, std::size_t size);

}  // namespace tapegrad
