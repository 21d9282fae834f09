#pragma once

#include <cstddef>
#include <iterator>

#include "../tensor.h"

/// A long sequence of ids cut into windows for truncated BPTT.
namespace tapegrad {

class Archive;

/// One piece of the streams: what the model reads and what it is to predict.
struct Window {
  Tensor inputs;   // int32, (T', B)
  Tensor targets;  // int32, (T', B): the ids one step later
  bool first;      // nothing comes before: the state is to start anew
};

/// A sequence of ids as B parallel streams, cut into windows of T steps for truncated BPTT: the
/// state that a model has at the end of window k belongs at the beginning of window k + 1.
///
/// With P = (n - 1) / B rounded down, stream b predicts ids bP + 1 to bP + P, each from those
/// before it: every id but the first, and fewer than B at the end, is a target exactly once. Window
/// k has steps kT to kT + T of every stream; the last one has T' <= T steps, so that none is left
/// out.
///
///     for (const auto& [x, y, first] : StreamWindows(ids, 50, 32)) ...
class StreamWindows {
 public:
  class Iterator;

  /// Makes windows over `ids` (n), int32, which are shared, not copied. Throws UsageError if T = 0,
  /// B = 0 or n < B T + 1, which is what one whole window takes; ShapeError or DtypeError for other
  /// ids.
  StreamWindows(Tensor ids, std::size_t steps, std::size_t batch);

  /// Returns the number of windows, at least 1.
  std::size_t size() const { return (positions_ + steps_ - 1) / steps_; }
  /// Returns window `k`, in tensors of its own; throws UsageError unless k < size().
  Window at(std::size_t k) const;

  Iterator begin() const&;
  Iterator end() const&;
  Iterator begin() const&& = delete;  // an iterator refers to the windows: name them first
  Iterator end() const&& = delete;

 private:
  Tensor ids_;
  std::size_t steps_, batch_;
  std::size_t positions_;  // targets in a stream, P
};

/// Makes each window as it is looked at.
class StreamWindows::Iterator {
 public:
  using value_type = Window;
  using difference_type = std::ptrdiff_t;
  using iterator_concept = std::forward_iterator_tag;

  Iterator() = default;
  Iterator(const StreamWindows* windows, std::size_t k) : windows_(windows), k_(k) {}

  Window operator*() const { return windows_->at(k_); }
  Iterator& operator++() {
    ++k_;
    return *this;
  }
  Iterator operator++(int) {
    const Iterator before = *this;
    ++k_;
    return before;
  }
  bool operator==(const Iterator&) const = default;

  /// Saves or restores the position; windows of other sizes, or of a text of another length, are
  /// refused.
  void state(Archive& a);

 private:
  const StreamWindows* windows_ = nullptr;
  std::size_t k_ = 0;
};

inline StreamWindows::Iterator StreamWindows::begin() const& { return {this, 0}; }
inline StreamWindows::Iterator StreamWindows::end() const& { return {this, size()}; }

}  // namespace tapegrad
