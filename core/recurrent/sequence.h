#pragma once

#include "../cxx20.h"

#include <cstddef>

namespace tapegrad::kernels {

/// The rows of a batch of sequences, and the direction of time: what all recurrent cells share.
///
/// Rows are packed. Step t has active[t] rows, and active[0] >= active[1] >= ...; sequences are
/// sorted by length, longest first, and row r of step t is row offset(t) + r of N, where
///
///   offset(t) = active[0] + ... + active[t-1],     N = offset(T).
///
/// If all sequences have length T, N = T B and (N, .) is just (T, B, .). What would be padding does
/// not exist, so it is neither read nor multiplied. Rows active[0] .. B-1 have length 0: their
/// final state is their initial state.
struct Sequence {
  std::size_t steps;  // T >= 1
  std::size_t batch;  // B >= 1
  /// (T); null: B at every step.
  const std::size_t* active = nullptr;
  /// Time runs from T-1 down to 0; h_{t-1} in a cell's formulas is then the state of step t+1.
  bool reverse = false;
};

/// Returns the number of rows N.
std::size_t rows(const Sequence& sequence);

}  // namespace tapegrad::kernels
