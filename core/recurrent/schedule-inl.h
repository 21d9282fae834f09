#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "../threads.h"
#include "memory-inl.h"
#include "sequence.h"

#pragma GCC visibility push(hidden)

// Which rows run when: no cell, no gates.
//
// A state that only its own row reads is *running*: one (B, H) buffer, in which step t moves the rows
// [0, active[t]) on. The rows behind them still hold their initial state, or hold their final state
// already. So the first step, packed rows, sequences of length 0 and both directions are no special
// cases. The state h, which products read, is read where the step before has put it: in y.
//
// Rows do not know of each other until the sums over N, so they are split into blocks, and a block
// runs through all steps in one thread without waiting for others.
namespace tapegrad::kernels {

/// Some rows of one step.
struct Rows {
  std::size_t order;     // k: theirs is the k-th step in the order in which states move on
  std::size_t count;     // at least 1
  std::size_t first;     // among all N
  std::size_t in_batch;  // among the B rows of a state
  std::size_t before;    // among all N, the same rows one step earlier; only if !begin
  bool begin;            // it is their first step: before it is their initial state

  /// The place of the rows in a matrix (N, columns); null stays null.
  template <class T>
  T* in(T* matrix, std::size_t columns) const {
    return matrix != nullptr ? matrix + first * columns : nullptr;
  }
  /// Their state one step earlier: in y (N, columns), or in the initial states (B, columns).
  template <class T>
  const T* state_before(const T* y, const T* initial, std::size_t columns) const {
    return begin ? initial + in_batch * columns : y + before * columns;
  }
  /// The place of the rows in a running state (B, columns).
  template <class T>
  T* in_state(T* state, std::size_t columns) const {
    return state + in_batch * columns;
  }
};

/// Steps k = begin, ..., end - 1, whose inputs are multiplied together, and their rows among all N.
struct Chunk {
  std::size_t begin, end;
  std::size_t first, rows;
};

class Schedule {
 public:
  explicit Schedule(const Sequence& sequence)
      : sequence_(sequence), block_rows_(block_rows(sequence.batch)), offsets_(sequence.steps + 1) {
    offsets_[0] = 0;
    for (std::size_t t = 0; t < sequence.steps; ++t) {
      offsets_[t + 1] =
          offsets_[t] + (sequence.active != nullptr ? sequence.active[t] : sequence.batch);
    }
  }

  std::size_t steps() const { return sequence_.steps; }
  std::size_t batch() const { return sequence_.batch; }
  std::size_t rows() const { return offsets_[steps()]; }
  std::size_t blocks() const { return (batch() + block_rows_ - 1) / block_rows_; }
  /// The block that rows belong to.
  std::size_t block_of(const Rows& r) const { return r.in_batch / block_rows_; }
  /// The most rows that a chunk has.
  std::size_t largest_chunk() const { return std::min(rows(), std::max(chunk_rows, batch())); }

  /// How many rows move on in the k-th step: 0 after the last one.
  std::size_t active(std::size_t k) const {
    return k < steps() ? offsets_[time(k) + 1] - offsets_[time(k)] : 0;
  }
  /// Calls use(rows) for rows [begin, end) of the k-th step: those that moved on in the step before,
  /// and those that begin; nothing for none.
  template <class Use>
  void for_rows(std::size_t k, std::size_t begin, std::size_t end, Use&& use) const {
    end = std::min(end, active(k));
    const std::size_t moved =
        k > 0 ? std::clamp(active(k - 1), begin, std::max(begin, end)) : begin;
    const std::size_t first = offsets_[time(k)], before = k > 0 ? offsets_[time(k - 1)] : 0;
    if (begin < moved) {
      use(Rows{k, moved - begin, first + begin, begin, before + begin, false});
    }
    if (moved < end) use(Rows{k, end - moved, first + moved, moved, 0, true});
  }

  /// Calls project(chunk) for one chunk after another, and move(chunk, rows) for the rows of its
  /// steps: in the order of time in each block of rows, blocks side by side.
  /// `row_operations`: those of the products in move() for one row.
  template <class Project, class Move>
  void run_forward(std::size_t row_operations, Project&& project, Move&& move) const {
    for (std::size_t k = 0; k < steps();) {
      const Chunk chunk = chunk_from(k);
      project(chunk);
      for_blocks(row_operations, [&](std::size_t b) {
        for (std::size_t i = chunk.begin; i < chunk.end; ++i) {
          for_block(i, b, [&](const Rows& r) { move(chunk, r); });
        }
      });
      k = chunk.end;
    }
  }

  /// Calls move_back(rows) for the rows of all steps, the other way round.
  template <class MoveBack>
  void run_backward(std::size_t row_operations, MoveBack&& move_back) const {
    for_blocks(row_operations, [&](std::size_t b) {
      for (std::size_t k = steps(); k-- > 0;) {
        for_block(k, b, move_back);
      }
    });
  }

 private:
  /// Inputs of several steps are multiplied together until they have this many rows: more would not
  /// be faster, and inference has to keep the result.
  static constexpr std::size_t chunk_rows = 1024;

  /// How many rows a block has: what one thread runs through all steps. Not a function of threads().
  static std::size_t block_rows(std::size_t batch) {
    constexpr std::size_t least = 16, most = 32, tile = 4;
    if (batch <= least) return batch;
    const std::size_t blocks = std::max<std::size_t>(2, (batch + most - 1) / most);
    const std::size_t even = (batch + blocks - 1) / blocks;
    return (even + tile - 1) / tile * tile;
  }

  std::size_t time(std::size_t k) const { return sequence_.reverse ? steps() - 1 - k : k; }

  /// The rows of block b of the k-th step.
  template <class Use>
  void for_block(std::size_t k, std::size_t b, Use&& use) const {
    for_rows(k, b * block_rows_, (b + 1) * block_rows_, use);
  }

  /// As many steps as have `chunk_rows` rows, at least one. Training and inference take the same
  /// chunks, so that they compute the same bits.
  Chunk chunk_from(std::size_t k) const {
    std::size_t count = active(k), end = k + 1;
    while (end < steps() && count + active(end) <= chunk_rows) count += active(end++);
    return {k, end, std::min(offsets_[time(k)], offsets_[time(end - 1)]), count};
  }

  /// Calls run(b) for all blocks. A single block runs on the caller's thread outside of any task,
  /// so that its matrix products can use the thread pool.
  template <class F>
  void for_blocks(std::size_t row_operations, F&& run) const {
    constexpr std::size_t least_operations = 4'000'000;  // below, waking a thread does not pay
    if (blocks() > 1 && rows() * row_operations >= least_operations) {
      return parallel_tasks(blocks(), run);
    }
    for (std::size_t b = 0; b < blocks(); ++b) run(b);
  }

  Sequence sequence_;
  std::size_t block_rows_;
  Scratch<std::size_t> offsets_;  // (T+1)
};

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
