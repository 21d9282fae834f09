#pragma once

#include <cstddef>
#include <string_view>

#include "../fail-inl.h"
#include "splits.h"

#pragma GCC visibility push(hidden)

namespace tapegrad {

/// Throws UsageError unless there is a row in [begin, end), and all are among the n of a series.
inline void check_rows(std::string_view where, const Rows& rows, std::size_t n) {
  if (rows.begin < rows.end && rows.end <= n) return;
  fail<UsageError>(where,
                   "rows [{}, {}) are asked for but the series has {}: begin must be below end, "
                   "and end at most {}",
                   rows.begin, rows.end, n, n);
}

}  // namespace tapegrad

#pragma GCC visibility pop
