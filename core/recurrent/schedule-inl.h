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
// States are *running*: one (B, H) buffer each, in which step t moves the rows [0, active[t]) on.
// The rows behind them still hold their initial state, or hold their final state already. So the
// first step, packed rows, sequences of length 0 and both directions are no special cases.
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

  /// The place of the rows in a matrix (N, columns); null stays null.
  template <class T>
  T* in(T* matrix, std::size_t columns) const {
    return matrix != nullptr ? matrix + first * columns : nullptr;
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

  /// All rows of the k-th step.
  Rows step(std::size_t k) const {
    const std::size_t t = sequence_.reverse ? steps() - 1 - k : k;
    return {k, offsets_[t + 1] - offsets_[t], offsets_[t], 0};
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
          if (const Rows r = block(i, b); r.count > 0) move(chunk, r);
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
        if (const Rows r = block(k, b); r.count > 0) move_back(r);
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

  /// Block b of the k-th step; may be empty.
  Rows block(std::size_t k, std::size_t b) const {
    const Rows all = step(k);
    const std::size_t begin = std::min(b * block_rows_, all.count);
    return {k, std::min(block_rows_, all.count - begin), all.first + begin, begin};
  }

  /// As many steps as have `chunk_rows` rows, at least one. Training and inference take the same
  /// chunks, so that they compute the same bits.
  Chunk chunk_from(std::size_t k) const {
    std::size_t count = step(k).count, end = k + 1;
    while (end < steps() && count + step(end).count <= chunk_rows) count += step(end++).count;
    return {k, end, std::min(step(k).first, step(end - 1).first), count};
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
