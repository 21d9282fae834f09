#pragma once

#include "../var.h"

namespace tapegrad {

/// Rows of a table: table (V, E), ids (...) int32 in [0, V) -> (..., E), at most 4 axes. A row that
/// is used several times receives the sum of its gradients. Throws ShapeError, DtypeError, or
/// UsageError for an id out of range.
Var embedding(const Var& table, const Tensor& ids);

/// Rows for padded sequences, ids (T, B) and lengths (B) int32: behind each sequence's end they are 0,
/// and ids are not read; they may be any numbers. Without lengths as above. Throws likewise, and as
/// the recurrent ops do for lengths.
Var embedding(const Var& table, const Tensor& ids, const Tensor& lengths);

/// Returns the gradient of embedding(): zeros (V, E), and rows[i] added to row ids[i].
Var scatter_rows(const Var& rows, const Tensor& ids, std::size_t table_rows);

}  // namespace tapegrad
