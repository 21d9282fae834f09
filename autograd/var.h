#pragma once

#include <cstdint>
#include <utility>

#include "../core/owned.h"
#include "../core/pool.h"
#include "../core/tensor.h"

namespace tapegrad {

struct TapeState;

/// A value in a computation: a Tensor, and, if it was recorded, its place on a tape.
///
/// What depends on no leaf, and what inference, a pause or `detach()` returns, is a constant and
/// good anywhere. A recorded Var can be used until its pass ends (the Tape is destroyed); using it
/// later throws UsageError and says so. Its value can be read at any time.
class Var {
 public:
  Var() = default;
  /// Makes a constant.
  // NOLINTNEXTLINE(google-explicit-constructor): constants mix freely with recorded values
  Var(Tensor value) : value_(std::move(value)), version_(value_.defined() ? value_.version() : 0) {}

  /// Returns the value; throws UsageError if its elements were overwritten since this Var was made.
  const Tensor& value() const& {
    if (value_.version() != version_) overwritten();
    return value_;
  }
  /// Returns a Tensor of its own, from a temporary.
  Tensor value() && {
    if (value_.version() != version_) overwritten();
    return std::move(value_);
  }
  Tensor value() const&& { return value(); }
  bool defined() const { return value_.defined(); }
  const Shape& shape() const& { return value_.shape(); }
  Shape shape() const&& { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }
  std::size_t size(Axis axis) const { return value_.size(axis); }
  double item() const { return value().item(); }

  bool recorded() const { return state_ != nullptr; }
  /// Returns the value as a constant: where backpropagation through time is cut.
  Var detach() const { return {value()}; }

 private:
  friend class Tape;
  friend class Node;
  friend class Grads;
  friend struct TapeState;
  friend struct Sweep;
  friend std::ostream& operator<<(std::ostream& out, const Var& x);
  [[noreturn]] static void overwritten();
  /// Returns whether `tensor` has the elements of this value, unchanged.
  bool is_now(const Tensor& tensor) const {
    return value_.version() == version_ && value_.shares_elements_with(tensor);
  }

  Tensor value_;
  TapeState* state_ = nullptr;  // states are recycled, never freed: always safe to look at
  std::uint64_t pass_ = 0;      // equal to the state's as long as the pass lasts
  std::uint32_t node_ = 0;
  std::uint32_t slot_ = 0;
  std::uint32_t version_ = 0;
};

/// Prints the value as a Tensor is printed.
std::ostream& operator<<(std::ostream& out, const Var& x);

/// A list of Vars; its memory comes from the pool, so that a training step need not ask the heap.
using Vars = Owned<pool::Vector<Var>>;

}  // namespace tapegrad
