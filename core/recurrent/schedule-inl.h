#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "../simd/product-inl.h"
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
// Rows do not know of each other until the sums over N, and units only from one step to the next, so
// several threads share the one or the other. No sum is split: all bits are the same.
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

/// Cost of the products of a step, from which Schedule chooses how to split them.
struct Work {
  std::size_t row_operations;  // for one row
  std::size_t weight_bytes;    // that all rows of a step read
  bool units_can_be_split;
};

class Schedule {
 public:
  explicit Schedule(const Sequence& sequence) : sequence_(sequence), offsets_(sequence.steps + 1) {
    offsets_[0] = 0;
    for (std::size_t t = 0; t < sequence.steps; ++t) {
      offsets_[t + 1] =
          offsets_[t] + (sequence.active != nullptr ? sequence.active[t] : sequence.batch);
    }
  }

  std::size_t steps() const { return sequence_.steps; }
  std::size_t batch() const { return sequence_.batch; }
  std::size_t rows() const { return offsets_[steps()]; }
  /// The most rows that a chunk has.
  std::size_t largest_chunk() const { return std::min(rows(), std::max(chunk_rows, batch())); }

  /// Returns how many rows move on in the k-th step: 0 after the last one.
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

  /// Calls project(chunk, part) for one chunk after another, and move(chunk, rows, units) for the
  /// rows of its steps in the order of time.
  template <class Project, class Move>
  void run_forward(const Work& work, Project&& project, Move&& move) const {
    parallel_team(most_threads(work), [&](Team& team, std::size_t member) noexcept {
      const Split split(*this, work, {member, team.size()});
      for (std::size_t k = 0; k < steps();) {
        const Chunk chunk = chunk_from(k);
        project(chunk, Part{member, team.size()});
        team.wait();
        for (; k < chunk.end; ++k) {
          for_rows(k, split.begin, split.end, [&](const Rows& r) { move(chunk, r, split.units); });
          if (split.by_units()) team.wait();  // the next step reads all units
        }
        if (!split.by_units()) team.wait();  // the next chunk may take the place of this one
      }
    });
  }

  /// Calls move_back(rows, units) and then pass_on(rows, units) for the rows of all steps, the other
  /// way round. The first writes what the second one reads of all units.
  template <class MoveBack, class PassOn>
  void run_backward(const Work& work, MoveBack&& move_back, PassOn&& pass_on) const {
    parallel_team(most_threads(work), [&](Team& team, std::size_t member) noexcept {
      const Split split(*this, work, {member, team.size()});
      for (std::size_t k = steps(); k-- > 0;) {
        const auto with_units = [&](auto&& use) {
          for_rows(k, split.begin, split.end, [&](const Rows& r) { use(r, split.units); });
        };
        with_units(move_back);
        if (split.by_units()) team.wait();
        with_units(pass_on);
      }
    });
  }

 private:
  /// Inputs of several steps are multiplied together until they have this many rows: more would not
  /// be faster, and inference has to keep the result.
  static constexpr std::size_t chunk_rows = 1024;

  /// Share of a member of a team in each step. Either some rows, which go through all steps without
  /// waiting for others; or some units of all rows: with few rows to share, and with weights that
  /// each core would have to fetch from far in every step.
  struct Split {
    std::size_t begin = 0, end;  // rows of the batch
    Part units;

    Split(const Schedule& schedule, const Work& work, Part part) : end(schedule.batch()) {
      constexpr std::size_t few = 4, many = 48, cached = 1024 * 1024;
      const std::size_t rows = schedule.batch() / part.count;
      if (work.units_can_be_split && part.count > 1 &&
          (rows < few || (rows < many && work.weight_bytes > cached))) {
        units = part;
      } else {
        begin = schedule.row(part.begin(schedule.rows()));
        end = schedule.row(part.end(schedule.rows()));
      }
    }
    bool by_units() const { return units.count > 1; }
  };

  /// The first row of the batch before which there are `rows` of the N rows.
  std::size_t row(std::size_t rows) const {
    std::size_t count = 0, row = 0, length = steps();
    for (; count < rows && row < batch(); ++row) {
      while (length > 0 && offsets_[length] - offsets_[length - 1] <= row) --length;
      count += length;
    }
    return rows == this->rows() ? batch() : row;
  }

  std::size_t most_threads(const Work& work) const {
    constexpr std::size_t least_operations = 4'000'000;  // below, waking a thread does not pay
    return rows() * work.row_operations < least_operations ? 1 : threads();
  }

  std::size_t time(std::size_t k) const { return sequence_.reverse ? steps() - 1 - k : k; }

  /// As many steps as have `chunk_rows` rows, at least one. Training and inference take the same
  /// chunks, so that they compute the same bits.
  Chunk chunk_from(std::size_t k) const {
    std::size_t count = active(k), end = k + 1;
    while (end < steps() && count + active(end) <= chunk_rows) count += active(end++);
    return {k, end, std::min(offsets_[time(k)], offsets_[time(end - 1)]), count};
  }

  Sequence sequence_;
  Scratch<std::size_t> offsets_;  // (T+1)
};

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
